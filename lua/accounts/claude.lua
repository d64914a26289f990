-- A user's credentials for Claude: what they are called, and which of his machines still have to hear of them. The marks are
-- made in the commits that give cause for them, so no crash loses one; machines/claude.lua works them off.
--
-- Index "claude_due": machine ID -> a token by chance, new with each cause; user/ID -> the same: his machines that run.
--
--   claude.mark(tx, old, rec)     [record.save's] a machine starts, or has another owner
--   claude.mark_owner(tx, user)   what he has, has changed
--   claude.clear(tx, key, token)  done, unless there was another cause meanwhile

local crypto = require "crypto"

local M = {}

local INDEX = "claude_due"

M.names = { "anthropic_api_key", "claude_oauth_token" }

function M.place(user, name) return ("user/%s/%s"):format(user, name) end

local function has(tx, user)
  for _, name in ipairs(M.names) do
    if tx:raw("secret", M.place(user, name)) then return true end
  end
  return false
end

function M.mark_machine(tx, id) tx:index(INDEX, id, crypto.token(8)) end

-- A machine that is new has nothing that would have to be taken away.
function M.mark(tx, old, rec)
  if rec.status == "STOPPED" or rec.status == "DELETED" then
    if tx:lookup(INDEX, rec.id) then tx:unindex(INDEX, rec.id) end
    return
  end
  local begins = rec.status == "STARTING" and (not old or old.status ~= "STARTING")
  local given = old and old.owner ~= rec.owner
  if given or begins and (old and rec.owner ~= "operator" or has(tx, rec.owner)) then M.mark_machine(tx, rec.id) end
end

function M.mark_owner(tx, user) tx:index(INDEX, "user/" .. user, crypto.token(8)) end

function M.clear(tx, key, token)
  if tx:lookup(INDEX, key) == token then tx:unindex(INDEX, key) end
end

return M
