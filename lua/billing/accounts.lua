-- What changes an account's books from outside: its plan, its subscription, money that comes and goes, gifts, corrections. Each
-- [in an update], with an id that says what caused it: the same cause a second time changes nothing.
--
--   accounts.pay(tx, owner, {id =, micro =, by =, ...})       what is owed becomes less, the rest is credit; all of it is with
--       credit_only = true
--   accounts.paid_fee(tx, owner, {id =, micro =, by =, ...})  a subscription's invoice: it pays for what it says
--   accounts.refund(tx, owner, {id =, micro =, type =, by =}) money that went back to the user; negative: that came again, and
--       `credit` of it is his as before. fee = true: it was paid for a plan, and takes no credit; `block` of it was paid for
--       hours of a machine, and takes none either (orders.refunded). Also: the credit that it took
--   accounts.adjust(tx, owner, {id =, micro =, reason =, by =})   the operator gives (or takes, negative) credit
--   accounts.give_hours(tx, owner, {id =, hours =, reason =, by =})   hours that do not end with the month
--     -> true, or false when it was done before
--   accounts.plan_changed(tx, user, by)                       after users.lua has another plan in the record, or when money
--                                                             begins or ends to be asked for
--   accounts.granted(plan, by, reason) -> {by =, at =, reason =}: that the operator gives it; nil: of the default one
--   accounts.subscribed(tx, user, sub, by) -> the user's record   sub = {id =, status =, plan =, since = ms, from = ms, to = ms;
--       early = it has ended before its period has: then Stripe bills nothing any more of what was used}
--   accounts.lives(status), accounts.has_subscription(user)   whether the plan is that of a subscription at Stripe
--   accounts.plan_fault(name)                                 why there is no such plan, or nil
-- Amounts are whole micro-units, above 0 unless said otherwise.

local amount = require "billing.amount"
local book = require "billing.book"
local json = require "json"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
local policy = require "policy"
local postings = require "billing.postings"
local steady = require "steady"
local time = require "time"

local M = {}

local add = postings.add

-- The subscription lives, and the plan is its; policies/billing.lua says what may run. One that is paused, or unpaid, may
-- come back.
local LIVES = { active = true, trialing = true, past_due = true, unpaid = true, paused = true }

local function positive(micro) assert(micro > 0 and micro % 1 == 0, "a whole number above 0 expected") end

local NOT_KEPT = { by = true, micro = true, type = true, credit_only = true, credit = true, block = true }

-- Posts one entry; make(x, list) fills its postings. -> whether it was posted
local function post(tx, owner, type, e, make)
  local posted = false
  ledger.change(tx, owner, steady.now(), e.by, function(x)
    if x.known(e.id) then return end
    local list = {}
    make(x, list)
    local entry = { id = e.id, type = type, at = x.acct.at, postings = list }
    for k, v in pairs(e) do
      if not NOT_KEPT[k] then entry[k] = v end
    end
    posted = ledger.post_once(x, entry)
    meter.retune(x, x.acct.at)
  end)
  return posted
end

-- The meter's open intervals are posted first: what is owed, and what credit there is, is then what it is now.
local function settled(make)
  return function(x, list)
    meter.settle(x, x.acct.at)
    make(x, list)
  end
end

function M.pay(tx, owner, e)
  positive(e.micro)
  return post(tx, owner, "payment", e, settled(function(x, list)
    add(list, "payments", -e.micro)
    if e.credit_only then add(list, "credit", e.micro) else postings.give(list, x.acct.balances, e.micro) end
  end))
end

function M.paid_fee(tx, owner, e)
  positive(e.micro)
  return post(tx, owner, "subscription", e, function(_, list)
    add(list, "payments", -e.micro)
    add(list, "revenue", e.micro)
  end)
end

function M.refund(tx, owner, e)
  local taken = 0
  local posted = post(tx, owner, e.type or "refund", e, settled(function(x, list)
    add(list, "payments", e.micro)
    if e.micro >= 0 then
      taken = e.fee and 0 or math.min(e.micro - (e.block or 0), x.acct.balances.credit or 0)
      add(list, "credit", -taken)
      return add(list, "refunds", taken - e.micro)
    end
    local credit = math.min(e.credit or 0, -e.micro)
    postings.give(list, x.acct.balances, credit)
    add(list, "refunds", -e.micro - credit)
  end))
  return posted, taken
end

function M.adjust(tx, owner, e)
  return post(tx, owner, "adjustment", e, settled(function(x, list)
    add(list, "adjustments", -e.micro)
    local balances = x.acct.balances
    if e.micro >= 0 then postings.give(list, balances, e.micro) else postings.take(list, balances, -e.micro, "owed") end
  end))
end

function M.give_hours(tx, owner, e)
  local ms = math.floor(e.hours * amount.HOUR + 0.5)
  return post(tx, owner, "gift", e, function(_, list)
    postings.hours(list, "granted", "bonus", ms)
  end)
end

-- ---- plans

function M.plan_fault(name)
  local names = {}
  for known in pairs(policy.data("plans").plans) do
    if known == name then return nil end
    names[#names + 1] = known
  end
  table.sort(names)
  return ("there is no plan '%s'; one of %s expected"):format(name, table.concat(names, ", "))
end

function M.plan_changed(tx, user, by)
  local t = math.floor(steady.now())
  ledger.change(tx, user.id, t, by, function(x)
    local unbilled = ledger.unbilled(tx)
    if x.acct.managed ~= "local" or x.acct.plan == user.plan and x.acct.unbilled == unbilled then return end
    meter.plan(x, x.acct.at, user.plan, "local", nil, nil, unbilled)
  end)
end

function M.granted(plan, by, reason)
  if plan == policy.data("plans").default then return nil end
  return { by = by, at = time.rfc3339(time.now()), reason = reason }
end

function M.lives(status) return LIVES[status] == true end

-- Whether the account's plan is that of a subscription.
function M.has_subscription(user) return user.stripe_subscription_id ~= nil and M.lives(user.subscription_status) end

-- What is owed when a subscription ends early stands on no invoice to come. It stays owed (policies/billing.lua sees it), and is
-- reported with the first that follows, where anything is: account.debt = {micro =, of = subscription}.
local function carry_debt(tx, x, sub, good)
  local acct, debt = x.acct, x.acct.debt
  local owed = -(acct.balances.owed or 0)
  if not good then
    if sub.early and owed > 0 then acct.debt = { micro = owed, of = sub.id } end
    return
  end
  if not debt or not (tx:get("meta", "stripe") or {}).reports then return end
  acct.debt = nil
  local micro = math.min(debt.micro, owed)
  if debt.of == sub.id or micro == 0 then return end
  ledger.post_once(x, {
    id = "owed_before/" .. sub.id, type = "owed_before", at = acct.at, postings = json.array {}, owed = micro,
  })
end

function M.subscribed(tx, user, sub, by)
  local good, had = LIVES[sub.status], M.has_subscription(user)
  user.stripe_subscription_id, user.subscription_status = sub.id, sub.status
  user.subscription_since = time.rfc3339(sub.since)
  if good then user.plan, user.granted = sub.plan, nil elseif had then user.plan = book.get(book.last(tx), tx).default end
  ledger.change(tx, user.id, steady.now(), by, function(x)
    local managed = good and "stripe" or "local"
    local period = good and { from = sub.from, to = sub.to } or nil
    if not good and x.acct.managed ~= "stripe" then return end
    meter.plan(x, x.acct.at, user.plan, managed, good and sub.id, period, not good and ledger.unbilled(tx))
    carry_debt(tx, x, sub, good)
  end)
  return user
end

return M
