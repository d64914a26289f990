-- The end of an account: what is his is told first (the export), then nothing of his works any more, his machines are
-- deleted, his personal data go, and what stays is that there was one.

local credentials = require "accounts.credentials"
local errors = require "errors"
local events = require "events"
local history = require "history"
local instances = require "instances"
local json = require "json"
local sessions = require "accounts.sessions"
local settings = require "accounts.settings"
local store = require "store"
local time = require "time"
local tokens = require "accounts.tokens"
local users = require "accounts.users"

local M = {}

local function machines_of(user)
  local list, after = json.array {}, nil
  repeat
    local page = instances.list({ user = user }, after, 1000)
    for _, text in ipairs(page.texts) do list[#list + 1] = json.decode(text) end
    after = page.after
  until not after
  return list
end

-- Oldest first.
local function events_of(user)
  local newest_first, list = {}, json.array {}
  for e in history.backwards("user", user) do newest_first[#newest_first + 1] = e end
  for i = #newest_first, 1, -1 do list[#list + 1] = json.decode(events.text(newest_first[i])) end
  return list
end

-- All that is a user's, secrets left out. -> {user, machines, sessions, tokens, events, exported_at} | nil, err
function M.export(user)
  local out = { exported_at = time.rfc3339(time.now()), user = user, machines = machines_of(user.id) }
  local err
  for name, fn in pairs { sessions = sessions.list, tokens = tokens.list, events = events_of } do
    out[name], err = fn(user.id)
    if not out[name] then return nil, err end
  end
  return out
end

local function forget_personal_data(id)
  local seqs = {}
  for e in history.backwards("user", id) do
    if e.type ~= "deleted" and not e.trimmed then seqs[#seqs + 1] = e.seq end
  end
  if #seqs > 0 then return store.trim(seqs) end
  return true
end

local function mark_deleted(actor, id)
  return store.update(function(tx)
    local old = tx:get("user", id)
    if not old or old.status == "deleted" then return errors.fail("not_found", "no such user") end
    settings.forget(tx, id)
    local user = {
      id = id, number = old.number, email = json.null, name = json.null, plan = old.plan, role = "user", status = "deleted",
      ssh_keys = json.array {}, created_at = old.created_at, last_sign_in_at = json.null, deleted_at = time.rfc3339(tx:now()),
    }
    users.save(tx, old, user, "deleted", users.by(actor))
    return user
  end)
end

-- Deletes an account. with_machines: his machines, too; without it one who has any is not deleted.
-- -> {export =, operations = {id...}} | nil, err
function M.delete(actor, key, with_machines)
  local user, err = users.find(key)
  if not user then return nil, err end
  if user.status == "deleted" then return errors.fail("not_found", "no such user") end
  if user.id == actor.user then return errors.fail("state", "you cannot delete yourself") end
  local export
  export, err = M.export(user)
  if not export then return nil, err end
  if #export.machines > 0 and not with_machines then
    return errors.fail("state",
      ("the account has %d machines: delete them first, or say ?machines=delete"):format(#export.machines))
  end
  local ok
  ok, err = mark_deleted(actor, user.id) -- from here on he makes no new ones
  if not ok then return nil, err end
  credentials.revoke(user.id .. "/", "the account was deleted")
  for _, step in ipairs {
    function() return credentials.end_sessions(user.id, users.by(actor)) end,
    function() return tokens.revoke_all(user.id, users.by(actor)) end,
    function() return forget_personal_data(user.id) end,
  } do
    ok, err = step()
    if not ok then return nil, err end
  end
  local operations = json.array {}
  for _, m in ipairs(machines_of(user.id)) do
    local _, done, op = instances.move(instances.operator, m.id, "delete", 0)
    if op then operations[#operations + 1] = op elseif done == nil then return nil, op end
  end
  return { export = export, operations = operations }
end

return M
