-- The null test: what the running code has recorded is lived again exactly. The code is the host's own (lua/idle, the service
-- of machines on the provider mock), on a clock that stands still until it is moved.
local time = require "time"
local T0 = 1780272000000

local t = require "t"
package.path = package.path .. ";examples/policies/?.lua"
local fs = require "fs"
local idle = require "idle"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local null = require "whatif.null"
local pass = require "idle.pass"
local past = require "whatif.past"
local policy = require "policy"
local prices = require "whatif.prices"
local random = require "policy.random"
local replay = require "whatif.replay"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local task = require "task"
local totals = require "whatif.totals"
local traces = require "traces"
local tracker = require "idle.tracker"

local MIN, HOUR, DAY = 60000, 3600000, 86400000
local settings = {
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  QUOTA_INSTANCES = 100, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0, IDLE_THRESHOLD = 7200,
  ACTIVITY_CHECK_INTERVAL = 300,
}
assert(require("setup").open(settings, { serve = true }))
time.virtual(T0)
steady.adopt(T0 - time.mono())

-- Runs what takes its time, moving the clock on.
local function settle()
  local quiet = 0
  while quiet < 3 do
    assert(fs.stat("/"))
    quiet = store.stats().pending == 0 and quiet + 1 or 0
  end
end
local function now_do(fn)
  local ok, done = nil, false
  task.spawn(function()
    ok = fn()
    done = true
  end)
  for _ = 1, 5000 do
    if done then return ok end
    settle()
    time.advance(done and 0 or 20)
  end
  error("in vain")
end

local model = { interval = 300000, delay = MIN, near = 15 * MIN }
local function side_of(gen)
  return { gen = gen, threshold = 7200, prices = prices.periods(gen:data("plans").price),
    failed = { n = 0, limit = 0, distinct = 0, texts = {} } }
end

local function tell(found)
  local lines = {}
  for i = 1, math.min(8, #found.differences) do
    local d = found.differences[i]
    lines[i] = ("%s recorded %s replayed %s"):format(time.rfc3339(d.ms), json.encode(d.recorded or "nothing"),
      json.encode(d.replayed or "nothing"))
  end
  return table.concat(lines, "\n")
end

-- ---- the tracker and the pass, on labelled traces, with every key pressed by itself

local hosts_own = pass.on_verdict

-- What its people want: signals as they come, in order.
local function demands(trace, chance)
  local out = {}
  for _, day in ipairs(trace.known.days) do
    for i = 1, #day.i, 2 do
      local ms = day.i[i]
      while ms < day.i[i + 1] do
        out[#out + 1] = { ms, "i" }
        ms = ms + 1 + chance:below(60000)
      end
      out[#out + 1] = { day.i[i + 1], "i" }
    end
    for _, e in ipairs(day.e) do
      if e[2] ~= "b" then out[#out + 1] = { e[1], e[2], e[3], e[4], e[5], e[6] } end
    end
  end
  for i, e in ipairs(out) do e.order = i end
  table.sort(out, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a.order < b.order
  end)
  return out
end

local function record_of(static)
  return {
    id = static.id, name = static.name, owner = "operator", type = static.type, provider = "mock", labels = {},
    created_at = time.rfc3339(static.created_at * 1000), version = 1, status = "RUNNING",
  }
end

-- Lives a trace with the host's own code. -> what past.build wants
local function record(trace, interval)
  pass.setup { interval = interval }
  tracker.setup { decide = pass.decide, threshold = 7200 }
  local chance, rec = random.new(99), record_of(trace.known.statics[1][2])
  local spans, id = {}, rec.id
  local track, waking, asked, connections, down
  local function set(ms) if ms > time.now() then time.advance(ms - time.now()) end end
  local function watch()
    track = tracker.begin(rec, not down)
    pass.add(track)
  end
  local function start(ms)
    set(ms)
    rec.status_at = time.rfc3339(ms)
    spans[#spans + 1] = { from = ms, ms = math.huge, idle = false, asked = asked or ms }
    waking, connections = nil, 0
    if chance:below(2) == 0 then set(ms + chance:below(300)) end -- it is seen a little later
    watch()
  end
  function pass.on_verdict(of, verdict, _, ms)
    if verdict ~= "stop" then return end
    tracker.drop(of.id)
    spans[#spans].ms, spans[#spans].idle = ms, true
    track = nil
  end
  local function until_(ms)
    while track and track.next_at <= ms do
      set(track.next_at)
      tracker.due(track, track.next_at)
    end
  end
  start(trace.known.from)
  for _, e in ipairs(demands(trace, chance)) do
    if not down and track and e[1] > trace.known.from + 1.4 * DAY then -- the host is away for 23 minutes
      until_(e[1])
      if track then
        set(e[1])
        tracker.drop(id)
        track, down = nil, e[1] + 23 * MIN
      end
    end
    if down and down ~= true and e[1] >= down then
      assert(tracker.save(true))
      set(down)
      down, connections = true, 0
      watch()
    end
    if waking and waking <= e[1] then start(waking) end
    until_(e[1])
    if track then
      set(math.max(e[1], time.now()))
      if e[2] == "c" then connections = e[3] end
      tracker.event(id, unpack(e, 2, 6))
    elseif (not down or down == true) and not waking and (e[2] == "i" or e[2] == "c" and e[3] > connections) then
      waking, asked = e[1] + MIN, e[1]
    end
  end
  if waking and waking < trace.known.to then start(waking) end
  until_(trace.known.to - 1)
  set(trace.known.to)
  tracker.drop(id)
  assert(tracker.save(true))
  local days = {}
  for _, row in ipairs(store.list("activity", { prefix = id .. "/" })) do days[#days + 1] = json.decode(row.json) end
  local static = trace.known.statics[1][2]
  static.owner, static.plan = "operator", policy.data("plans").default
  return { id = id, owner = "operator", from = trace.known.from, to = trace.known.to, days = days, spans = spans, offs = {},
    statics = trace.known.statics }
end

local short = [[
local P = { kind = "idle" }
function P.decide(m, now)
  local idle = now - m.last_activity_at
  if idle >= 240 and m.connections == 0 then return "stop", "unused since " .. clock(m.last_activity_at) end
  if idle >= 130 then return "warn", "unused for " .. duration(idle) end
  return "keep", "used at " .. clock(m.last_activity_at)
end
function P.lease(r) return r.ttl, "as asked" end
return P]]

-- A stretch of decisions in one call comes to what they come to one by one.
local function same_in_stretches(known, side, m, what)
  local fast = replay.machine(past.build(known), side, m)
  local slow = replay.machine(past.build(known), side, m, { decision = function() end })
  t.eq(fast.decisions, slow.decisions, what)
  t.eq(fast.undone, slow.undone, what)
  for _, f in ipairs(totals.FIELDS) do t.eq(fast.plans.free[f], slow.plans.free[f], what .. " " .. f) end
end

local next_from = T0 -- time does not go back: each machine lives behind the one before

local function null_of(n, interval, seed)
  local decisions, stops, wakes, machines = 0, 0, 0, 0
  local side, other = side_of(policy.live()), side_of(now_do(function()
    local sources = policy.shipped()
    sources["idle.lua"] = assert(fs.read("examples/policies/codespaces.lua"))
    return require("policy.generation").build(sources)
  end))
  local m = { interval = interval * 1000, delay = MIN, near = 15 * MIN }
  for i = 1, n do
    local known = record(traces.machine(seed, i, 4, next_from), interval)
    next_from = next_from + 5 * DAY
    local found = null.check(past.build(known), side, m, policy.live().number)
    t.eq(#found.differences, 0, ("machine %d: %s"):format(i, tell(found)))
    t.eq(found.ms, found.recorded_ms, "usage of machine " .. i)
    decisions, machines = decisions + found.decisions, machines + 1
    same_in_stretches(known, side, m, "of the policies that recorded it")
    same_in_stretches(known, other, m, "of others")
    for _, span in ipairs(known.spans) do stops = stops + (span.idle and 1 or 0) end
    wakes = wakes + #known.spans - 1
    -- from the middle on, too
    known.from = known.from + 1.3 * DAY
    local half = null.check(past.build(known), side, m, policy.live().number)
    t.eq(#half.differences, 0, ("machine %d, from its middle: %s"):format(i, tell(half)))
    t.eq(half.ms, half.recorded_ms)
  end
  t.ok(stops >= n and wakes > n / 2, ("%d stops, %d wakes"):format(stops, wakes))
  print(("# %d machines, %d decisions, %d stops, %d wakes: identical"):format(machines, decisions, stops, wakes))
end

t.test("the null test on labelled traces: the shipped policies", function() null_of(24, 300, 3) end)
t.test("the same, decided each minute", function() null_of(12, 60, 4) end)

t.test("the same, under a policy whose verdicts change between two turns", function()
  local sources = policy.shipped()
  sources["idle.lua"] = short
  assert(now_do(function() return policy.try(sources, "test") end))
  null_of(12, 300, 5)
  null_of(12, 900, 6)
  assert(now_do(function() return policy.try(policy.shipped(), "test") end))
end)

-- ---- the whole host

local function move(ms, step)
  local ends = time.now() + ms
  while time.now() < ends do
    time.advance(math.min(step or 10000, ends - time.now()))
    settle()
  end
end
pass.on_verdict = hosts_own
now_do(function()
  idle.serve(settings)
  require("machines.changes").follow()
  return true
end)

function t.turn()
  settle()
  time.advance(20)
end

t.test("the null test on what the whole host has recorded, and a what-if of it", function()
  local began = time.now()
  local op = instances.operator
  local made = {}
  for i, name in ipairs { "typed", "asked", "leased", "alone" } do
    made[i] = now_do(function()
      local m, what = assert(instances.create(op, { name = name }))
      assert(instances.operation(op, what, 10))
      return m.id
    end)
  end
  local typed, asked, leased, alone = unpack(made)
  move(20000, 500)
  local function type_for(id, ms)
    local ends = time.now() + ms
    while time.now() < ends do
      idle.input(id)
      move(17000, 4000)
    end
  end
  type_for(typed, 20 * MIN)
  now_do(function() return leases.take(op, leased, { reason = "a job", ttl = 3 * 3600 }) end)
  move(HOUR)
  pass.tick()
  now_do(function() return instances.move(op, asked, "stop") end)
  move(2 * HOUR)
  now_do(function() return instances.move(op, typed, "start") end)
  type_for(typed, 5 * MIN)
  move(25 * HOUR, 20000) -- over a midnight
  now_do(function() return instances.move(op, alone, "start") end)
  move(HOUR)
  now_do(function() return instances.patch(op, alone, { name = "renamed" }) or true end)
  move(3 * HOUR)
  now_do(function() return instances.move(op, typed, "delete") end)
  assert(idle.finish())
  local to = time.now()
  local side = side_of(policy.live())
  local n, seen = 0, {}
  for _, id in ipairs(past.ids()) do
    local p = past.of(id, began, to)
    if p then
      local found = null.check(p, side, model, policy.live().number)
      t.eq(#found.differences, 0, p.static.name .. "\n" .. tell(found))
      t.eq(found.ms, found.recorded_ms, p.static.name)
      n, seen[p.static.name] = n + found.decisions, p
    end
  end
  t.ok(n > 100, n)
  t.eq(#seen.typed.things > 0 and seen.typed.static.plan, "free")
  -- who was typing at "typed" was stopped after two hours; twenty minutes would have stopped it sooner
  local sources = policy.shipped()
  sources["plans.lua"] = sources["plans.lua"]:gsub("idle = 2 %* HOUR", "idle = 1200")
  local gen = assert(now_do(function() return require("policy.generation").build(sources) end))
  local a, b = replay.machine(seen.typed, side, model), replay.machine(seen.typed, side_of(gen), model)
  t.ok(b.plans.free.ms < a.plans.free.ms and a.plans.free.ms == seen.typed.ran)

  -- the command, beside the process that serves
  local r = assert(sys.run { "/proc/self/exe", "whatif", "--null", "--data-dir=" .. settings.DATA_DIR,
    "--since=" .. time.rfc3339(began), "--until=" .. time.rfc3339(to) })
  t.eq(r.exit, 0, r.stdout .. r.stderr)
  t.match(r.stdout, "4 machines, %d+ recorded decisions: 0 differ; the usage of 0 machines does")
end)

return t.done()
