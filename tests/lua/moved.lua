-- A clock that is moved: for tests of what takes hours. It must be set before anything that reads it is loaded:
--
--   local moved = require "moved"
--   moved.begin(unix ms)       time stands still; whoever gives others a turn waits for none of it
--   local t = require "t" ...
--   moved.open({...})          setup.open as serve does it, on the mock, with these settings besides
--   moved.account(name, plan) -> a user's record      moved.made(actor, spec) -> the record of a machine that runs
--   moved.rest([busy])         until nothing is left to do but wait for that clock: commits take real time, and none of it;
--                              busy() -> true as long as something else is under way
--   moved.finish()             at the end of the file

local time = require "time"

local M = {}

local ended, turning = false, nil

function M.begin(ms)
  time.virtual(ms)
  local fs, t, task = require "fs", require "t", require "task"
  turning = task.spawn(function()
    while not ended do
      assert(fs.stat("/"))
      time.advance(0)
    end
  end)
  -- Commits take no time of this clock, however busy the disk is: what must happen within a second is not to be late for that.
  function t.turn()
    local store = require "store"
    repeat assert(fs.stat("/")) until (store.stats() or { pending = 0 }).pending == 0
    time.advance(1)
  end
end

function M.open(more)
  local settings = {
    DATA_DIR = require("t").tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {},
    PROVIDER = "mock", QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
  }
  for name, value in pairs(more or {}) do settings[name] = value end
  assert(require("setup").open(settings, { serve = true }))
  return settings
end

function M.rest(busy)
  local fs, store = require "fs", require "store"
  local quiet = 0
  while quiet < 3 do
    assert(fs.stat("/"))
    quiet = not (busy and busy()) and store.stats().pending == 0 and quiet + 1 or 0
  end
end

function M.account(name, plan)
  return assert(require("store").update(function(tx)
    return require("accounts.users").create(tx, { email = name .. "@example.com", plan = plan }, "test")
  end))
end

function M.made(actor, spec)
  local instances, t = require "instances", require "t"
  local m, op = assert(instances.create(actor, spec))
  t.eq(assert(instances.operation(instances.operator, op, 10)).state, "done")
  return assert(instances.get(instances.operator, m.id))
end

function M.finish()
  ended = true
  turning:join()
end

return M
