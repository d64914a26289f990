-- One pass over a fleet: how much CPU it takes to decide about N machines that run, each once, as serve does it; and the
-- longest slice, which is what the loop's lag grows by. On a clock that is moved, so that nothing else costs anything.
--
--   cchost tests/bench/idle_pass.lua [N]

local time = require "time"
time.virtual(1700006400000)

local crypto = require "crypto"
local fs = require "fs"
local sys = require "sys"
local task = require "task"

local N = tonumber((...)) or 100000
local dir = assert(sys.run { "mktemp", "-d" }).stdout:gsub("%s+$", "")
local ended = false
task.spawn(function() -- who gives others a turn waits for no time at all
  while not ended do
    assert(fs.stat("/"))
    time.advance(0)
  end
end)
assert(require("setup").open({
  DATA_DIR = dir, PROVIDER = "mock", MOCK = {}, STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 1, PROVIDER_SECONDS = 5,
  QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

local pass = require "idle.pass"
local tracker = require "idle.tracker"
tracker.setup { decide = pass.decide, threshold = 7200, keep_days = 365 }
pass.setup { interval = 300 }
local at = time.rfc3339(time.now())
for _ = 1, N do
  local id = crypto.uuid()
  pass.add(tracker.begin({
    id = id, name = "m", owner = "operator", type = "small", provider = "mock", labels = {}, created_at = at, status_at = at,
    version = 1,
  }, true))
end
local n = 0
for id in pairs(tracker.all()) do -- a third is in use
  n = n + 1
  if n % 3 == 0 then tracker.event(id, "i") end
end

local function round(what)
  collectgarbage()
  collectgarbage()
  local before, begun = pass.stats.decisions, sys.cpu_ms()
  pass.stats.worst_ms = 0
  for _ = 1, 300 do
    time.advance(1000)
    pass.tick()
  end
  local ms = sys.cpu_ms() - begun
  print(("%-28s %d decisions  %.2f s CPU  %.1f us each  longest slice %.1f ms"):format(
    what, pass.stats.decisions - before, ms / 1000, ms * 1000 / (pass.stats.decisions - before), pass.stats.worst_ms))
end
print(("%d machines; memory %.0f MiB"):format(N, collectgarbage("count") / 1024))
round "the first interval"
round "the second"
for _ = 1, 22 do
  for _ = 1, 300 do
    time.advance(1000)
    pass.tick()
  end
end
pass.on_verdict = function() end
round "in which they fall idle"
ended = true
assert(sys.run { "rm", "-rf", dir })
