-- The meter against a simulator that goes millisecond by millisecond, over random histories: machines that start and stop, plans
-- and prices that change, hours and credit that end, blocks, a month that turns, payments, stops that were earlier than thought.
-- HISTORIES=10000 for more.

local t = require "t"
local amount = require "billing.amount"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
local months = require "billing.months"
local real_book = require "billing.book"
local segments = require "billing.segments"

local HISTORIES = tonumber(os.getenv "HISTORIES") or 1500
local MONTH = months.parse "2026-03"
local START = MONTH - 1500 -- a month turns in the middle
local SPAN = 3000

local plans = {
  free = { trial = 0.0002 },                        -- 720 ms
  small = { included = 0.0001, overage = true },    -- 360 ms a month
  large = { included = 0.0003, fee = { { at = 0, month = 7000003 } }, overage = true },
  prepaid = {},
}

local function books_of(list)
  local b = {}
  for k, v in pairs(real_book) do b[k] = v end
  b.get = function(n) return list[n] end
  b.at = function(at)
    for n = #list, 1, -1 do
      if list[n].from <= at then return n end
    end
  end
  b.last = #list
  return b
end

local function price_book(n, from, random)
  local function hours() return { a = random(0, 999999999), b = random(0, 999999999), c = 0 } end
  return {
    n = n, from = from, plans = plans, default = "free", dates = { 0, START + random(1, SPAN) },
    price = { { at = 0, hour = hours(), storage = random(0, 1) * 100000 }, { at = 0, hour = hours(), storage = 3 } },
  }
end

-- A meter without a store.
local function new_meter(books, plan, at)
  local x = { acct = meter.new("u", plan, at), books = books, ids = {}, entries = {}, segs = {} }
  function x.known() return false end
  function x.post(e)
    local done = ledger.post_once(x, e)
    t.ok(done, "an id came twice: " .. e.id)
    local segs = x.segs[e.machine or 0]
    if e.type == "usage" then
      x.segs[e.machine] = segments.add(segs, e)
    elseif e.type == "return" then
      x.segs[e.machine] = segments.cut(segs, e.from)
    end
    return done
  end
  function x.segments(id)
    local out = {}
    segments.each(x.segs[id], 0, math.huge, function(s) table.insert(out, 1, s) end)
    return out
  end
  meter.begin(x, at)
  meter.retune(x, at)
  return x
end

-- ---- the simulator: one millisecond after the other, by what the words say

local function plan_at(sim) return plans[sim.plan] end

local function dated(list, at)
  local found
  for _, p in ipairs(list) do
    if p.at <= at then found = p end
  end
  return found
end

local function rate_of(sim, m, at)
  local b
  for _, known in ipairs(sim.books) do
    if known.from <= at then b = known end
  end
  local p = dated(b.price, at)
  if m.state == "RUNNING" then return p.hour[m.type] end
  return p.storage * m.gib
end

local function step(sim, at)
  local using, ids = {}, {}
  for id in pairs(sim.machines) do ids[#ids + 1] = id end
  table.sort(ids)
  -- who is paid how is decided at the beginning of the millisecond
  local pool = sim.included > 0 and "included" or sim.bonus > 0 and "bonus" or nil
  local pays = plan_at(sim).overage or sim.credit > 0
  for _, id in ipairs(ids) do
    local m = sim.machines[id]
    local rate = rate_of(sim, m, at)
    local cost = amount.cost(rate, at, at + 1)
    if m.state == "RUNNING" then sim.used = sim.used + 1 end
    if m.ends and at < m.ends then
      sim.elapsed = sim.elapsed + 1
    elseif m.ends then
      sim.waived = sim.waived + cost
    elseif m.state == "RUNNING" and pool then
      using[#using + 1] = id
    elseif pays then
      local credit = math.min(cost, sim.credit)
      local rest = plan_at(sim).overage and "owed" or "waived"
      sim.credit, sim[rest] = sim.credit - credit, sim[rest] + cost - credit
      sim.charged = sim.charged + (rest == "owed" and cost or credit)
    else
      sim.waived = sim.waived + cost
    end
  end
  if pool then sim[pool] = math.max(0, sim[pool] - #using) end
end

-- ---- histories

local function history(seed)
  math.randomseed(seed)
  local random = math.random
  local names, events = { "m1", "m2", "m3" }, {}
  local books = { price_book(1, 0, random) }
  if random() < 0.5 then books[2] = price_book(2, START + random(1, SPAN), random) end
  for _, b in ipairs(books) do
    b.price[2].at = b.dates[2]
  end
  for _ = 1, random(1, 14) do
    local e = { at = START + random(0, SPAN - 1), machine = names[random(3)] }
    local what = random()
    if what < 0.7 then
      e.what = "set"
      e.state = ({ "RUNNING", "RUNNING", "STOPPED" })[random(4)]
      e.type, e.gib = ({ "a", "b", "c" })[random(3)], random(1, 20)
    elseif what < 0.8 then
      e.what, e.plan = "plan", ({ "free", "small", "large", "prepaid" })[random(4)]
    elseif what < 0.9 then
      e.what, e.micro = "pay", random(1, 200000)
    else
      e.what, e.ms = "block", random(1, 900)
    end
    events[#events + 1] = e
  end
  table.sort(events, function(p, q) return p.at < q.at end)
  for i = 2, #events do -- one thing at a time
    if events[i].at <= events[i - 1].at then events[i].at = events[i - 1].at + 1 end
  end
  return { plan = ({ "free", "small", "large", "prepaid" })[random(4)], events = events, books = books }
end

local function simulate(h)
  local sim = { plan = h.plan, books = h.books, machines = {}, included = 0, bonus = 0, debt = 0, credit = 0, owed = 0, used = 0,
    charged = 0, waived = 0, elapsed = 0 }
  local function pay(micro)
    local owed = math.min(micro, sim.owed)
    sim.owed, sim.credit = sim.owed - owed, sim.credit + micro - owed
  end
  local function fee(micro)
    local credit = math.min(micro, sim.credit)
    sim.credit, sim.owed = sim.credit - credit, sim.owed + micro - credit
    sim.charged = sim.charged + micro
  end
  local function portion(plan, from, to, at)
    local p = plans[plan]
    return amount.share(math.floor((p.included or 0) * 3600000 + 0.5), from, to, at, to),
      amount.share(p.fee and p.fee[1].month or 0, from, to, at, to)
  end
  local function grant(from, to, at)
    local ms, micro = portion(sim.plan, from, to, at)
    sim.included = sim.included + ms
    fee(micro)
  end
  sim.bonus = math.floor((plans[h.plan].trial or 0) * 3600000 + 0.5)
  grant(months.from(START), MONTH, START)
  local i = 1
  for at = START, START + SPAN do
    if at == MONTH then
      sim.included, sim.debt = 0, 0
      grant(MONTH, months.after(MONTH), MONTH)
    end
    while h.events[i] and h.events[i].at == at do
      local e = h.events[i]
      if e.what == "set" then
        local block = sim.machines[e.machine] and sim.machines[e.machine].ends
        sim.machines[e.machine] = e.state and { state = e.state, type = e.type, gib = e.gib, ends = block } or nil
      elseif e.what == "plan" then
        local from, to = months.from(at), months.after(at)
        local had, paid = portion(sim.plan, from, to, at)
        local changed = sim.plan ~= e.plan
        sim.plan = e.plan
        if changed then
          local ms, micro = portion(e.plan, from, to, at)
          local is = sim.included + ms - had - sim.debt -- what was used of more than there is now is not given again
          sim.included, sim.debt = math.max(0, is), math.max(0, -is)
          if micro >= paid then fee(micro - paid) else
            sim.charged = sim.charged - (paid - micro)
            pay(paid - micro)
          end
        end
      elseif e.what == "pay" then
        pay(e.micro)
      else
        local m = sim.machines[e.machine]
        if m and not m.ends then m.ends = at + e.ms end
      end
      i = i + 1
    end
    if at == START + SPAN then break end
    step(sim, at)
  end
  return sim
end

local function metered(h, lazy)
  local x = new_meter(books_of(h.books), h.plan, START)
  for n, e in ipairs(h.events) do
    if lazy then
      for _ = 1, math.random(0, 3) do meter.advance(x, math.max(x.acct.at, e.at - math.random(0, 400))) end
    end
    meter.advance(x, e.at)
    local m = x.acct.open[e.machine]
    if e.what == "set" then
      meter.set(x, e.machine, e.died or e.at,
        e.state and { state = e.state, type = e.type, gib = e.gib, ends = m and m.ends } or nil)
    elseif e.what == "plan" then
      meter.plan(x, e.at, e.plan, "local")
    elseif e.what == "pay" then
      meter.settle(x, e.at)
      local owed = math.min(e.micro, -(x.acct.balances.owed or 0))
      local list = { { "payments", -e.micro } }
      if owed > 0 then list[#list + 1] = { "owed", owed } end
      if e.micro > owed then list[#list + 1] = { "credit", e.micro - owed } end
      x.post { id = "pay" .. n, type = "payment", at = e.at, postings = list }
      meter.retune(x, e.at)
    elseif m and not m.ends then
      x.post { id = "block" .. n, type = "block", at = e.at,
        postings = { { "granted", -e.ms }, { "block:" .. e.machine, e.ms } } }
      meter.set(x, e.machine, e.at, { state = m.state, type = m.type, gib = m.gib, ends = e.at + e.ms })
    end
  end
  meter.advance(x, START + SPAN)
  meter.settle(x, START + SPAN)
  return x
end

local function compare(seed, x, sim)
  local b = x.acct.balances
  local function is(name, got, want) t.eq(got or 0, want, ("history %d: %s"):format(seed, name)) end
  is("used", b.used, sim.used)
  is("elapsed", b.elapsed, sim.elapsed)
  is("included", b.included, sim.included)
  is("bonus", b.bonus, sim.bonus)
  is("credit", b.credit, sim.credit)
  is("owed", -(b.owed or 0), sim.owed)
  is("waived", -(b.waived or 0), sim.waived)
  is("revenue", b.revenue, sim.charged + sim.waived)
end

t.test(("%d histories cost what a simulator says, to the millisecond and the micro-unit"):format(HISTORIES), function()
  for seed = 1, HISTORIES do
    local h = history(seed)
    compare(seed, metered(h, false), simulate(h))
  end
end)

-- Some stops become deaths that are found later: `died` is when it last ran. Nothing else happens in between where it is `alone`.
local function deadly(h, alone)
  local last, any = {}, START
  for _, e in ipairs(h.events) do
    local after = alone and any or last[e.machine] or START
    local most = e.at - after - 1
    if e.what == "set" and e.state ~= "RUNNING" and most > 0 and math.random() < 0.7 then e.died = e.at - math.random(most) end
    if alone and e.died and e.died < MONTH and e.at >= MONTH then e.died = nil end
    last[e.machine], any = e.at, e.at
  end
  return h
end

-- As it was: each death at its time.
local function truth(h)
  local out, runs = { plan = h.plan, books = h.books, events = {} }, {}
  for i, e in ipairs(h.events) do
    local copy = { order = i }
    for k, v in pairs(e) do copy[k] = v end
    if e.what == "set" then
      if e.died and runs[e.machine] then copy.at = e.died else e.died = nil end
      runs[e.machine] = e.state == "RUNNING"
    end
    out.events[i] = copy
  end
  table.sort(out.events, function(p, q)
    if p.at ~= q.at then return p.at < q.at end
    return p.order < q.order
  end)
  return out
end

t.test("a machine that died earlier than was known costs what it would have, to the millisecond and the micro-unit", function()
  for seed = 1, HISTORIES do
    local h = history(seed)
    for _, e in ipairs(h.events) do e.machine = "m1" end
    local was = truth(deadly(h, true))
    compare(seed, metered(h, false), simulate(was))
  end
end)

t.test("machines that died earlier than was known are used to the millisecond, whatever happened meanwhile", function()
  for seed = 1, HISTORIES do
    local h = history(seed)
    local was = truth(deadly(h))
    t.eq(metered(h, seed % 2 == 0).acct.balances.used or 0, simulate(was).used, ("history %d"):format(seed))
  end
end)

-- What a month gave of included hours.
local function given(x, from, to)
  local sum = 0
  for _, e in ipairs(x.entries) do
    for _, p in ipairs(e.type ~= "expired" and e.type ~= "usage" and e.type ~= "return" and e.at >= from and e.at < to
      and e.postings or {}) do
      if p[1] == "included" then sum = sum + p[2] end
    end
  end
  return sum
end

t.test("no history gives more hours in a month than the highest plan has", function()
  local most = plans.large.included * 3600000
  for seed = 1, HISTORIES do
    local h = history(seed)
    local x = metered(h, false)
    local ms = given(x, MONTH, months.after(MONTH))
    t.ok(ms <= most + #h.events, ("history %d gave %d ms"):format(seed, ms))
  end
end)

t.test("who goes from plan to plan and back, and uses the hours of the higher one, is given them once", function()
  local x = new_meter(books_of { price_book(1, 0, math.random) }, "small", MONTH)
  for i = 1, 20 do
    local at = MONTH + i * 2000
    local function turn(later, plan)
      meter.advance(x, at + later)
      meter.plan(x, at + later, plan, "local")
    end
    turn(0, "large")
    meter.set(x, "m1", at, { state = "RUNNING", type = "c", gib = 1 })
    meter.advance(x, at + 1500)
    meter.set(x, "m1", at + 1500, nil)
    turn(1600, "small")
  end
  local ms = given(x, MONTH, months.after(MONTH))
  t.ok(ms >= 1079 and ms <= 1080, ms)
end)

t.test("a balance beyond what is counted exactly is refused", function()
  local x = new_meter(books_of { price_book(1, 0, math.random) }, "free", MONTH)
  local function pay(id, micro)
    return x.post { id = id, type = "payment", at = MONTH, postings = { { "payments", -micro }, { "credit", micro } } }
  end
  t.ok(pay("a", 2 ^ 53 - 1))
  t.raises(function() pay("b", 1) end, "payments would be beyond what is counted exactly")
end)

t.test("what caused an entry a second time posts nothing", function()
  local x = new_meter(books_of { price_book(1, 0, math.random) }, "free", MONTH)
  local e = { id = "pay/1", type = "payment", at = MONTH, postings = { { "payments", -5 }, { "credit", 5 } } }
  t.ok(x.post(e))
  local n = #x.entries
  t.eq(ledger.post_once(x, e), false)
  function x.known(id) return id == "pay/0" end -- of a commit before
  e.id = "pay/0"
  t.eq(ledger.post_once(x, e), false)
  t.eq(x.acct.balances.credit, 5)
  t.eq(#x.entries, n)
end)

t.test("how late and how often it is asked changes nothing", function()
  for seed = 1, HISTORIES do
    local h = history(seed)
    local a, b = metered(h, false), metered(h, true)
    for account, value in pairs(a.acct.balances) do
      t.eq(b.acct.balances[account], value, ("history %d: %s"):format(seed, account))
    end
    t.eq(#a.entries, #b.entries)
    for i, e in ipairs(a.entries) do t.eq(b.entries[i].id, e.id) end
  end
end)

return t.done()
