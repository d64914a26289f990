-- Links to one port of one machine, or to one of its terminals to look on, for whoever has them: signed, with an end,
-- revocable. A link's token is its id and a MAC under the master key, in hexadecimal digits, so that it is also a name of the
-- DNS; it is kept nowhere.
--
-- Record "preview": {id, user ("operator" for nobody's), machine, port or session, wake, key (of the MAC), created_at,
-- expires_at}. A link is good as long as its record is there, its machine is its maker's to use, and its maker has an account.
--
-- what: a port's number, or the name of a terminal (docs/terminal.md)
--   previews.create(actor, machine id, what, {hours = or minutes =, wake =}) -> record | nil, err
--   previews.list(machine id, what) -> {record...}        previews.revoke(actor, machine id, what, id or nil) -> n | nil, err
--   previews.find(token, "port" or "session") -> record, machine's record, actor | nil, err
--   previews.view(record, base) -> what may be told, with `url`

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local expiring = require "accounts.expiring"
local json = require "json"
local record = require "machines.record"
local rights = require "rights"
local store = require "store"
local time = require "time"
local users = require "accounts.users"
local vault = require "vault"

local M = {}

local MOST = 100 -- of one account
local MINUTES = { port = 1440, session = 60 } -- unless its maker says
local MAC = 40   -- digits of it: 160 bits

M.fields = { hours = { "integer", min = 1, max = 720 }, wake = { "boolean" } }

-- The URL beneath which links have a host each (setup.lua), or nil: they are paths of this server.
M.url = nil

local function mac(link, key)
  local what = link.session and "session:" .. link.session or ("%d"):format(link.port)
  local text = table.concat({ link.id, link.machine, what, link.expires_at }, "/")
  local bytes, used = vault.mac(text, "preview", key)
  return bytes and crypto.hex(bytes):sub(1, MAC), used
end

local function token(link) return link.id .. (mac(link, link.key) or "") end

-- base: where this server is reached.
function M.view(link, base)
  if link.session then
    return {
      id = link.id, session = link.session, url = ("%s/shared/%s"):format((base:gsub("^http", "ws")), token(link)),
      created_at = link.created_at, expires_at = link.expires_at,
    }
  end
  local url = ("%s/preview/%s/"):format(base, token(link))
  if M.url then url = (M.url:gsub("^(https?://)", "%1" .. token(link) .. ".", 1):gsub("/*$", "/")) end
  return {
    id = link.id, port = link.port, wake = link.wake, url = url, created_at = link.created_at, expires_at = link.expires_at,
  }
end

local function who(link) return ("%s/preview:%s"):format(link.user, link.id) end

-- About a machine, in the log of its owner's account; the operator has none.
local function note(tx, user, what, link, by)
  local about = { preview = link.id, machine = link.machine, port = link.port, session = link.session }
  if user ~= "operator" then users.note(tx, user, what, about, by) end
end

function M.create(actor, machine, what, spec)
  local user = actor.user or "operator"
  return store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    if #expiring.held(tx, "preview", user) >= MOST then
      return errors.fail("quota", ("%d links are all that you may have; revoke one first"):format(MOST))
    end
    local now, kind = tx:now(), type(what) == "number" and "port" or "session"
    local minutes = spec.minutes or spec.hours and spec.hours * 60 or MINUTES[kind]
    local link = {
      id = crypto.token(8), user = user, machine = machine, wake = spec.wake == true,
      [kind] = what, created_at = time.rfc3339(now), expires_at = time.rfc3339(now + minutes * 60000),
    }
    link.key = select(2, mac(link))
    expiring.put(tx, "preview", link.id, link, user)
    note(tx, user, "preview_created", link, users.by(actor))
    return link
  end)
end

-- Whose they are does not matter: who may use the machine may see and end them.
function M.list(machine, what)
  local out = json.array {}
  for _, row in ipairs(store.scan("preview_machine", { prefix = machine .. "/" }) or {}) do
    local link = expiring.live(store.get("preview", row.key:sub(#machine + 2)))
    if link and (link.session or link.port) == what then out[#out + 1] = link end
  end
  return out
end

local function drop(tx, link, by)
  if expiring.drop(tx, "preview", link.id) then note(tx, link.user, "preview_revoked", link, by) end
end

function M.revoke(actor, machine, what, id)
  local ended = {}
  for _, link in ipairs(M.list(machine, what)) do
    if not id or link.id == id then ended[#ended + 1] = link end
  end
  if id and #ended == 0 then return errors.fail("not_found", "no such link") end
  local ok, err = store.update(function(tx)
    for _, link in ipairs(ended) do drop(tx, link, users.by(actor)) end
    return true
  end)
  if not ok then return nil, err end
  for _, link in ipairs(ended) do credentials.revoke(who(link), "the link was revoked") end
  return #ended
end

-- Whoever made it, as he is now. -> actor | nil
local function maker(link)
  local credential = credentials.hand_out { kind = "preview", id = link.id, who = who(link) }
  if link.user == "operator" then return { admin = true, credential = credential } end
  local user = store.get("user", link.user)
  if not user or user.status ~= "active" then return nil end
  return { admin = user.role == "admin", user = user.id, email = user.email, plan = user.plan, credential = credential }
end

local function no() return errors.fail("not_found", "this link leads nowhere: it is over, or was revoked") end

function M.find(text, kind)
  local id, sign = text:lower():match("^(" .. ("%x"):rep(16) .. ")(%x+)$")
  local link = id and #sign == MAC and expiring.live(store.get("preview", id))
  if not link or not link[kind] or not crypto.equal(mac(link, link.key) or ("x"):rep(MAC), sign) then return no() end
  local actor, rec = maker(link), store.get("instance", link.machine)
  if not actor or not rec or rec.status == "DELETED" or rec.status == "DELETING" or not rights.owns(actor, rec.owner) then
    return no()
  end
  return link, rec, actor
end

-- One that is made in the same moment is found dead by M.find, and goes at its end.
function record.on_deleted(tx, machine)
  for _, row in ipairs(store.scan("preview_machine", { prefix = machine .. "/" }) or {}) do
    local link = tx:get("preview", row.key:sub(#machine + 2))
    if link then drop(tx, link) end
  end
end

return M
