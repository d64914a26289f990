-- What other processes end (a script, later another host): read from the log, as it is the one place that all changes reach.
-- Without it this process would believe a remembered credential, and keep its terminals open, until it ends by itself.

local credentials = require "accounts.credentials"
local json = require "json"
local log = require "log"
local store = require "store"
local task = require "task"

local M = {}

local PAUSE = 0.5 -- seconds between two readings under load, so that a busy log is read in pages
local PAGE, BYTES = 1000, 1048576

local acts = {
  session_ended = function(id, data) credentials.revoke(("%s/session:%s"):format(id, data.session), "signed out") end,
  token_revoked = function(id, data) credentials.revoke(("%s/token:%s"):format(id, data.token), "the token was revoked") end,
  suspended = function(id) credentials.revoke(id .. "/", "the account is suspended") end,
  deleted = function(id) credentials.revoke(id .. "/", "the account was deleted") end,
  changed = function(id, data)
    if data.changes and data.changes.role then
      credentials.revoke(id .. "/", "the account's rights have changed")
    else
      credentials.forget(id .. "/")
    end
  end,
  resumed = function(id) credentials.forget(id .. "/") end,
}

local function read(after)
  local entries = assert(store.log { after = after, limit = PAGE, bytes = BYTES })
  for _, e in ipairs(entries) do
    local act = e.kind == "user" and acts[e.type]
    if act then act(e.id, e.data ~= "" and json.decode(e.data) or {}) end
    after = e.seq
  end
  return after
end

-- Follows the log until the program ends.
function M.follow()
  local seen = store.stats().log_seq
  task.spawn(function()
    repeat
      local more, err = store.wait(seen, 60)
      if more then
        local ok, next_seen = pcall(read, seen)
        if ok then
          seen = next_seen
        else
          log.error("revocations", "the log could not be read", { error = tostring(next_seen) })
        end
        more, err = task.sleep(PAUSE)
      end
    until more == nil and err
  end)
end

return M
