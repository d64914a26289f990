-- Policies that fail, or are slow within every budget (tests/lib/hostile.lua), on a host that serves: others run meanwhile.
-- What is counted is decisions in a row, without another task's turn between them; each takes a millisecond.
local t = require "t"
local changes = require "machines.changes"
local expiry = require "expiry"
local explain = require "policy.explain"
local idle = require "idle"
local instances = require "instances"
local json = require "json"
local policy = require "policy"
local runner = require "runner"
local sys = require "sys"
local task = require "task"
local time = require "time"
local tracker = require "idle.tracker"

package.path = package.path .. ";tests/lib/?.lua"
local slow = require("hostile").slow

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 5, PROVIDER = "mock",
  QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0, MOCK = {},
}, { serve = true }))
changes.follow()
idle.serve { ACTIVITY_CHECK_INTERVAL = 300, IDLE_THRESHOLD = 7200 }
expiry.serve()

local me = instances.operator
local Generation = getmetatable(policy.live()).__index
local asked, in_a_row, most, turns = 0, 0, 0, 0

local function count(name)
  local real = Generation[name]
  Generation[name] = function(gen, what, ...)
    if what == "idle.decide" or what == "expiry.decide" then
      asked, in_a_row = asked + 1, in_a_row + 1
      most = math.max(most, in_a_row)
    end
    return real(gen, what, ...)
  end
end
count "ask"
count "vary"

local longest = 0 -- ms of CPU time between two of its turns

local other = task.spawn(function()
  local before = sys.cpu_ms()
  while task.sleep(0) do
    local now = sys.cpu_ms()
    in_a_row, turns, longest, before = 0, turns + 1, math.max(longest, now - before), now
  end
end)

-- Runs fn beside the other task. -> decisions, most of them in a row, turns of the other task, what fn gave
local function beside(fn)
  task.sleep(0)
  asked, in_a_row, most, turns = 0, 0, 0, 0
  local result = fn()
  return asked, most, turns, result
end

local function force(files)
  local sources = policy.shipped()
  for name, text in pairs(files) do sources[name] = text end
  return assert(policy.try(sources, "a test"))
end

local function made(name, hours)
  local m = assert(instances.create(me, { name = name, image = "mock", hours = hours }))
  t.wait_until(function() return tracker.get(m.id) end, "tracked")
  return m.id
end

local function seen(id) return json.decode(assert(instances.text(me, id))) end

local first, second = made "first", made "second"

-- Bug: a look ahead asked a policy that failed 500 times, two seconds of one GET, and told nothing of it.
t.test("a decision that fails ends the look ahead, and the owner is told", function()
  force { ["idle.lua"] = [[
local P = {}
function P.decide(m)
  if m.name == "second" then while true do end end
  return "keep", "always"
end
function P.lease(r) return r.ttl, "all" end
return P
]] }
  local n, _, _, m = beside(function() return seen(second) end)
  t.ok(n <= 3, n)
  t.match(m.idle.reason, "^the policy failed: policies/idle.lua:3: more ")
  t.eq(m.idle.text, m.idle.reason)
  t.eq((beside(function() return seen(second) end)), 0)
  t.eq(seen(first).idle.reason, "always")
end)

-- Bug: recorded inputs, inputs by chance and tests ran in one go.
t.test("others run while a slow set is tried", function()
  local n, row, others = beside(function() return force(slow) end)
  t.ok(n >= 800, n)
  t.ok(row < 20, row)
  t.ok(others >= 100, others)
end)

-- Bug: it wanted a turn of the others for each test, which a fast host has done before its turn is over.
t.test("others run while a slow set's tests do", function()
  longest = 0
  local n, _, others = beside(function() return force { ["tests/slow.lua"] = slow["tests/slow.lua"] } end)
  t.ok(n > 0 and others >= 10, others)
  t.ok(longest < 20, longest .. " ms of CPU time at once")
end)

-- Bug: a large file was linted in one go: 0.1 to 0.4 s.
t.test("others run while a large file is linted", function()
  local plan = "  plan%d = { machines = 1, idle = 7200, types = { 'small' }, fee = { { from = '2026-01-01', month = 1 } } },\n"
  local plans = {}
  for i = 1, 400 do plans[i] = plan:format(i) end
  local large = "return {\n" .. table.concat(plans) .. "}\n" .. ("-- \n"):rep(10)
  large = large:gsub("^return {\n", "local P = {\n") .. "local x = { " .. ("1, "):rep(20000) .. "}\nreturn { P, x }\n"
  t.ok(#large > 90000 and #large < 131072, #large)
  longest = 0
  local _, _, others = beside(function() return force { ["lib_large.lua"] = large } end)
  t.ok(others >= 20, others)
  t.ok(longest < 20, longest .. " ms of CPU time at once")
end)

-- Bug: the look ahead for when a machine stops, and the one for when its hours' verdict changes, ran in one go.
t.test("others run while a slow decision is looked ahead for", function()
  force(slow)
  local n, row, _, m = beside(function() return seen(first) end)
  t.ok(n >= 400, n)
  t.ok(row < 20, row)
  t.eq(m.idle.text, "always")
  n, row = beside(function()
    made("hours", 5)
    t.wait_until(function() return asked >= 90 end, "the look ahead")
  end)
  t.ok(n >= 90, n)
  t.ok(row < 20, row)
end)

-- Bug: one explanation took minutes, in steps of seconds.
t.test("others run while a slow decision is explained, which ends", function()
  local real = explain.budget_ms
  local now = math.floor(time.now() / 1000)
  local input = tracker.facts(tracker.get(first), now * 1000)
  explain.budget_ms = 100
  local reads = slow["idle.lua"]:gsub("burn%(%) return", "burn() local never = m.load == -1 return never and 'stop' or")
  force { ["idle.lua"] = reads, ["expiry.lua"] = slow["expiry.lua"] }
  local _, row, others, d = beside(function() return explain.decision(policy.live(), "idle.decide", input, now) end)
  t.ok(row < 20, row)
  t.ok(others >= 20, others)
  t.eq(d.partial, true)
  t.match(d.text, "not all of the grid was looked at")
  explain.budget_ms = real
end)

other:cancel("the end")
other:join()
idle.finish()
runner.release()
return t.done()
