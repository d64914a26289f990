-- Whether machines are well, on a clock that is moved, with the mock provider: what counts as a failure, what is told of it, what
-- the policy does about it and how that is explained.
local moved = require "moved"
local T0 = 1700006400000 -- 2023-11-15 00:00:00 UTC
moved.begin(T0)

local t = require "t"
local time = require "time"
local changes = require "machines.changes"
local decisions = require "idle.decisions"
local errors = require "errors"
local freshness = require "machines.freshness"
local guards = require "policy.guards"
local healing = require "machines.healing"
local health = require "machines.health"
local idle = require "idle"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local ledger = require "billing.ledger"
local policy = require "policy"
local providers = require "providers"
local runner = require "runner"
local samples = require "policy.samples"
local store = require "store"
local task = require "task"
local tracker = require "idle.tracker"

-- The mock, whose machines answer what they are told here: [provider id] = an error, or what activity says.
local says = {}
local under_way = 0 -- calls, which take real time and none of the clock's
local stop_seconds = 0 -- of the clock's, which a stop takes
local get = providers.get
function providers.get(name)
  local p, err = get(name)
  if not p then return nil, err end
  return setmetatable({}, { __index = function(_, method)
    return function(_, ...)
      local said = method == "activity" and says[(...)]
      if said and said.code then return nil, said end
      if said then return said end
      if method == "stop" then task.sleep(stop_seconds) end
      under_way = under_way + 1
      local a, b = p[method](p, ...)
      under_way = under_way - 1
      return a, b
    end
  end })
end

moved.open { PROVIDER_SECONDS = 5, QUOTA_INSTANCES = 50, HEALTH_RESTARTS_PER_HOUR = 4 }
changes.follow()
healing.serve()
idle.serve { ACTIVITY_CHECK_INTERVAL = 300, IDLE_THRESHOLD = 31536000 }

local me = instances.operator

local function rest() moved.rest(function() return under_way > 0 end) end

local function go(seconds)
  local target = time.now() + seconds * 1000
  while time.now() < target do
    local left = target - time.now()
    time.advance(left > 60000 and 5000 or math.min(1000, left))
    rest()
  end
end

local function now(id) return store.get("instance", id) end
local function seen(id) return json.decode(assert(instances.text(me, id))) end
local function entries(id, type)
  local out = {}
  for _, e in ipairs(store.history("instance", id, {})) do
    if not type or e.type == type then table.insert(out, 1, json.decode(e.data)) end
  end
  return out
end

-- A machine that runs, has been found well, and whose first minute is over.
local function made(name, actor)
  local rec = moved.made(actor or me, { name = name, image = "mock", labels = { idle = "never" } })
  t.wait_until(function() return tracker.get(rec.id) end, "tracked")
  go(61)
  t.ok(idle.ask_agent(rec.id))
  return rec.id
end

local dead = errors.new("unavailable", "connect /where/it/is: refused")
local function kill(id) says[now(id).provider_id] = dead end
local function revive(id) says[now(id).provider_id] = nil end
local function ask(id) return idle.ask_agent(id) end
local function settled(id) t.wait_until(function() return not runner.busy("instance", id) end, "settled") end
local function gone(id)
  revive(id)
  assert(instances.move(me, id, "delete", 0) ~= nil)
  settled(id)
  t.wait_until(function() return not store.get("health", id) and not tracker.get(id) end, "forgotten")
end

t.test("failures in a row are counted, one warning is given, and one word when it is well again", function()
  local id = made "counted"
  t.eq(seen(id).health.status, "healthy")
  t.eq(seen(id).health.failures, 0)
  kill(id)
  t.eq(ask(id), nil)
  t.eq(store.get("health", id).failures, 1)
  t.eq(seen(id).health.status, "unknown")
  revive(id)
  t.ok(ask(id))
  t.eq(store.get("health", id), nil) -- a success sets it to 0
  t.eq(#entries(id, "healthy"), 0)   -- nobody was warned
  kill(id)
  ask(id)
  local first = time.now()
  go(31) -- it is asked again without anybody's doing
  t.eq(store.get("health", id).failures, 2)
  t.eq(#entries(id, "unhealthy"), 0)
  go(31)
  t.eq(store.get("health", id).failures, 3)
  go(95)
  local warned = entries(id, "unhealthy")
  t.eq(#warned, 1)
  t.eq(warned[1].failures, 3)
  t.eq(warned[1].since, time.rfc3339(first))
  t.eq(warned[1].error, "it cannot be reached")
  t.eq(json.encode(warned[1]):find("/where/it/is", 1, true), nil) -- its owner reads this
  t.eq(warned[1].decision.verdict, "keep")
  local told = seen(id).health
  t.eq(told.status, "failing")
  t.eq(told.failures, 6)
  t.eq(told.since, time.rfc3339(first))
  t.match(told.text, "^its agent does not answer since %d%d:%d%d UTC %(6 times: it cannot be reached%); "
    .. "to be restarted at %d%d:%d%d UTC if it goes on$")
  t.eq(health.count(), 1)
  revive(id)
  go(31)
  t.eq(seen(id).health.status, "healthy")
  t.eq(store.get("health", id), nil)
  local well = entries(id, "healthy")
  t.eq(#well, 1)
  t.eq(well[1].failures, 6)
  t.eq(well[1].since, time.rfc3339(first))
  t.eq(health.count(), 0)
  gone(id)
end)

t.test("what says nothing of a machine does not count", function()
  local rec = moved.made(me, { name = "young", image = "mock" })
  t.wait_until(function() return tracker.get(rec.id) end, "tracked")
  kill(rec.id)
  ask(rec.id) -- in its first minute
  t.eq(store.get("health", rec.id), nil)
  go(61)
  freshness.lost("mock", time.rfc3339(time.now()))
  ask(rec.id)
  freshness.found("mock")
  t.eq(store.get("health", rec.id), nil)
  says[now(rec.id).provider_id] = errors.new("state", "it is not running")
  ask(rec.id)
  t.eq(store.get("health", rec.id), nil)
  kill(rec.id)
  ask(rec.id)
  t.eq(store.get("health", rec.id).failures, 1)
  gone(rec.id)
end)

t.test("a provider's own word counts, and its machine is left to its user", function()
  local id = made "checked"
  says[now(id).provider_id] = { unhealthy = true }
  for _ = 1, 3 do ask(id) end
  t.eq(entries(id, "unhealthy")[1].source, "provider")
  t.match(seen(id).health.text, "^its own check fails since .*; its agent answers: ")
  go(3 * 3600)
  t.eq(#entries(id, "restarted"), 0)
  gone(id)
end)

t.test("the shipped policy restarts it after ten minutes, then after twice as long, three times; each is explained", function()
  local id = made "silent"
  local ann = now(id)
  kill(id)
  local began = math.floor(time.now() / 1000)
  ask(id)
  go(595)
  t.eq(#entries(id, "restarted"), 0)
  go(40)
  settled(id)
  t.eq(#entries(id, "restarted"), 1)
  t.eq(now(id).status, "RUNNING")
  t.ok(now(id).status_at > ann.status_at)
  local asked = entries(id, "stopping")[1]
  t.eq(asked.verb, "restart")
  t.match(asked.reason, "^its agent has not answered since ")
  t.eq(asked.decision.name, "health.decide")
  t.match(seen(id).health.text, "; restarted at %d%d:%d%d UTC")
  local d = assert(decisions.at(id, time.now(), "health"))
  t.eq(d.verdict, "restart")
  t.eq(d.file, "health.lua")
  t.eq(d.note, nil)
  t.eq(d.inputs.failing_since, began)
  t.ok(#d.flips > 0)
  go(1200 + 40)
  settled(id)
  t.eq(#entries(id, "restarted"), 2)
  go(2400 + 40)
  settled(id)
  t.eq(#entries(id, "restarted"), 3)
  go(4 * 3600)
  t.eq(#entries(id, "restarted"), 3)
  t.match(seen(id).health.text, "; 3 restarts have not helped$")
  t.eq(#entries(id, "unhealthy"), 1) -- all of it is one failing
  revive(id)
  go(31)
  t.eq(entries(id, "healthy")[1].restarts, 3)
  local list = assert(decisions.list(id, { kind = "health", limit = 20 }))
  t.eq(list[1].verdict, "restart")
  t.eq(#list, 4) -- that of the warning, and three
  gone(id)
end)

t.test("a lease keeps it from a restart, and who stops it ends its failing", function()
  local id = made "held"
  assert(leases.take(me, id, { reason = "make world", ttl = 3600 }))
  kill(id)
  ask(id)
  go(1800)
  t.match(seen(id).health.text, "not restarted before %d%d:%d%d UTC: make world$")
  t.eq(#entries(id, "restarted"), 0)
  assert(instances.move(me, id, "stop", 0) ~= nil)
  settled(id)
  t.wait_until(function() return not store.get("health", id) end, "forgotten")
  t.eq(#entries(id, "healthy"), 0)
  assert(instances.move(me, id, "start", 0) ~= nil)
  settled(id)
  t.eq(seen(id).health.status, "unknown")
  gone(id)
end)

t.test("many that fail at once are no reason to restart any", function()
  local ids = {}
  for i = 1, 4 do ids[i] = made("many" .. i) end
  for _, id in ipairs(ids) do kill(id) end
  for _, id in ipairs(ids) do ask(id) end
  go(900)
  for _, id in ipairs(ids) do
    t.eq(#entries(id, "restarted"), 0)
    t.match(seen(id).health.text, "many machines of its provider fail at once")
  end
  for _, id in ipairs(ids) do gone(id) end
end)

t.test("a policy that always restarts is kept to HEALTH_RESTARTS_PER_HOUR, and one that fails to nothing", function()
  local sources = policy.shipped()
  sources["health.lua"] = 'local P = { kind = "health", name = "eager", version = 1 }\n'
    .. 'function P.decide(m) if m.labels.bad then return m.none.at, "x" end return "restart", "it fails" end\nreturn P\n'
  assert(policy.try(sources, "test"))
  local id = made "eager"
  kill(id)
  ask(id)
  go(3500)
  settled(id)
  t.eq(#entries(id, "restarted"), 4)
  go(400)
  settled(id)
  t.ok(#entries(id, "restarted") > 4)
  gone(id)
  local bad = made "bad"
  assert(instances.patch(me, bad, { labels = { bad = "1" } }))
  kill(bad)
  ask(bad)
  go(1200)
  t.eq(#entries(bad, "restarted"), 0)
  gone(bad)
  assert(policy.try(policy.shipped(), "test"))
end)

t.test("an edit is tried on what the last decisions were told, and a staged one's restarts count as stops", function()
  local told
  for _, sample in ipairs(samples.all()["health.decide"]) do told = told or sample.results[1] == "restart" and sample.input end
  t.ok(told, "a restart is among the samples")
  local trial = guards.trial()
  trial:pair("health.decide", { id = "a" }, "restart", "keep")
  trial:pair("health.decide", { id = "a" }, "restart", "keep")
  trial:pair("health.decide", { id = "b" }, "keep", "restart")
  local f = trial:figures()
  t.eq(f.stops, 1)
  t.eq(f.live_stops, 1)
end)

t.test("what an earlier process counted is gone on with", function()
  local id = made "kept"
  kill(id)
  ask(id)
  ask(id)
  health.refresh(id) -- as it stands in the store
  ask(id)
  t.eq(entries(id, "unhealthy")[1].failures, 3)
  gone(id)
end)

t.test("a restart is metered as a stop and a start: what is off costs nothing, and nothing is left out", function()
  local ann = moved.account("ann", "pro")
  local actor = { user = ann.id }
  local id = made("metered", actor)
  kill(id)
  ask(id)
  stop_seconds = 20
  go(700)
  stop_seconds = 0
  t.eq(#entries(id, "restarted"), 1)
  revive(id)
  go(120)
  assert(instances.move(actor, id, "stop", 0) ~= nil)
  settled(id)
  local ran, off, spans, from, last = 0, 0, 0, nil, nil
  for _, e in ipairs(entries(id)) do
    local at = e.metered_at and time.parse(e.metered_at)
    if at and e.status == "RUNNING" then
      from, spans = at, spans + 1
      off = off + (last and at - last or 0)
    elseif at and from then
      ran, from, last = ran + at - from, nil, at
    end
  end
  t.eq(spans, 2)
  t.ok(off >= 20000 and off <= 25000, off)
  t.eq(ledger.get(ann.id).balances.used, ran)
end)

t.test("the log of all this holds", function() assert(store.verify()) end)

idle.finish()
runner.release()
moved.finish()
return t.done()
