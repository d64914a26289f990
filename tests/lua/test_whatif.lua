-- What-if: histories written by hand whose answers are known, and properties on labelled traces.
local t = require "t"

package.path = package.path .. ";examples/policies/?.lua"
local generation = require "policy.generation"
local json = require "json"
local null = require "whatif.null"
local past = require "whatif.past"
local policy = require "policy"
local prices = require "whatif.prices"
local recorded = require "whatif.recorded"
local record = require "machines.record"
local replay = require "whatif.replay"
local store = require "store"
local time = require "time"
local timeline = require "idle.timeline"
local totals = require "whatif.totals"
local traces = require "traces"
local turns = require "idle.turns"
local users = require "accounts.users"

local MIN, DAY = 60000, 86400000
local T0 = 1780272000000 -- a midnight
local ID = "00000000-0000-4000-8000-000000000000" -- its turns are at whole intervals

local function gen_of(idle, more)
  local sources = policy.shipped()
  for name, text in pairs(more or {}) do sources[name] = text end
  sources["idle.lua"] = idle or sources["idle.lua"]
  local gen, faults = generation.build(sources)
  if not gen then error(generation.text(faults[1])) end
  return gen
end

local function side_of(idle, more)
  local gen = gen_of(idle, more)
  return { gen = gen, threshold = 7200, prices = prices.periods(gen:data("plans").price),
    failed = { n = 0, limit = 0, distinct = 0, texts = {} } }
end

-- A policy that stops after so many seconds without input, and looks at nothing else.
local function after_input(seconds)
  return ([[
local P = { kind = "idle" }
function P.decide(m, now)
  local used = math.max(m.started_at, m.input_at or 0)
  if now - used >= %d then return "stop", "no input" end
  return "keep", "input"
end
function P.lease(r) return r.ttl, "as asked" end
return P]]):format(seconds)
end

local ours, twenty, never = side_of(), side_of(after_input(1200)), side_of(after_input(1e9))
local model = { interval = 300000, delay = MIN, near = 15 * MIN }

-- A history: runs of input and signals, at minutes behind T0.
local function history(h)
  local days = {}
  for n = 0, (h.days or 1) - 1 do
    days[n + 1] = { day = math.floor(T0 / DAY) + n, i = {}, e = {}, d = n == 0 and h.d or {}, s = timeline.new() }
  end
  local function day_of(ms) return days[math.floor((ms - T0) / DAY) + 1] end
  for _, r in ipairs(h.input or {}) do
    local c = day_of(T0 + r[1] * MIN)
    c.i[#c.i + 1], c.i[#c.i + 2] = T0 + r[1] * MIN, T0 + (r[2] or r[1]) * MIN
  end
  for _, e in ipairs(h.events or {}) do
    local c = day_of(T0 + e[1] * MIN)
    c.e[#c.e + 1] = { T0 + e[1] * MIN, unpack(e, 2, 7) }
  end
  local spans = {}
  for i, s in ipairs(h.spans or { { 0 } }) do
    spans[i] = { from = T0 + s[1] * MIN, ms = s[2] and T0 + s[2] * MIN or math.huge, idle = s[3] == "idle" }
    spans[i].asked = spans[i].from - (s[4] or 0)
  end
  local offs = {}
  for i, ms in ipairs(h.offs or {}) do offs[i] = T0 + ms * MIN end
  local function static(plan)
    return { id = ID, name = "box", owner = "u", plan = plan, type = h.type or "small", provider = "mock", labels = {},
      created_at = T0 / 1000 }
  end
  local statics = { { T0, static(h.plan or "free") } }
  for _, p in ipairs(h.plans or {}) do statics[#statics + 1] = { T0 + p[1] * MIN, static(p[2]) } end
  return past.build {
    id = ID, owner = "u", from = T0 + (h.from or 0) * MIN, to = T0 + (h.to or 24 * 60) * MIN, days = days, spans = spans,
    offs = offs, statics = statics,
  }
end

-- What a replay comes to: its sums, where it ran (minutes), when it stopped.
local function lived(h, side, slow)
  local ran, stops = {}, {}
  local r = replay.machine(history(h), side, model, {
    run = function(from, to) ran[#ran + 1] = ("%g-%g"):format((from - T0) / MIN, (to - T0) / MIN) end,
    stop = function(ms) stops[#stops + 1] = ("%g"):format((ms - T0) / MIN) end,
    decision = slow and function() end or nil,
  })
  local sum = {}
  for _, p in pairs(r.plans) do
    for _, f in ipairs(totals.FIELDS) do sum[f] = (sum[f] or 0) + p[f] end
  end
  return sum, table.concat(ran, " "), table.concat(stops, " "), r
end

-- ---- by hand

t.test("a machine that nobody uses stops at the second, and stays so", function()
  local sum, ran, stops = lived({ input = { { 10, 31.5 } } }, twenty)
  t.eq(ran, "0-51.5"); t.eq(stops, "51.5")
  t.eq(sum.ms, 51.5 * MIN); t.eq(sum.stops, 1); t.eq(sum.wakes, 0); t.eq(sum.at_work, 0)
end)

t.test("input at a machine that would be stopped wakes it after the start's delay, and goes on", function()
  local sum, ran, stops = lived({ input = { { 10 }, { 40, 50 } } }, twenty)
  t.eq(stops, "30 70")
  t.eq(ran, "0-30 41-70") -- from 41 on it runs; what was typed from 40 to 50 is seen from 41 to 50
  t.eq(sum.wakes, 1); t.eq(sum.early, 1); t.eq(sum.at_work, 1); t.eq(sum.stops, 2)
end)

t.test("what was typed before the wake is seen at the wake, not before", function()
  local _, ran = lived({ input = { { 10 }, { 40, 40.2 } } }, twenty)
  t.eq(ran, "0-30 41-61") -- 20 minutes behind the wake
end)

t.test("a stop that nobody minded for long hits nobody", function()
  local sum = lived({ input = { { 10 }, { 46 } } }, twenty)
  t.eq(sum.wakes, 1); t.eq(sum.early, 0); t.eq(sum.at_work, 0)
end)

t.test("a stop in the middle of typing hits, and the next key wakes", function()
  local at_noon = [[
local P = { kind = "idle" }
function P.decide(m, now)
  if now % 86400 >= 43200 and m.started_at % 86400 < 43200 then return "stop", "noon" end
  return "keep", "before noon"
end
function P.lease(r) return r.ttl, "as asked" end
return P]]
  local sum, ran = lived({ input = { { 700, 760 } } }, side_of(at_noon))
  t.eq(ran, "0-720 722-1440")
  t.eq(sum.at_work, 1); t.eq(sum.wakes, 1); t.eq(sum.early, 1)
end)

t.test("a connection and a lease from outside wake; reports and the agent's own leases do not", function()
  local function wakes(e) return (lived({ input = { { 0 } }, events = e }, twenty)).wakes end
  t.eq(wakes { { 60, "c", 1 } }, 1)
  t.eq(wakes { { 5, "c", 1 }, { 60, "c", 0 } }, 0)
  t.eq(wakes { { 5, "c", 1 }, { 60, "c", 2 } }, 1)
  t.eq(wakes { { 60, "l", "x", T0 + 90 * MIN, "a job" } }, 1)
  t.eq(wakes { { 60, "l", "agent/x", T0 + 90 * MIN, "a job" } }, 0)
  t.eq(wakes { { 60, "r", 4, "make", true, 0 } }, 0)
end)

t.test("running agents that a stop ends are counted: a turn, a lease, a load", function()
  local function agents(e) return (lived({ input = { { 0 } }, events = { e } }, twenty)).agents end
  t.eq(agents { 5, "r", 0, false, true, 0 }, 1)
  t.eq(agents { 5, "r", 0.5, "make", false, 0 }, 1)
  t.eq(agents { 5, "r", 0.45, "vi", false, 0 }, 0)
  t.eq(agents { 5, "l", "x", T0 + 21 * MIN, "a job" }, 1)
  t.eq(agents { 5, "l", "x", T0 + 20 * MIN, "a job" }, 0) -- it ends at the very stop
end)

t.test("history's stop for idleness is undone, and its machine runs on until the candidate stops it", function()
  local h = { input = { { 10 }, { 501, 510 } }, spans = { { 0, 130, "idle" }, { 500, nil, nil, 5000 } } }
  local sum, ran, stops, r = lived(h, never)
  t.eq(ran, "0-1440"); t.eq(stops, ""); t.eq(r.undone, 1); t.eq(sum.wakes, 0)
  sum, ran, stops, r = lived(h, side_of(after_input(200 * 60)))
  t.eq(ran, "0-210 500-710"); t.eq(stops, "210 710"); t.eq(r.undone, 1)
  t.eq(sum.wakes, 1); t.eq(sum.early, 0)
end)

t.test("a start soon behind a stop that history has, too, is somebody at work", function()
  local h = { input = { { 10 }, { 135 } }, spans = { { 0, 130, "idle" }, { 134, nil, nil, 60000 } } }
  local sum, ran = lived(h, ours)
  t.eq(ran, "0-130 134-255")
  t.eq(sum.stops, 2); t.eq(sum.at_work, 1); t.eq(sum.early, 1); t.eq(sum.wakes, 1)
end)

t.test("what a user asked for stays: stops, starts, deletions", function()
  local h = { input = { { 10 } }, spans = { { 0, 15 }, { 100 } } }
  local sum, ran = lived(h, never)
  t.eq(ran, "0-15 100-1440"); t.eq(sum.stops, 0); t.eq(sum.wakes, 0)
  -- stopped here before, the user stops it too, and no demand of before wakes it then
  sum, ran = lived({ input = { { 10 }, { 39.5 } }, spans = { { 0, 40 } } }, twenty)
  t.eq(ran, "0-30"); t.eq(sum.wakes, 1)
  -- kept here after history stopped it; then deleted
  local _
  _, ran = lived({ input = { { 10 } }, spans = { { 0, 130, "idle" } }, offs = { 300 } }, never)
  t.eq(ran, "0-300")
end)

t.test("across midnight: a run, a stop, and the hours of each day", function()
  local h = { days = 2, to = 48 * 60, input = { { 1400, 1439.99 }, { 1440.01, 1450 } } }
  local sum, ran, _, r = lived(h, ours)
  t.eq(ran, "0-120 1401-1570"); t.eq(sum.stops, 2)
  t.eq(r.days[math.floor(T0 / DAY)], (120 + 39) * MIN)
  t.eq(r.days[math.floor(T0 / DAY) + 1], 130 * MIN)
  sum = lived({ days = 2, from = 1430, to = 1445, input = h.input }, ours)
  t.eq(sum.ms, 15 * MIN)
end)

t.test("a plan's threshold is the candidate's, from the moment of the change", function()
  local plans = policy.shipped()["plans.lua"]:gsub("pro = {", "pro = { idle = 600,")
  local side = side_of(nil, { ["plans.lua"] = plans })
  local _, ran = lived({ input = { { 30 } }, plan = "pro" }, side)
  t.eq(ran, "0-10 31-41")
  _, ran = lived({ input = { { 30 } }, plans = { { 60, "pro" } } }, side)
  t.eq(ran, "0-60 60-65") -- at its next turn
  local _, _, _, r = lived({ input = { { 30 } }, plans = { { 60, "pro" } } }, ours)
  t.eq(r.plans.free.ms, 60 * MIN); t.eq(r.plans.pro.ms, 90 * MIN); t.eq(r.plans.pro.stops, 1)
end)

t.test("money: to the millisecond, at the price of the day and the type", function()
  local plans = policy.shipped()["plans.lua"]:gsub("price = {.*",
    'price = { { from = "2026-05-01", hour = { small = 20000 } }, { from = "2026-06-02", hour = { small = 30001 } } } }')
  local side = side_of(after_input(1e9), { ["plans.lua"] = plans })
  local h = { days = 2, to = 48 * 60 }
  t.eq(lived(h, side).micro, 24 * 20000 + 24 * 30001)
  h = { spans = { { 0, 1 / 60000 } } }
  t.eq(lived(h, side).ms, 1); t.eq(lived(h, side).micro, 0)
  h = { type = "odd" }
  t.eq(lived(h, side).micro, 0)
  t.eq(prices.sum({ ["small/1"] = 30 * DAY }, side.prices), 720 * 20000)
  t.eq(prices.sum({ ["small/2"] = 1799999 }, side.prices), 15000) -- a whole sum is rounded once, down
end)

t.test("a candidate that fails keeps, and is counted and told", function()
  local fails = side_of([[
local P = { kind = "idle" }
function P.decide(m, now)
  if m.input_at and m.input_at % 86400 == 1800 then return m.nothing.more, "x" end
  return now - m.last_activity_at >= 1200 and "stop" or "keep", "x"
end
function P.lease(r) return r.ttl, "as asked" end
return P]])
  local sum, ran = lived({ input = { { 10 }, { 30 } } }, fails)
  t.eq(ran, "0-1440"); t.eq(sum.stops, 0)
  t.ok(fails.failed.n > 200 and fails.failed.n < 400, fails.failed.n)
  t.match((next(fails.failed.texts)), "^policies/idle%.lua:3: attempt to index field 'nothing'")
end)

t.test("a candidate that spends its budget is counted, and given up at last", function()
  local side = side_of([[
local P = { kind = "idle" }
function P.decide(m, now)
  if m.name == "box" and m.threshold == 7200 then while true do end end
  return "keep", "x"
end
function P.lease(r) return r.ttl, "as asked" end
return P]])
  local ok, why = pcall(replay.machine, history { to = 60 }, side, model)
  t.eq(ok, true, tostring(why))
  t.ok(side.failed.limit >= 12 and side.failed.limit < 100, side.failed.limit)
  t.eq(side.failed.n, side.failed.limit)
  ok, why = pcall(replay.machine, history {}, side, model)
  t.eq(ok, false)
  t.match(why.given_up, "more CPU time than one call may take")
end)

t.test("while no host watched, nothing is decided", function()
  local h = { input = { { 0 } }, events = { { 0.1, "b", true }, { 10, "c", 1 }, { 100, "b", false } } }
  local _, ran = lived(h, twenty)
  t.eq(ran, "0-105") -- at the first turn behind its return
end)

t.test("leases keep their machine until they lapse", function()
  local lease = { 5, "l", "x", T0 + 200 * MIN + 30000, "a job" }
  for _, slow in ipairs { false, true } do
    local _, ran = lived({ input = { { 0 } }, events = { lease } }, ours, slow)
    t.eq(ran, "0-320.5")
  end
end)

t.test("the next decision: its turn, the second of a flip, or when a run of input may be over", function()
  local function look_of(from, to) -- "stop" from a second on
    return function(ms, last) return (last or ms) >= from * 1000 and ms >= (to or from) * 1000 and "stop" or "keep" end
  end
  t.eq(turns.phase(ID, 300000), 0)
  t.eq(turns.next(7000, 300000, 7000), 307000)
  t.eq(turns.next(7000, 300000, 306999), 307000)
  t.eq(turns.after(look_of(10000), {}, 600000, 900000, "keep"), 900000)
  t.eq(turns.after(look_of(777), {}, 600000, 900000, "keep"), 777000)
  local run = { first = 0, last = 600000 }
  t.eq(turns.after(look_of(0, 5000), run, 600000, 900000, "keep"), 900000)
  t.eq(turns.after(look_of(0, 950), run, 600000, 900000, "keep"), 661000) -- the run may be over when it comes to that
  t.eq(turns.after(function() return nil end, {}, 600000, 900000, "keep"), 900000) -- who fails is not asked each second
end)

t.test("prices and plans that cannot be are refused with a reason", function()
  local plans = policy.shipped()["plans.lua"]
  for price, why in pairs {
    ['{ { from = "today", hour = {} } }'] = "price%[1%]%.from: a day like",
    ['{ { from = "2026-01-01", hour = { small = 0.5 } } }'] = "price%[1%]%.hour%.small: whole micro%-units",
    ['{ { from = "2026-01-01", hour = {} }, { from = "2026-01-01", hour = {} } }'] = "price%[2%]%.from: a day behind",
    ['7'] = "price: a list of",
  } do
    local sources = policy.shipped()
    sources["plans.lua"] = plans:gsub("price = {.*", function() return "price = " .. price .. " }" end)
    local gen, faults = generation.build(sources)
    t.eq(gen, nil)
    t.match(generation.text(faults[1]), "^plans%.lua:45: " .. why)
  end
end)

-- ---- what was recorded

t.test("recorded decisions are found by their times", function()
  local r = recorded.new { { 100, 10, 3, 1, "keep", "a" }, { 125, 0, 1, 1, "stop", "b" }, { 200, 10, 2, 2, "keep", "c" } }
  t.eq((r.at(100)), "keep"); t.eq((r.at(120)), "keep"); t.eq(r.at(121), nil); t.eq((r.at(125)), "stop"); t.eq(r.at(130), nil)
  t.eq(select(3, r.at(210)), 2); t.eq(r.at(99), nil); t.eq(r.at(220), nil)
  t.eq(r.behind(0), 100); t.eq(r.behind(100), 110); t.eq(r.behind(119), 120); t.eq(r.behind(120), 125); t.eq(r.behind(210), nil)
  t.eq(r.before(99), nil); t.eq(r.before(119), 110); t.eq(r.before(150), 125); t.eq(r.before(1000), 210)
  local n = 0
  for _ in r.each(105, 205) do n = n + 1 end
  t.eq(n, 4)
  t.eq(r.by_others(1, 0, 199), false); t.eq(r.by_others(1, 0, 200), true); t.eq(r.by_others(2, 126, 300), false)
end)

t.test("history's own delay, second look and failed stop are its own again", function()
  -- decided at 130, stopped seven seconds later
  local at_130 = { T0 + 130 * MIN, 0, 1, 1, "stop", "x" }
  local _, ran = lived({ input = { { 10 } }, spans = { { 0, 130 + 7 / 60, "idle" } }, d = { at_130 } }, ours)
  t.eq(ran, "0-" .. ("%g"):format(130 + 7 / 60))
  -- looked at once more, and not stopped
  local h = { input = { { 10 }, { 130 + 2 / 60 } }, d = { at_130, { T0 + 130 * MIN + 3000, 0, 1, 1, "keep", "x" } } }
  local sum
  sum, ran = lived(h, ours)
  t.eq(sum.wakes, 0); t.match(ran, "^0%-250%.")
  -- it could not be stopped at 130: decided again at its turn
  h = { input = { { 10 } }, spans = { { 0, 135, "idle" } }, d = { { T0 + 130 * MIN, 300000, 2, 1, "stop", "x" } } }
  _, ran = lived(h, ours)
  t.eq(ran, "0-135")
end)

t.test("from the store: spans, who ended them, offs, and the plan that its owner had", function()
  assert(store.open { dir = t.tmpdir(), serve = true })
  local id, user = "0f8fad5b-d9cb-469f-a165-708677289501", nil
  local function soon() -- nothing that was done until now has the time of what follows
    local began = time.now()
    while time.now() == began do end
  end
  local function change(status, by, note, fields)
    soon()
    assert(store.update(function(tx)
      local old = record.get(tx, id)
      local rec = record.edit(old or {
        id = id, short = "708677289501", name = "box", owner = user, provider = "mock", type = "small", labels = {},
        desired = "RUNNING", created_at = time.rfc3339(time.now()), operation = json.null,
      })
      for k, v in pairs(fields or {}) do rec[k] = v end
      if status then record.enter(rec, status) end
      record.save(tx, old, rec, "changed", by, note)
      return true
    end))
    return time.now()
  end
  user = assert(store.update(function(tx) return users.create(tx, { email = "ann@example.org" }).id end))
  local from = time.now() - 1000
  change("STARTING", user)
  change("RUNNING", "system")
  soon()
  assert(store.update(function(tx)
    local old = tx:get("user", user)
    local rec = record.edit(old)
    rec.plan = "pro"
    users.save(tx, old, rec, "changed", "operator")
    return true
  end))
  change(nil, user, nil, { name = "new" })
  change("STOPPING", "policy", { decision = { kind = "idle" } })
  change("STOPPED", "system")
  change("STARTING", user)
  change("RUNNING", "system")
  change("STOPPING", user)
  change("STOPPED", "system")
  change("DELETING", user)
  change("DELETED", "system")
  soon()
  local p = past.of(id, from, time.now() + 1)
  local told = {}
  for _, e in ipairs(p.things) do
    local more = e[2] == "static" and " " .. e[3].name .. " " .. e[3].plan or e[2] == "end" and " " .. tostring(e[3])
    told[#told + 1] = e[2] .. (more or "")
  end
  t.eq(table.concat(told, ", "), "start, static box pro, static new pro, end true, start, end false, off, off")
  t.eq(p.static.plan, "free"); t.eq(p.owner, user)
  t.ok(p.things[1][4] < p.things[1][1], "asked before it ran")
  t.eq(past.of("0f8fad5b-d9cb-469f-a165-708677289502", from, time.now()), nil)
  t.eq(past.of(id, from - 1000, from), nil)
  t.eq(table.concat(past.ids()), id); t.eq(#past.ids(id), 0)
end)

-- ---- properties, on labelled traces

local function trace(i, days) return traces.machine(7, i, days or 7) end

t.test("the same seed gives the same traces, and truth is in order and apart", function()
  for i = 1, 24 do
    local a, b = trace(i), trace(i)
    t.eq(#json.encode(a.known.days), #json.encode(b.known.days))
    t.eq(a.known.id, b.known.id)
    t.eq(a.kind, traces.kinds[(i - 1) % #traces.kinds + 1])
    for k, u in ipairs(a.truth) do
      t.ok(u[1] < u[2] and (k == 1 or a.truth[k - 1][2] <= u[1]))
    end
  end
  t.ok(traces.machine(8, 1, 7).known.id ~= trace(1).known.id)
end)

t.test("a stretch in one call decides as one by one does, for every policy", function()
  local sides = { ours, twenty, side_of(after_input(250)), side_of(after_input(100)) }
  for _, name in ipairs { "coder", "codespaces", "daytona", "fly" } do
    sides[#sides + 1] = side_of(assert(t.fs.read("examples/policies/" .. name .. ".lua")))
  end
  for i = 1, 12 do
    for k, side in ipairs(sides) do
      for _, interval in ipairs { 60000, 300000 } do
        local m = { interval = interval, delay = MIN, near = 15 * MIN }
        local fast = replay.machine(past.build(trace(i, 4).known), side, m)
        local slow = replay.machine(past.build(trace(i, 4).known), side, m, { decision = function() end })
        t.eq(fast.decisions, slow.decisions, ("%d %d %d"):format(i, k, interval))
        for plan, p in pairs(fast.plans) do
          for _, f in ipairs(totals.FIELDS) do t.eq(p[f], slow.plans[plan][f], ("%d %d %s"):format(i, k, f)) end
        end
      end
    end
  end
end)

t.test("a policy against itself: no difference anywhere", function()
  local sum = totals.new()
  local again = side_of()
  for i = 1, 24 do
    local p = past.build(trace(i).known)
    totals.add(sum, p, replay.machine(p, ours, model), replay.machine(p, again, model))
  end
  local r = totals.finish(sum)
  for _, f in ipairs(totals.FIELDS) do t.eq(r.total.after[f], r.total.before[f], f) end
  for _, p in ipairs(r.plans) do
    for _, f in ipairs(totals.FIELDS) do t.eq(p.after[f], p.before[f], f) end
  end
  for _, d in ipairs(r.days) do t.eq(d.after, d.before) end
  t.eq(#r.users, 0)
  t.ok(r.total.before.stops > 50 and r.total.before.wakes > 50)
end)

t.test("usage of days, plans and spans is the same sum", function()
  for i = 1, 12 do
    local ran = 0
    local r = replay.machine(past.build(trace(i).known), ours, model, { run = function(from, to) ran = ran + to - from end })
    local days, plans = 0, 0
    for _, ms in pairs(r.days) do days = days + ms end
    for _, p in pairs(r.plans) do plans = plans + p.ms end
    t.eq(days, ran); t.eq(plans, ran)
  end
end)

t.test("a decision that was not recorded, and one that was and is not made, are differences", function()
  local h = { input = { { 10 } }, spans = { { 0, 130, "idle" } }, d = { { T0 + 5 * MIN, 300000, 3, 1, "keep", "in use" } } }
  local found = null.check(history(h), ours, model)
  t.ok(#found.differences > 3)
  t.eq(found.ms, found.recorded_ms)
end)

t.test("the peers' rules pass the linter without a warning, and their selftests", function()
  for _, name in ipairs { "coder", "codespaces", "daytona", "fly" } do
    local gen = gen_of(assert(t.fs.read("examples/policies/" .. name .. ".lua")))
    for _, w in ipairs(gen.warnings) do t.eq(generation.text(w), nil) end
    gen:close()
  end
end)

return t.done()
