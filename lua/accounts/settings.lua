-- A user's own credentials for what runs on his machines: an Anthropic key, or an OAuth token, which counts more when both are
-- there. Kept in the vault; read back masked.

local claude = require "accounts.claude"
local credentials = require "accounts.credentials"
local secrets = require "secrets"
local store = require "store"
local users = require "accounts.users"
local vault = require "vault"

local M = {}

local names, place = claude.names, claude.place

local value = { "string", max = 1024, pattern = "^[\33-\126]*$", hint = "visible ASCII characters" }

-- "" takes a value away, an absent one stays.
M.fields = { anthropic_api_key = value, claude_oauth_token = value }

-- Which are there: {name = bool}
function M.have(user)
  local out = {}
  for _, name in ipairs(names) do out[name] = store.raw("secret", place(user, name)) ~= nil end
  return out
end

-- -> {name = masked text or "", auth_method = "oauth" | "api_key" | "none"} | nil, err
function M.masked(user)
  local out = { auth_method = "none" }
  for _, name in ipairs(names) do
    local text, err = vault.get(place(user, name))
    if not text and err.code ~= "not_found" then return nil, err end
    out[name] = text and secrets.mask(text) or ""
    if text then out.auth_method = name == "claude_oauth_token" and "oauth" or "api_key" end
  end
  return out
end

-- The value itself, for the machine that it is for. -> text | nil, err
function M.get(user, name) return vault.get(place(user, name)) end

-- -> true | nil, err
function M.put(actor, values)
  return store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    local changed = {}
    for _, name in ipairs(names) do
      local text = values[name]
      if text == "" then
        vault.del(tx, place(actor.user, name))
      elseif text then
        vault.put(tx, place(actor.user, name), text, actor.user)
      end
      if text then changed[#changed + 1] = name end
    end
    if #changed == 0 then return true end
    claude.mark_owner(tx, actor.user)
    users.note(tx, actor.user, "settings_changed", { names = changed }, users.by(actor))
    return true
  end)
end

-- In an update: takes all of them away.
function M.forget(tx, user)
  for _, name in ipairs(names) do vault.del(tx, place(user, name)) end
end

return M
