-- What a subscription is now: always asked of Stripe and never taken from an event, whose order and age mean nothing. So an event
-- that is late, twice, or out of its order can only lead to what is true.
--
--   subscriptions.sync(id, customer) -> {user = id or nil, status =, plan =, note = sentence} | nil, err    [yields]
--       customer: whose it is, where Stripe does not know it any more
--   subscriptions.living(customer) -> the subscription of his that lives, or false | nil, err                [yields]
-- Of one account one at a time: customers.alone.

local accounts = require "billing.accounts"
local customers = require "stripe.customers"
local errors = require "errors"
local log = require "log"
local objects = require "stripe.objects"
local prices = require "stripe.prices"
local steady = require "steady"
local store = require "store"
local stripe = require "stripe"
local time = require "time"
local users = require "accounts.users"

local M = {}

-- ---- what is written

-- Whether the books and the record say all of this already.
local function is_known(tx, user, sub)
  local acct = tx:get("ledger", user.id)
  if user.stripe_subscription_id ~= sub.id or user.subscription_status ~= sub.status then return false end
  if not accounts.lives(sub.status) then return true end
  local p = acct and acct.period
  return user.plan == sub.plan and acct and acct.managed == "stripe" and acct.subscription == sub.id and acct.plan == sub.plan
    and p ~= nil and p.from == sub.from and p.to == sub.to
end

-- Since when it has its status: what is so already stays, so that grace is not begun anew with every event.
local function since_of(user, sub)
  if user.stripe_subscription_id == sub.id and user.subscription_status == sub.status and user.subscription_since then
    return time.parse(user.subscription_since)
  end
  return math.floor(steady.now())
end

-- What we need of it. -> {id, status, plan, from, to, early} | nil, err
local function reading(sub, tx)
  local out = { id = objects.id(sub), status = objects.text(sub.status) }
  if not out.id or not out.status then return errors.fail("failed", "Stripe: a subscription without an id or a status") end
  if not accounts.lives(out.status) then
    local ended, _, to = objects.number(sub.ended_at), objects.period(sub)
    out.early = not (ended and to and ended * 1000 >= to)
    return out
  end
  local err
  out.plan, err = prices.plan_of(sub, tx)
  if not out.plan then return nil, err end
  out.from, out.to = objects.period(sub)
  if not out.from then return errors.fail("failed", ("the subscription %s has no period"):format(out.id)) end
  return out
end

local function write(user_id, sub)
  return store.update(function(tx)
    local s, err = reading(sub, tx)
    if not s then return nil, err end
    local note = s.status
    local user = users.billing(tx, user_id, "subscription", "stripe", function(u)
      if is_known(tx, u, s) then
        note = s.status .. ", as known"
        return false
      end
      s.since = since_of(u, s)
      accounts.subscribed(tx, u, s, "stripe")
    end, { subscription = s.id, status = s.status, plan = s.plan })
    if not user then return { status = s.status, note = "the account is gone" } end
    return { user = user_id, status = s.status, plan = s.plan, note = note }
  end)
end

-- ---- which one counts

-- Lists, newest first, what is not canceled.
function M.living(customer)
  local page, err = stripe.subscriptions(customer)
  if not page then return nil, err end
  for _, sub in ipairs(objects.table(page.data)) do
    if type(sub) == "table" and accounts.lives(sub.status) then return sub end
  end
  return false
end

-- An account has one subscription. Another one than the record's takes its place only when that has ended.
local function which(user, sub)
  local known = user.stripe_subscription_id
  if not known or known == sub.id or not accounts.has_subscription(user) then
    if accounts.lives(sub.status) or not known or known == sub.id then return sub end
    return nil, nil, "an earlier one, which has ended"
  end
  if not accounts.lives(sub.status) then return nil, nil, "not the account's, and ended" end
  local now_is, err = stripe.subscription(known)
  if not now_is and err.code ~= "not_found" then return nil, err end
  if not now_is or not accounts.lives(now_is.status) then return sub end
  log.error("stripe", "an account pays two subscriptions: cancel one at Stripe",
    { user = user.id, subscriptions = known .. ", " .. sub.id })
  return nil, nil, "a second one of the account's: the operator is told"
end

-- Once the account's own has ended: is there another that lives?
local function another(user, sub)
  if accounts.lives(sub.status) or not user.stripe_customer_id then return sub end
  local living, err = M.living(user.stripe_customer_id)
  if living == nil then return nil, err end
  return living or sub
end

-- A subscription that Stripe does not know is over.
local function fetch(id, customer)
  local sub, err = stripe.subscription(id)
  if sub then return sub end
  if err.code ~= "not_found" then return nil, err end
  return { id = id, status = "canceled", customer = customer, metadata = {}, gone = true }
end

local function settle(user_id, sub)
  local user = users.get(user_id)
  local err, why
  sub, err, why = which(user, sub)
  if why then return { user = user_id, status = user.subscription_status, note = why } end
  if not sub then return nil, err end
  sub, err = another(user, sub)
  if not sub then return nil, err end
  return write(user_id, sub)
end

-- Fetched in the account's turn: what was fetched before might be older than what is written.
local function in_turn(user_id, id, customer)
  return customers.alone(user_id, function()
    local sub, err = fetch(id, customer)
    if not sub then return nil, err end
    return settle(user_id, sub)
  end)
end

function M.sync(id, customer)
  local user_id = customers.find(customer)
  if user_id then return in_turn(user_id, id, customer) end
  local sub, err = fetch(id, customer)
  if not sub then return nil, err end
  customer = objects.customer(sub) or customer
  user_id, err = customers.find(customer, objects.table(sub.metadata).user_id)
  if err then return nil, err end
  if user_id then return in_turn(user_id, id, customer) end
  return { status = sub.status, note = "nobody here is the customer " .. (customer or "?") }
end

return M
