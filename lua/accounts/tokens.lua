-- API tokens of a user's own: named, with an end, with scopes, perhaps for one machine. Shown once, kept as a hash.
--
-- A token reads cct_ID_SECRET (16 and 64 hexadecimal digits). Record "token": {id, user, name, hash, scopes, machine, created_at,
-- expires_at, last_used_at}; the hash is the SHA-256 of the secret, which has 256 random bits, so no slower hash is needed.

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local expiring = require "accounts.expiring"
local json = require "json"
local rights = require "rights"
local store = require "store"
local time = require "time"
local users = require "accounts.users"

local M = {}

local MAX_TOKENS = 100
local MAX_DAYS = 366

M.fields = {
  name = { "string", required = true, min = 1, max = 100, pattern = "^[^%c]+$", hint = "a name without control characters" },
  scopes = { "list", required = true, max = 20, of = { "string", one_of = rights.scope_names } },
  days = { "integer", min = 1, max = MAX_DAYS },
  instance = { "string", min = 1, max = 128 },
}

-- What may be told of a token.
local function view(token)
  return {
    id = token.id, name = token.name, scopes = json.array(token.scopes), instance = token.machine, created_at = token.created_at,
    expires_at = token.expires_at, last_used_at = token.last_used_at,
  }
end

-- machine: the uuid of the one that it is for, or nil. -> JSON text of the token's view with `token`, its text | nil, err
function M.create(actor, spec, machine)
  if #spec.scopes == 0 then
    return errors.fail("invalid", "scopes: at least one of " .. table.concat(rights.scope_names, ", ") .. " expected",
      { field = "scopes" })
  end
  for i, scope in ipairs(spec.scopes) do
    if rights.of_admins[scope] and not actor.admin then
      return errors.fail("denied", ("scopes[%d]: only an admin's token may have '%s'"):format(i - 1, scope))
    end
  end
  local id, secret = crypto.token(8), crypto.token(32)
  local text
  local ok, terr = store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    if #expiring.held(tx, "token", actor.user) >= MAX_TOKENS then
      return errors.fail("quota", ("%d tokens are all that you may have; revoke one first"):format(MAX_TOKENS))
    end
    local now = tx:now()
    local token = {
      id = id, user = actor.user, name = spec.name, hash = crypto.hex(crypto.sha256(secret)), scopes = json.array(spec.scopes),
      machine = machine or json.null, created_at = time.rfc3339(now), last_used_at = json.null,
      expires_at = time.rfc3339(now + (spec.days or 90) * 86400000),
    }
    expiring.put(tx, "token", id, token, actor.user)
    users.note(tx, actor.user, "token_created", { token = id, name = spec.name, scopes = token.scopes, instance = machine },
      users.by(actor))
    local out = view(token)
    out.token = ("cct_%s_%s"):format(id, secret)
    text = json.encode(out)
    if actor.idempotent then actor.idempotent:answered(tx, 201, text) end
    return true
  end)
  if not ok then return nil, terr end
  return text
end

function M.list(user)
  local page, err = store.scan("token_user", { prefix = user .. "/" })
  if not page then return nil, err end
  local list = json.array {}
  for _, row in ipairs(page) do
    local token = expiring.live(store.get("token", row.key:sub(#user + 2)))
    if token then list[#list + 1] = view(token) end
  end
  return list
end

-- -> true | nil, err
function M.revoke(user, id, by)
  local ok, err = store.update(function(tx)
    local token = tx:get("token", id)
    if not token or token.user ~= user then return errors.fail("not_found", "no such token") end
    expiring.drop(tx, "token", id)
    users.note(tx, user, "token_revoked", { token = id, name = token.name }, by)
    return true
  end)
  if not ok then return nil, err end
  credentials.revoke(("%s/token:%s"):format(user, id), "the token was revoked")
  return true
end

-- All of a user's, for the end of an account. -> true | nil, err
function M.revoke_all(user, by)
  local page, err = store.scan("token_user", { prefix = user .. "/" })
  if not page then return nil, err end
  for _, row in ipairs(page) do
    local ok, rerr = M.revoke(user, row.key:sub(#user + 2), by)
    if not ok and rerr.code ~= "not_found" then return nil, rerr end
  end
  return true
end

return M
