-- What a month comes to, and would have come to: over months of machines by chance. On a clock that is moved.
local moved = require "moved"
local START = 1767225600000 + 10 * 86400000 + 12345 -- 2026-01-11
moved.begin(START)

local t = require "t"
local accounts = require "billing.accounts"
local amount = require "billing.amount"
local instances = require "instances"
local invoice = require "billing.invoice"
local json = require "json"
local ledger = require "billing.ledger"
local months = require "billing.months"
local reading = require "billing.reading"
local steady = require "steady"
local store = require "store"
local time = require "time"

local HOUR, DAY = 3600000, 86400000
moved.open()

local function now() return math.floor(steady.now()) end

local function account(name, plan) return moved.account(name, plan).id end
local function made(owner, type) return moved.made({ user = owner }, { type = type }).id end
local function move(id, verb) assert(instances.move(instances.operator, id, verb, 30)) end

local function change(fn) assert(store.update(function(tx) fn(tx) return true end)) end

local function each_month(fn)
  local from = months.from(START)
  while from <= now() do
    fn(from, months.after(from))
    from = months.after(from)
  end
end

local function net(owner)
  local b = ledger.look(owner, now()).acct.balances
  return (b.credit or 0) + (b.owed or 0)
end

math.randomseed(tonumber(os.getenv "SEED") or 7)
local random = math.random
local owners = {}

t.test("months of machines by chance, with payments, gifts, refunds and corrections among them", function()
  for i, plan in ipairs { "free", "starter", "pro", "pro" } do owners[i] = account("u" .. i, plan) end
  local machines = {}
  for step = 1, 160 do
    time.advance(random(1, 14 * HOUR))
    local owner = owners[random(#owners)]
    local id = machines[owner]
    local what = random(10)
    if not id then
      machines[owner] = made(owner, ({ "tiny", "small", "large" })[random(3)])
    elseif what <= 6 then
      move(id, store.get("instance", id).status == "RUNNING" and "stop" or "start")
    elseif what == 7 then
      change(function(tx) accounts.pay(tx, owner, { id = "pay/" .. step, micro = random(1, 9000000), by = "test" }) end)
    elseif what == 8 then
      change(function(tx)
        accounts.adjust(tx, owner, { id = "adjust/" .. step, micro = random(-300000, 400000), reason = "a test", by = "test" })
      end)
    elseif what == 9 then
      change(function(tx) accounts.refund(tx, owner, { id = "refund/" .. step, micro = random(1, 200000), by = "test" }) end)
    else
      change(function(tx)
        accounts.give_hours(tx, owner, { id = "gift/" .. step, hours = random(1, 3), reason = "a test", by = "test" })
      end)
    end
  end
  t.ok(now() - START > 40 * DAY)
  t.eq(table.concat(ledger.verify().faults, "; "), "")
end)

t.test("each month opens with what the one before closed with, and the last closes with the balance", function()
  local charged = 0
  for _, owner in ipairs(owners) do
    local last = 0
    each_month(function(from, to)
      local inv = invoice.of(owner, from, to, now())
      t.eq(inv.opening, last)
      last = inv.closing
      charged = charged + inv.charged
      local sum = 0
      for _, l in ipairs(inv.lines) do
        local given = ({ payment = true, adjustment = true, refund = true, gift = true, trial = true })[l.kind]
        if not given then sum = sum + l.micro end
      end
      t.eq(sum, inv.charged)
      t.eq(inv.running, to > now())
    end)
    t.eq(last, net(owner))
  end
  t.ok(charged > 40000000)
end)

t.test("a month under the plan that there was is the month that there was", function()
  local n = 0
  for i, plan in ipairs { "free", "starter", "pro", "pro" } do
    each_month(function(from, to)
      local was, would = invoice.of(owners[i], from, to, now()), invoice.under(owners[i], from, to, now(), plan)
      for _, name in ipairs { "opening", "charged", "waived", "paid", "adjusted", "refunded", "closing", "granted" } do
        t.eq(would[name], was[name], plan .. " " .. months.name(from) .. " " .. name)
      end
      for how, ms in pairs(was.used) do t.eq(would.used[how], ms, how) end
      n = n + 1
    end)
  end
  t.ok(n >= 8)
end)

t.test("under another plan its fee, its hours and its way to pay decide", function()
  local owner = account("kim", "pro")
  local id = made(owner, "small")
  local at = months.after(now())
  while now() < at + 3 * DAY do time.advance(DAY) end
  move(id, "stop")
  while now() < at + 4 * DAY do time.advance(HOUR) end
  local ran = ledger.look(owner, now()).acct
  ran = (ran.balances.used or 0) - ran.period.used
  local stopped = now() - (at + ran)
  local inv = invoice.under(owner, at, months.after(at), now(), "starter")
  local storage = amount.cost(20 * 100, at + ran, at + ran + stopped)
  t.eq(inv.charged, 19000000 + amount.cost(40000, at + 20 * HOUR, at + ran) + storage)
  t.eq(inv.used.included, 20 * HOUR)
  inv = invoice.under(owner, at, months.after(at), now(), "free")
  t.eq(inv.charged, 0)
  t.eq(inv.waived, amount.cost(40000, at, at + ran) + storage)
  t.eq(net(owner), ledger.look(owner, now()).acct.balances.owed, "nothing was changed by asking")
  move(id, "delete")
end)

t.test("amounts are told as exact decimals, a line of each says what it is for", function()
  local from, to = months.from(now()), months.after(now())
  local inv = invoice.of(owners[4], from, to, now())
  local told = reading.invoice(inv)
  t.eq(amount.parse(told.total), inv.charged)
  t.eq(amount.parse(told.closing_balance), inv.closing)
  local sum = 0
  for _, l in ipairs(told.lines) do
    t.match(l.amount, "^%-?%d+%.%d%d+$")
    t.ok(#l.text > 3)
    if l.kind == "fee" or l.kind == "usage" or l.kind == "storage" then sum = sum + amount.parse(l.amount) end
  end
  t.eq(sum, inv.charged)
  t.ok(json.encode(told))
end)

t.test("a month that is over does not change when a stop in it is found later", function()
  local owner = account("late", "pro")
  local id = made(owner, "large")
  time.advance(100 * HOUR)
  local from, to = months.from(now()), months.after(now())
  local seen = now()
  while now() < to + DAY do time.advance(DAY) end
  change(function(tx) ledger.change(tx, owner, now(), "test", function() end) end)
  local before = json.encode(invoice.of(owner, from, to, now()).charged)
  local record = require "machines.record"
  change(function(tx)
    local old = record.get(tx, id)
    local rec = record.edit(old)
    record.enter(rec, "STOPPED")
    rec.ran_until = time.rfc3339(seen)
    record.save(tx, old, rec, "stopped", "system")
  end)
  t.eq(json.encode(invoice.of(owner, from, to, now()).charged), before)
  local next_month = invoice.of(owner, to, months.after(to), now())
  local given = 0
  for _, l in ipairs(next_month.lines) do
    if l.kind == "usage" then given = given + l.micro end
  end
  t.ok(given < 0, "it is given back in the month in which it was found")
  t.eq(next_month.closing, net(owner))
  t.eq(table.concat(require("billing.proof").verify().faults, "; "), "")
end)

t.test("when it runs out is said as a clock shows it", function()
  t.eq(reading.clock(time.parse "2026-11-27T17:42:59.000Z", time.parse "2026-11-27T00:00:00Z"), "17:42 UTC")
  t.eq(reading.clock(time.parse "2026-11-28T07:05:00.000Z", time.parse "2026-11-27T00:00:00Z"), "2026-11-28 07:05 UTC")
end)

moved.finish()
return t.done()
