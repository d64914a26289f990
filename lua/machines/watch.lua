-- The last resort against being stuck: whatever is past its deadline is ended, even when nobody works on it.
--
-- A workflow ends by its own deadlines, which come first. This looks at the records alone (index instance_due), so that
-- a fault of the workflows, or a process that hangs while it holds one, cannot keep a machine in a transient status.

local log = require "log"
local record = require "machines.record"
local statuses = require "statuses"
local steady = require "steady"
local store = require "store"
local time = require "time"
local workflow = require "workflow"

local M = {}

local GRACE_MS = 5000   -- for the last try to come back
local BEGIN_MS = 30000  -- for what an earlier process left: it is taken up first, and given time (workflow.take_over)

local began = steady.now()
M.began = began

-- Pure. Whether a deadline (unix ms) has passed for good, at `now`, in a process that began then.
function M.due(deadline, now, begun) return now >= math.max(deadline + GRACE_MS, begun + BEGIN_MS) end

-- -> whether it was ended
local function expire(id)
  return store.update(function(tx)
    local old = record.get(tx, id)
    if not old or statuses.settled(old.status) then return false end
    if not M.due(time.parse(old.deadline_at), steady.now(), began) then return false end
    local rec = record.edit(old)
    record.enter(rec, statuses.get(old.status).expires)
    rec.error = ("it was %s until its deadline passed"):format(old.status)
    workflow.expire(tx, rec, rec.error)
    record.save(tx, old, rec, "failed", "system", { error = rec.error })
    return true
  end)
end

-- Ends what is past its deadline. -> how many
function M.expire()
  local n, now = 0, steady.now()
  for _, entry in ipairs(store.scan("instance_due", { limit = 1000 })) do
    if not M.due(tonumber(entry.key:sub(1, 15)), now, began) then break end
    local ok, ended = xpcall(expire, debug.traceback, entry.value) -- one that raises must not keep the others
    if not ok then
      log.error("watch", "a machine past its deadline could not be ended", { machine = entry.value, traceback = ended })
    elseif ended then
      n = n + 1
      log.error("watch", "a machine was past its deadline and was ended", { machine = entry.value })
    end
  end
  return n
end

return M
