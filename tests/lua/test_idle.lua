-- Idleness on a clock that stands still until it is moved, with the mock provider: when machines are warned and stopped, what
-- keeps them, what their owner reads, what is kept.
local moved = require "moved"
local T0 = 1700006400000 -- 2023-11-15 00:00:00 UTC
moved.begin(T0 - 6 * 3600000)

local t = require "t"
local time = require "time"
local access = require "machines.access"
local errors = require "errors"
local changes = require "machines.changes"
local chunk = require "idle.chunk"
local fs = require "fs"
local idle = require "idle"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local plain = require "plain"
local policy = require "policy"
local providers = require "providers"
local runner = require "runner"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local task = require "task"
local timeline = require "idle.timeline"
local tracker = require "idle.tracker"

moved.open { PROVIDER_SECONDS = 5, QUOTA_INSTANCES = 10 }
changes.follow()
local used_unseen = assert(instances.create(instances.operator, { name = "unseen", image = "mock" })).id
t.wait_until(function() return store.get("instance", used_unseen).status == "RUNNING" end, "it runs")
time.advance(T0 - 3 * 3600000 - time.now()) -- and no serve is there for three hours
idle.serve { ACTIVITY_CHECK_INTERVAL = 300, IDLE_THRESHOLD = 7200 }

local me = instances.operator

function t.turn()
  moved.rest()
  time.advance(5)
end
local function settle()
  for _ = 1, 20 do t.turn() end
end

-- Moves the clock on to T0 + seconds; what is due meanwhile is decided for the second at which it was due.
local function go(seconds)
  local target = T0 + seconds * 1000
  while time.now() < target do
    local left = target - time.now()
    time.advance(left > 20000 and 10000 or math.min(1000, left))
    assert(fs.stat("/"))
  end
  moved.rest()
end

local function now() return (time.now() - T0) / 1000 end

local function made(name)
  local m = assert(instances.create(me, { name = name, image = "mock" }))
  t.wait_until(function() return tracker.get(m.id) end, "tracked")
  return m.id
end

local function status(id) return store.get("instance", id).status end
local function events(id)
  local out = {}
  for _, e in ipairs(store.history("instance", id, {})) do out[#out + 1] = e end
  return out
end
local function event(id, type)
  for _, e in ipairs(events(id)) do
    if e.type == type then return json.decode(e.data), e end
  end
end
local function seen(id) return json.decode(assert(instances.text(me, id))) end
-- When the first event of that type came, in seconds since T0.
local function at(id, type)
  local _, e = event(id, type)
  return e and math.floor((e.at - T0) / 1000)
end

-- Bug: after an outage as long as the threshold all machines were stopped at once whose agents could not be asked.
t.test("a machine that nobody watched and whose agent cannot be asked is warned, and has its whole threshold", function()
  local id, real, asked = used_unseen, providers.get, 0
  t.wait_until(function() return tracker.get(id) end, "tracked")
  local began = tracker.get(id).began
  function providers.get(...)
    local p = real(...)
    return setmetatable({}, { __index = function(_, name)
      if name ~= "activity" then return function(_, ...) return p[name](p, ...) end end
      return function()
        asked = asked + 1
        return errors.fail("unavailable", "nobody answers")
      end
    end })
  end
  go(now() + 901)
  t.ok(asked > 0, asked)
  t.eq(status(id), "RUNNING")
  local warned = 0
  for _, e in ipairs(events(id)) do
    if e.type == "idle_warning" then warned = warned + 1 end
  end
  t.eq(warned, 1)
  t.eq(event(id, "idle_warning").stops_at, time.rfc3339(began + 7200000))
  t.eq(seen(id).idle.stops_at, time.rfc3339(began + 7200000))
  local silent = providers.get
  providers.get = real -- it answers for a while: the end that was told holds
  go(now() + 901)
  providers.get = silent
  t.eq(status(id), "RUNNING")
  t.eq(seen(id).idle.stops_at, time.rfc3339(began + 7200000))
  go((began - T0) / 1000 + 7199)
  t.eq(status(id), "RUNNING")
  go(now() + 302)
  t.wait_until(function() return status(id) == "STOPPED" end, "STOPPED")
  warned = 0
  for _, e in ipairs(events(id)) do
    if e.type == "idle_warning" then warned = warned + 1 end
  end
  t.eq(warned, 1)
  providers.get = real
  go(0)
end)

t.test("a machine that nobody uses is warned a quarter of an hour before, and stopped at the second that was told", function()
  local id = made "alone"
  local began = math.floor(now())
  local told = seen(id).idle
  t.eq(told.stops_at, time.rfc3339(math.floor((T0 / 1000 + began + 7200)) * 1000))
  t.eq(told.verdict, "keep")
  go(began + 6299)
  t.eq(at(id, "idle_warning"), nil)
  go(began + 6302)
  t.eq(at(id, "idle_warning"), began + 6300)
  t.match(event(id, "idle_warning").text, "^stops at 02:00 UTC: no input since 00:00 UTC$")
  go(began + 7199)
  t.eq(status(id), "RUNNING")
  go(began + 7201)
  t.wait_until(function() return status(id) == "STOPPED" end, "STOPPED")
  local asked = event(id, "stopping")
  t.eq(asked.reason, "no input since 00:00 UTC")
  t.eq(asked.decision.kind, "idle")
  t.eq(asked.decision.generation, policy.live().number)
  t.eq(asked.decision.at, time.rfc3339(T0 + (began + 7200) * 1000))
  local rec = store.get("instance", id)
  t.eq(rec.reason, "no input since 00:00 UTC")
  t.eq(rec.idle, nil)
  t.eq(seen(id).idle, nil) -- it does not run
end)

t.test("input, a command, a busy lease keep it; waking begins anew", function()
  local id = made "used"
  local began = math.floor(now())
  go(began + 7000)
  tracker.event(id, "i")
  go(began + 7400)
  t.eq(status(id), "RUNNING")
  t.match(seen(id).idle.text, "^stops at %d%d:%d%d UTC: no input since ")
  t.eq(seen(id).last_activity_at, time.rfc3339(T0 + (began + 7000) * 1000))
  go(began + 14000)
  access.on_use(id)
  go(began + 14300)
  t.eq(status(id), "RUNNING")
  local lease = assert(leases.take(me, id, { reason = "make test", ttl = 14400 }))
  go(began + 25000)
  t.eq(status(id), "RUNNING")
  t.match(seen(id).idle.text, "^busy until %d%d:%d%d UTC: make test; if nothing else happens it stops at ")
  assert(leases.release(me, id, lease.id)) -- its end is activity
  go(began + 25000 + 7100)
  t.eq(status(id), "RUNNING")
  go(began + 25000 + 7302)
  t.wait_until(function() return status(id) == "STOPPED" end, "STOPPED")
  assert(instances.move(me, id, "start", 0) ~= nil)
  settle()
  local woken = math.floor(now())
  t.wait_until(function() return tracker.get(id) end, "tracked")
  go(woken + 7190)
  t.eq(status(id), "RUNNING")
  assert(instances.move(me, id, "delete", 0) ~= nil)
  t.wait_until(function() return not tracker.get(id) end, "not tracked")
end)

t.test("a lease is capped by the policy, and can be held for a day", function()
  local id = made "leased"
  local lease = assert(leases.take(me, id, { reason = "x", ttl = 86400 }))
  t.eq(time.parse(lease.expires_at) - time.now(), 4 * 3600 * 1000)
  t.match(lease.shortened, "at most 4 h")
  local err
  for _ = 1, 20 do
    go(now() + 3 * 3600)
    local again
    again, err = leases.take(me, id, { reason = "x", ttl = 14400, id = lease.id })
    if not again then break end
  end
  t.eq(err.code, "denied")
  t.match(err.message, "24 h at most")
  assert(instances.move(me, id, "delete", 0) ~= nil)
end)

-- Bug: what a machine's own agent held was counted from each lease's beginning, so a new one every minute held for ever.
t.test("leases of the agent are capped together, with those from outside, however often they are new", function()
  local id = made "renewed"
  local real, n = providers.get, 0
  function providers.get()
    return {
      capabilities = function() return { activity = true } end,
      activity = function()
        n = n + 1
        return { leases = { { id = "l" .. n, since = time.now(), until_at = time.now() + 6000, reason = "again" } } }
      end,
    }
  end
  local function busy()
    assert(idle.ask_agent(id))
    return tracker.facts(tracker.get(id), time.now()).lease_until ~= nil
  end
  local began = now()
  t.eq(busy(), true)
  while now() < began + 86000 do
    go(now() + 290)
    t.eq(busy(), true, now() - began)
  end
  go(began + 86500)
  for _ = 1, 20 do -- longer than a pause: who goes on asking makes none
    t.eq(busy(), false)
    local none, err = leases.take(me, id, { reason = "from outside", ttl = 60 })
    t.eq(none, nil)
    t.eq(err.code, "denied")
    go(now() + 290)
  end
  providers.get = real
  go(now() + 901)
  assert(leases.take(me, id, { reason = "after a pause", ttl = 60 }))
  assert(instances.move(me, id, "delete", 0) ~= nil)
end)

-- Bug: a save looked at every machine that runs in one go.
t.test("another set's plans are looked at in slices", function()
  local ids = {}
  for i = 1, 60 do ids[i] = made("many" .. i) end
  local real, n, in_a_row, most = tracker.refresh, 0, 0, 0
  function tracker.refresh(rec)
    n, in_a_row = n + 1, in_a_row + 1
    most = math.max(most, in_a_row)
    local ends = sys.cpu_ms() + 1
    while sys.cpu_ms() < ends do n = n + 0 end
    return real(rec)
  end
  local other = task.spawn(function()
    while task.sleep(0) do in_a_row = 0 end
  end)
  local sources = {}
  for name, text in pairs(policy.live().sources) do sources[name] = text end
  sources["plans.lua"] = sources["plans.lua"] .. "\n"
  assert(policy.try(sources, "a test"))
  t.wait_until(function() return n >= 60 end, "the plans")
  tracker.refresh = real
  other:cancel("the end")
  other:join()
  t.ok(most < 20, most)
  for _, id in ipairs(ids) do assert(instances.move(me, id, "delete", 0) ~= nil) end
end)

t.test("a machine whose provider tells of work when it is asked once more is not stopped", function()
  local id = made "late"
  local began = math.floor(now())
  go(began + 7195)
  -- what the agent says when it is asked before the stop: input that nobody else has seen
  local real = idle.ask_agent
  function idle.ask_agent(which) tracker.event(which, "i") end
  go(began + 7205)
  idle.ask_agent = real
  t.eq(status(id), "RUNNING")
  t.eq(event(id, "stopping"), nil)
  assert(instances.move(me, id, "delete", 0) ~= nil)
end)

t.test("days are kept: each decision with its verdict, in runs, and what it was told can be told again", function()
  local id = made "kept"
  local began = math.floor(now())
  for i = 1, 40 do
    go(began + i * 59) -- one that comes with a turn is stamped behind it
    tracker.event(id, "i")
  end
  go(began + 9000)
  assert(tracker.save(true))
  local days = store.list("activity", { prefix = id .. "/" })
  t.eq(#days, 1)
  local day = json.decode(days[1].json)
  t.eq(#day.i, 2) -- one run of input
  local n, verdicts = 0, {}
  for ms, generation, verdict in chunk.decisions(day) do
    t.eq(generation, policy.live().number)
    t.ok(ms > T0)
    n = n + 1
    verdicts[verdict] = (verdicts[verdict] or 0) + 1
  end
  t.ok(n >= 29, n)
  t.ok(verdicts.warn >= 2) -- at its second, and at the turns until the stop
  -- the same facts by the same code
  local s = timeline.new()
  for i = 1, #day.i do timeline.apply(s, { day.i[i], "i" }) end
  local track = tracker.get(id)
  for _, seconds in ipairs { 2400, 2459, 2461, 5000 } do
    local ms = T0 + (began + seconds) * 1000
    local a, b = timeline.facts(s, track.static, ms), timeline.facts(track.s, track.static, ms)
    t.eq(a.input_at, b.input_at)
    t.eq(a.last_activity_at, b.last_activity_at)
  end
  assert(instances.move(me, id, "delete", 0) ~= nil)
end)

t.test("facts that are filled anew hold nothing of the machine before, and are all that a policy may ask for", function()
  local ms = T0 + 100000
  local static = {
    id = "a", name = "a", owner = "u", plan = "pro", type = "large", provider = "mock", labels = { x = "y" }, created_at = 1,
    started_at = 2, threshold = 60,
  }
  local busy = timeline.new()
  for _, e in ipairs {
    { T0, "i" }, { T0, "c", 2 }, { T0 + 1, "c", 0 }, { T0 + 2, "r", 1, "vim", true, 3 }, { T0 + 3, "l", "a", T0 + 4, "short" },
    { T0 + 5, "l", "b", ms + 1000, "long" },
  } do timeline.apply(busy, e) end
  local other = {
    id = "b", name = "b", owner = "v", plan = "free", type = "small", provider = "local", labels = {}, created_at = 3,
    started_at = 4, threshold = 7200,
  }
  local m = timeline.facts(busy, static, ms)
  for field in pairs(require("policy.kinds").idle.functions.decide.input) do t.ok(m[field] ~= nil, field) end
  t.ok(plain.same(timeline.facts(timeline.new(), other, ms, m), timeline.facts(timeline.new(), other, ms)))
  t.ok(plain.same(timeline.facts(busy, static, ms, m), timeline.facts(busy, static, ms)))
end)

-- Bug: a decision that raised took the turns of all who had the same second, and they were decided no more.
t.test("a decision that raises takes no other machine's turn", function()
  local one, two = made "raises", made "goes-on"
  go(now() + 1)
  local a, b = tracker.get(one), tracker.get(two)
  b.phase = a.phase
  go(now() + 301)
  local due = tracker.due
  local raised = 0
  function tracker.due(track, ms) -- luacheck: ignore 122
    if (track == a or track == b) and raised == 0 then
      raised = raised + 1
      error("a fault")
    end
    return due(track, ms)
  end
  go(now() + 601)
  tracker.due = due -- luacheck: ignore 122
  t.eq(raised, 1)
  go(now() + 301)
  t.ok(a.last_at > time.now() - 400000, "the one")
  t.ok(b.last_at > time.now() - 400000, "the other")
end)

t.test("an edit of the policy is what counts from the next decision on", function()
  local id = made "edited"
  local sources = {}
  for name, text in pairs(policy.live().sources) do sources[name] = text end
  sources["plans.lua"] = sources["plans.lua"]:gsub("idle = 2 %* HOUR", "idle = 600")
  local set = assert(policy.try(sources, "a test"))
  settle()
  local began = math.floor(now())
  t.eq(seen(id).idle.generation, set.generation)
  go(began + 700)
  t.wait_until(function() return status(id) == "STOPPED" end, "STOPPED")
  t.eq(event(id, "stopping").decision.generation, set.generation)
end)

-- Bug: what an edited policy would have stopped already was said to stop now, for as long as its next decision was away.
t.test("the end that is told after an edit is that of the next decision", function()
  local id = made "edited-late"
  local sources = {}
  for name, text in pairs(policy.live().sources) do sources[name] = text end
  sources["plans.lua"] = sources["plans.lua"]:gsub("idle = 600", "idle = 2 * HOUR")
  assert(policy.try(sources, "a test"))
  settle()
  go(math.floor(now()) + 700)
  sources["plans.lua"] = sources["plans.lua"]:gsub("idle = 2 %* HOUR", "idle = 600")
  assert(policy.try(sources, "a test"))
  settle()
  local told = seen(id).idle.stops_at
  t.ok(told > time.rfc3339(math.floor(time.now())), told)
  local next_at = tracker.get(id).next_at
  t.eq(told, time.rfc3339(next_at))
  go(math.floor(now()) + 301)
  t.wait_until(function() return status(id) == "STOPPED" end, "STOPPED")
  local decided = event(id, "stopping").decision.at -- the machine itself is asked once more before
  t.ok(decided >= told and decided < time.rfc3339(next_at + 60000), decided)
end)

-- Bug: what is told by the wall clock was compared with the clock of deadlines: behind that, a lease was over when it was taken.
t.test("a wall clock that was set back makes no lease worthless, and input neither old nor new", function()
  local DAY, HOUR = 86400000, 3600000
  steady.adopt(steady.offset() + DAY)
  local id = made "set-back"
  local function facts() return tracker.facts(tracker.get(id), steady.now()) end
  local lease = assert(leases.take(me, id, { reason = "a build", ttl = 3600 }))
  t.eq(facts().lease_until, math.floor((time.parse(lease.expires_at) + DAY) / 1000))
  t.match(seen(id).idle.text, "^busy until %d%d:%d%d UTC: a build")
  assert(leases.release(me, id, lease.id))
  t.eq(facts().lease_until, nil)
  go(now() + 300)
  local real, typed, ends = providers.get, time.now(), time.now() + HOUR
  function providers.get()
    return {
      capabilities = function() return { activity = true } end,
      activity = function()
        return { last_input_at = typed, leases = { { id = "make", since = typed, until_at = ends, reason = "make" } } }
      end,
    }
  end
  assert(idle.ask_agent(id))
  t.eq(facts().input_at, math.floor(steady.now() / 1000))
  t.eq(facts().lease_until, math.floor((ends + DAY) / 1000))
  local input, held = facts().input_at, leases.held_since(id)
  t.ok(held <= time.now() and held > time.now() - HOUR, held) -- by the wall clock, as what asks for it
  local wall = time.now
  function time.now() return wall() - HOUR end -- set back once more: what was typed is later than anything we know of
  for _ = 1, 3 do
    go(now() + 100)
    assert(idle.ask_agent(id))
  end
  providers.get, time.now = real, wall
  t.eq(facts().input_at, input)
  assert(instances.move(me, id, "delete", 0) ~= nil)
end)

t.test("the log of all this holds", function() assert(store.verify()) end)

idle.finish()
runner.release()
moved.finish()
return t.done()
