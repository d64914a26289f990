-- An account's meter: what its machines cost from moment to moment, as a machine that takes events in the order of time and
-- makes entries of the ledger. Pure: the same events give the same entries, to the millisecond and the micro-unit, however
-- late it is told and however often it is asked in between.
--
-- The account (the record "ledger"):
--   {owner =, at = unix ms up to which all is reckoned, book = number of the price book, plan = name,
--    managed = "local" | "stripe", subscription =, unbilled = true where money is asked for and there is no subscription: then a
--    plan has no fee, and its hours end as those of one without `overage`;
--    period = {id =, from =, to =, day =, included = ms, fee = micro-units,
--    used = ms before it, debt = ms that were used and a lesser plan could not take back, or nil} or nil,
--    entries = how many, balances = {[account] = whole number},
--    open = {[machine] = {state =, since =, from =, type =, gib =, rate =, price =, how =, ends =}}}
--
-- A machine is in its state `since`, and what is behind `from` is not posted yet. An open interval has one rate and one `how`;
-- whatever changes either (a status, a price, a plan, a month, hours or credit that end) ends it at that moment, posts it, and
-- opens the next. `how` it is paid:
--   included, bonus   by hours that the plan gives, or that were given once     block      by hours bought for this machine,
--   charged           by credit, and behind it what is owed, where the plan                which end at `ends`
--                     has `overage`
--   overrun           by nobody: what it still ran, until it was stopped, after all of that had ended
--   free              costs nothing
--
-- Accounts, by unit. Micro-units: credit (the user's), owed (what he owes: never above 0), revenue, payments, refunds,
-- adjustments, waived. Milliseconds: included, bonus, block:MACHINE (hours that he has), granted, expired, used (RUNNING),
-- metered, elapsed (of blocks), rounding.  A positive balance of credit and of hours is the user's; they are never below 0. The
-- postings of an entry come to 0 in each unit.
--
--   x = {acct = the account (is changed), books = {get =, last = number}, post = fn(entry), segments = fn(machine) -> list}
--   meter.new(owner, plan, at)              -> an account of nobody's machines; meter.begin(x, t) gives it its first period
--   meter.advance(x, t)                     all that happens by itself up to `t`: prices, months, periods, hours that end
--   meter.set(x, machine, t, now)           the machine is, from `t` on: nil, or {state = "RUNNING" | "STOPPED", type =, gib =,
--                                           ends = its block's end or nil}. A `t` before what is posted takes that back
--   meter.plan(x, t, name, managed, subscription, period, unbilled)   another plan, from `t` on; of a subscription at Stripe with
--                                           its id and its period {from =, to =}
--   meter.goes_on(acct, plan)               whether what goes beyond the hours is billed
--   meter.retune(x, t)                      after a balance was changed: the intervals go on as they are now paid
--   meter.next(x)                           -> when something happens by itself next, "what" | nil
--   meter.settle(x, t)                      posts all that is open up to `t`: for a view that is not written
-- An entry: {id =, type =, at = ms, postings = {{account, amount}, ...}, ...}; post refuses an id that was there.

local amount = require "billing.amount"
local months = require "billing.months"
local postings = require "billing.postings"
local sorted_keys = require "sorted_keys"

local M = {}

local HOUR = amount.HOUR
local POOLS = { "included", "bonus" } -- in the order in which they are used
local max, min, ceil, floor = math.max, math.min, math.ceil, math.floor

function M.new(owner, plan, at)
  return { owner = owner, at = at, book = 0, plan = plan, managed = "local", entries = 0, balances = {}, open = {} }
end

local function balance(x, account) return x.acct.balances[account] or 0 end

local function book_of(x) return x.books.get(x.acct.book) end

local function plan_of(x)
  local b = book_of(x)
  return x.books.plan(b, x.acct.plan), b
end

function M.goes_on(acct, plan) return plan.overage == true and not acct.unbilled end

local function goes_on(x) return M.goes_on(x.acct, (plan_of(x))) end

-- Machines in a fixed order: entries are the same in every replay.
local function each_open(x)
  local ids, i = sorted_keys(x.acct.open), 0
  return function()
    i = i + 1
    return ids[i], x.acct.open[ids[i]]
  end
end

-- ---- entries

local money, hours = postings.add, postings.hours

-- Takes `micro` from the credit as far as it goes; the rest is owed, or given up where nothing may be owed.
local function pay(x, list, micro, may_owe) postings.take(list, x.acct.balances, micro, may_owe and "owed" or "waived") end

local function give(x, list, micro) postings.give(list, x.acct.balances, micro) end

-- [how] = fn(x, postings, interval, to, machine)
local pays = {}

-- Hours end between two milliseconds: what several machines then use beyond them is less than a millisecond each.
local function use_up(x, list, account, to, ms)
  local there = min(ms, balance(x, account))
  hours(list, account, to, there)
  hours(list, "rounding", to, ms - there)
end

for _, pool in ipairs(POOLS) do
  pays[pool] = function(x, list, m, to) use_up(x, list, pool, "used", to - m.from) end
end

function pays.charged(x, list, m, to)
  local micro = amount.cost(m.rate, m.from, to)
  pay(x, list, micro, goes_on(x))
  money(list, "revenue", micro)
  if m.state == "RUNNING" then hours(list, "metered", "used", to - m.from) end
end

function pays.block(x, list, m, to, id)
  use_up(x, list, "block:" .. id, "elapsed", to - m.from)
  if m.state == "RUNNING" then hours(list, "metered", "used", to - m.from) end
end

function pays.overrun(_, list, m, to)
  local micro = amount.cost(m.rate, m.from, to)
  money(list, "revenue", micro)
  money(list, "waived", -micro)
  if m.state == "RUNNING" then hours(list, "metered", "used", to - m.from) end
end

function pays.free(_, list, m, to)
  if m.state == "RUNNING" then hours(list, "metered", "used", to - m.from) end
end

-- Posts what is open of a machine up to `to`, and goes on from there. `mark`: in the id of what stands in the place of what was
-- taken back.
local function cut(x, id, m, to, mark)
  if to <= m.from then return end
  local list = {}
  pays[m.how](x, list, m, to, id)
  if #list > 0 then x.post {
    id = ("usage/%s/%d-%d/%s%s"):format(id, m.from, to, m.price, mark or ""), type = "usage", at = to, postings = list,
    machine = id, from = m.from, to = to, state = m.state, machine_type = m.type, gib = m.gib, rate = m.rate, how = m.how,
    plan = x.acct.plan,
  } end
  m.from = to
end

-- ---- how it is paid

-- How, at what rate and at what price; `b`: the book that was in force then, where that is not now
local function how_of(x, m, t, b)
  if m.ends and t < m.ends then return "block", 0, "block" end
  b = b or book_of(x)
  local rate, price = x.books.rate(b, m.state, m.type, m.gib, t)
  if m.ends then return "overrun", rate, price end
  if m.state == "RUNNING" then
    for _, pool in ipairs(POOLS) do
      if balance(x, pool) > 0 then return pool, rate, price end
    end
  end
  if rate == 0 then return "free", 0, price end
  if goes_on(x) or balance(x, "credit") > 0 then return "charged", rate, price end
  return "overrun", rate, price
end

function M.retune(x, t)
  for id, m in each_open(x) do
    local how, rate, price = how_of(x, m, t)
    if how ~= m.how or rate ~= m.rate or price ~= m.price then
      cut(x, id, m, t)
      m.how, m.rate, m.price = how, rate, price
    end
  end
end

local function cut_all(x, t)
  for id, m in each_open(x) do cut(x, id, m, t) end
end

-- Posts all that is open up to `t`.
M.settle = cut_all

-- ---- what is open and not posted

-- Machine-time since they were opened, of what is paid `how` -> how many, sum of their beginnings
local function pooled(x, how)
  local n, began = 0, 0
  for _, m in pairs(x.acct.open) do
    if m.how == how then n, began = n + 1, began + m.from end
  end
  return n, began
end

local function charged(x, t)
  local sum = 0
  for _, m in pairs(x.acct.open) do
    if m.how == "charged" and t > m.from then sum = sum + amount.cost(m.rate, m.from, t) end
  end
  return sum
end

-- ---- periods: hours that a plan gives, and its fee

local function period_id(x, from)
  return ("%s/%s/%d"):format(x.acct.managed == "stripe" and x.acct.subscription or "plan", x.acct.owner, from)
end

-- Posts {account, amount}... unless there is nothing to post.
local function entry(x, t, type, id, list, more)
  if #list == 0 then return end
  local e = { id = id, type = type, at = t, postings = list }
  for k, v in pairs(more or {}) do e[k] = v end
  x.post(e)
end

-- Notes in a period what the account's plan gives and costs for the whole of it; a later edit of the plan changes neither.
local function price(x, p)
  local plan = plan_of(x)
  p.included = floor((plan.included or 0) * HOUR + 0.5)
  p.fee = x.acct.managed == "local" and not x.acct.unbilled and x.books.fee(plan, p.from) or 0
end

-- What of that falls on the part of a period that begins at `t`: ms of hours, micro-units of the fee
local function rest_of(p, t)
  t = max(t, p.from)
  return amount.share(p.included, p.from, p.to, t, p.to), amount.share(p.fee, p.from, p.to, t, p.to)
end

-- Posts hours of a period, and its fee.
local function grant(x, t, type, id, ms, fee)
  local list = {}
  hours(list, "granted", "included", ms)
  if fee > 0 then
    pay(x, list, fee, true)
    money(list, "revenue", fee)
  elseif fee < 0 then
    give(x, list, -fee)
    money(list, "revenue", fee)
  end
  entry(x, t, type, id, list, { plan = x.acct.plan })
end

local function open_period(x, t, p)
  p.used = balance(x, "used")
  x.acct.period = p
  price(x, p)
  grant(x, t, "period", "period/" .. p.id, rest_of(p, x.acct.managed == "stripe" and p.from or t)) -- Stripe's is paid as a whole
end

local function month_of(x, t)
  local from = months.from(t)
  return { id = period_id(x, from), from = from, to = months.after(t), day = 1 }
end

local function expire(x, t, p)
  local list = {}
  hours(list, "included", "expired", balance(x, "included"))
  entry(x, t, "expired", "expired/" .. p.id, list)
end

-- The period is over: what is left of its hours ends, the next one begins, where the plan goes on.
local function turn_period(x, t)
  local p = x.acct.period
  cut_all(x, t)
  expire(x, t, p)
  local to = months.later(p.to, 1, p.day)
  open_period(x, t, { id = period_id(x, p.to), from = p.to, to = to, day = p.day })
end

function M.begin(x, t)
  x.acct.book = x.books.at(t)
  local plan = plan_of(x)
  if plan.trial and plan.trial > 0 then
    local list = {}
    hours(list, "granted", "bonus", floor(plan.trial * HOUR + 0.5))
    entry(x, t, "trial", "trial/" .. x.acct.owner, list, { plan = x.acct.plan })
  end
  open_period(x, t, month_of(x, t))
end

function M.plan(x, t, name, managed, subscription, period, unbilled)
  local acct = x.acct
  unbilled = unbilled or nil
  local old, new_plan = acct.period, name ~= acct.plan or unbilled ~= acct.unbilled
  cut_all(x, t)
  local had, paid = 0, 0
  if old then had, paid = rest_of(old, t) end
  local same_period = old and managed == acct.managed and (not period or period.from == old.from)
  acct.plan, acct.managed, acct.subscription, acct.unbilled = name, managed, subscription, unbilled
  if same_period then
    if period then old.to = period.to end
    if new_plan then
      price(x, old)
      local ms, fee = rest_of(old, t)
      local wanted = ms - had - (old.debt or 0)
      local more = max(wanted, -balance(x, "included"))
      old.debt = more > wanted and more - wanted or nil
      grant(x, t, "plan", ("plan/%s/%d/%s"):format(acct.owner, t, name), more, fee - paid)
    end
  else
    if old then
      expire(x, t, { id = old.id .. "/" .. t })
      if paid > 0 then
        local list = {}
        give(x, list, paid)
        money(list, "revenue", -paid)
        entry(x, t, "plan", ("plan/%s/%d/left"):format(acct.owner, t), list)
      end
    end
    local p = period or month_of(x, t)
    p.id, p.day = period_id(x, p.from), p.day or months.day(p.from)
    open_period(x, t, p)
  end
  M.retune(x, t)
end

-- ---- what happens by itself

local function pool_ends(x)
  for _, pool in ipairs(POOLS) do
    local n, began = pooled(x, pool)
    if n > 0 then return ceil((balance(x, pool) + began) / n) end
  end
end

local function credit_ends(x)
  local credit = balance(x, "credit")
  if goes_on(x) or credit <= 0 then return nil end
  local rate, low = 0, 0
  for _, m in pairs(x.acct.open) do
    if m.how == "charged" then rate, low = rate + m.rate, max(low, m.from) end
  end
  if rate == 0 then return nil end
  local high = low + ceil((credit + #POOLS) / rate * HOUR) + 2 * HOUR
  return amount.until_spent(function(t) return charged(x, t) end, credit, low, high)
end

local function block_ends(x)
  local first
  for _, m in pairs(x.acct.open) do
    if m.how == "block" and (not first or m.ends < first) then first = m.ends end
  end
  return first
end

-- Each: {when it happens or nil, what is done then}. In the order in which they happen when it is at once.
local happenings = {
  { "block", block_ends },
  { "hours", pool_ends },
  { "credit", credit_ends },
  { "book", function(x) return x.acct.book < x.books.last and x.books.get(x.acct.book + 1).from or nil end,
    function(x) x.acct.book = x.acct.book + 1 end },
  { "price", function(x) return next(x.acct.open) and x.books.next_date(book_of(x), x.acct.at) end },
  { "period", function(x) return x.acct.period and x.acct.period.to end, turn_period },
  { "month", function(x) return next(x.acct.open) and months.after(x.acct.at) end, cut_all },
}

local function next_happening(x)
  local first, what
  for _, h in ipairs(happenings) do
    local at = h[2](x)
    if at and (not first or at < first) then first, what = at, h end
  end
  return first and max(first, x.acct.at), what
end

function M.next(x)
  local at, h = next_happening(x)
  if at then return at, h[1] end
end

function M.advance(x, t)
  while true do
    local at, h = next_happening(x)
    if not at or at > t then break end
    x.acct.at = at
    if h[1] == "hours" or h[1] == "credit" then cut_all(x, at) end
    if h[3] then h[3](x, at) end
    M.retune(x, at)
  end
  x.acct.at = max(x.acct.at, t)
end

-- ---- machines

-- What was posted of a machine behind `t` is taken back: it was not what we thought.
local function take_back(x, id, t)
  for _, s in ipairs(x.segments(id)) do -- newest first
    if s.to <= t then break end
    local from = max(s.from, t)
    local list, ms = {}, s.to - from
    if s.how == "included" or s.how == "bonus" then
      hours(list, "used", s.how, ms)
    elseif s.how == "block" then
      hours(list, "elapsed", "block:" .. id, ms)
    elseif s.how == "charged" then
      local micro = amount.cost(s.rate, from, s.to)
      local short = min(s.short or 0, micro) -- nobody has paid it
      give(x, list, micro - short)
      money(list, "waived", short)
      money(list, "revenue", -micro)
    elseif s.how == "overrun" then
      local micro = amount.cost(s.rate, from, s.to)
      money(list, "revenue", -micro)
      money(list, "waived", micro)
    end
    if s.state == "RUNNING" and s.how ~= "included" and s.how ~= "bonus" then hours(list, "used", "metered", ms) end
    entry(x, x.acct.at, "return", ("return/%s/%d-%d"):format(id, from, s.to), list,
      { machine = id, from = from, to = s.to, state = s.state, how = s.how, rate = s.rate })
  end
end

-- What is so since `m.from`, and was found just now: prices that changed and hours that ended meanwhile change what it costs, as
-- they would have. A month that is over stays as it is: what was in it costs what it does at the beginning of this one.
local function found_late(x, id, m)
  local now, n = x.acct.at, x.books.at(m.from)
  local at = max(m.from, min(months.from(now), now))
  while n < x.acct.book and x.books.get(n + 1).from <= at do n = n + 1 end
  m.how, m.rate, m.price = how_of(x, m, at, x.books.get(n))
  while true do
    local b, later = x.books.get(n), n < x.acct.book and x.books.get(n + 1).from or now
    local next_at = min(later, x.books.next_date(b, at) or now, m.ends and m.ends > at and m.ends or now)
    if next_at >= now then return end
    at = next_at
    if at == later then n = n + 1 end
    local how, rate, of_price = how_of(x, m, at, x.books.get(n))
    if how ~= m.how or rate ~= m.rate or of_price ~= m.price then
      cut(x, id, m, at, "/late")
      m.how, m.rate, m.price = how, rate, of_price
    end
  end
end

function M.set(x, id, t, now)
  local m = x.acct.open[id]
  if m then
    t = max(t, m.since) -- what was before is another story
    if t >= m.from then cut(x, id, m, t) else take_back(x, id, t) end
    x.acct.open[id] = nil
  end
  if now then
    m = { state = now.state, from = t, since = t, type = now.type, gib = now.gib, ends = now.ends }
    if t < x.acct.at then found_late(x, id, m) else m.how, m.rate, m.price = how_of(x, m, t) end
    x.acct.open[id] = m
  end
  M.retune(x, x.acct.at)
end

return M
