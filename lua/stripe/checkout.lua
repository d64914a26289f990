-- Pages of Stripe's on which an account's owner pays: for a plan, for hours, for credit; and the portal. All of it [yields].
--
--   checkout.plan(user, name, pages) -> url | nil, err          one subscription and one open page for it at a time
--   checkout.block(user, {hours =, type =, machine =, spec =}, pages) -> url | nil, err
--   checkout.credit(user, amount, pages) -> url | nil, err      a number or text, like 12.50
--   checkout.portal(user, return_url) -> url | nil, err
-- user: his id; pages: {success_url =, cancel_url =}
-- The record "stripe_checkout" (id: the account's): {session =, plan =, price =} of his last page for a subscription.

local accounts = require "billing.accounts"
local amount = require "billing.amount"
local book = require "billing.book"
local crypto = require "crypto"
local customers = require "stripe.customers"
local errors = require "errors"
local fields = require "machines.fields"
local instances = require "instances"
local objects = require "stripe.objects"
local orders = require "stripe.orders"
local prices = require "stripe.prices"
local schema = require "schema"
local steady = require "steady"
local store = require "store"
local stripe = require "stripe"
local subscriptions = require "stripe.subscriptions"
local types = require "types"
local users = require "accounts.users"

local M = {}

local LEAST, MOST = 500000, 10000000000 -- micro-units: what Stripe takes at least, and 10,000 of the currency

local function invalid(field, text) return errors.fail("invalid", field .. ": " .. text, { field = field }) end

-- With the account's customer; one that was deleted at Stripe meanwhile is replaced, once.
local function with_customer(user, fn)
  for n = 1, 2 do
    local customer, err = customers.ensure(user)
    if not customer then return nil, err end
    local value
    value, err = fn(customer)
    local gone = err and err.stripe and err.stripe.code == "resource_missing" and err.stripe.param == "customer"
    if not gone or n == 2 then return value, err end
    local ok, why = customers.forget(user, customer, "Stripe does not know him any more")
    if not ok then return nil, why end
  end
end

local function url_of(session)
  local url = objects.text(session.url)
  if url then return url end
  return errors.fail("failed", "Stripe: a page without an address")
end

-- ---- a plan

local function refuse_second(status)
  return errors.fail("state", ("there is a subscription, and it is %s; change, pay or end it at GET /billing/portal")
    :format(status))
end

-- Whether he has none, by our record and, as that may not know yet, by Stripe's. -> true | nil, err
local function check_none(user, customer)
  local rec = users.get(user)
  if accounts.has_subscription(rec) then return refuse_second(rec.subscription_status) end
  local sub, err = subscriptions.living(customer)
  if sub == nil then return nil, err end
  if sub then return refuse_second(sub.status) end
  return true
end

-- His page that is open: the same again, or none any more. -> url, or false | nil, err
local function open_page(user, plan, price)
  local last = store.get("stripe_checkout", user)
  if not last then return false end
  local session, err = stripe.checkout_session(last.session)
  if not session then
    if err.code == "not_found" then return false end
    return nil, err
  end
  if session.status == "open" and last.plan == plan and last.price == price then return url_of(session) end
  if session.status ~= "open" then return false end
  local ended
  ended, err = stripe.expire_session(last.session)
  if ended then return false end
  if err.retryable then return nil, err end
  return errors.fail("state", "the page for the other plan was just paid; see GET /billing/portal")
end

local function new_page(user, customer, plan, price, pages)
  local session, err = stripe.checkout_subscription {
    customer = customer, price = price, usage_price = prices.usage, user_id = user, plan = plan,
    success_url = pages.success_url, cancel_url = pages.cancel_url,
  }
  if not session then return nil, err end
  local ok, why = store.update(function(tx)
    tx:put("stripe_checkout", user, { session = session.id, plan = plan, price = price }, user)
    return true
  end)
  if not ok then return nil, why end
  return url_of(session)
end

function M.plan(user, name, pages)
  local fault = accounts.plan_fault(name)
  if fault then return invalid("plan", fault) end
  local price = prices.of(name)
  if not price then return invalid("plan", ("the plan '%s' is not for sale"):format(name)) end
  return customers.alone(user, function()
    return with_customer(user, function(customer)
      local none, err = check_none(user, customer)
      if not none then return nil, err end
      local url
      url, err = open_page(user, name, price)
      if url == nil then return nil, err end
      if url then return url end
      return new_page(user, customer, name, price, pages)
    end)
  end)
end

-- ---- hours and credit: paid once

local function pay_page(user, rec, name, micro, pages)
  local currency = book.now().currency:lower()
  local unit = objects.unit(currency)
  local id = crypto.token(12)
  local ok, err = store.update(function(tx)
    orders.offer(tx, id, rec)
    return true
  end)
  if not ok then return nil, err end
  local url
  url, err = with_customer(user, function(customer)
    local session, why = stripe.checkout_payment {
      customer = customer, currency = currency, amount = math.ceil(micro / unit), name = name, user_id = user,
      metadata = {
        order = id, what = rec.what, hours = rec.hours and ("%d"):format(rec.hours), type = rec.type, machine = rec.machine,
      },
      success_url = pages.success_url, cancel_url = pages.cancel_url,
    }
    if not session then return nil, why end
    return url_of(session)
  end)
  if url then return url end
  store.update(function(tx)
    orders.withdraw(tx, id)
    return true
  end)
  return nil, err
end

-- The type whose hours are bought. -> type, id of the machine or nil | nil, err
local function type_of(user, o)
  if not o.machine then
    local in_spec = (o.spec or {}).type
    if o.type and in_spec and in_spec ~= o.type then return invalid("type", "spec has another; one of them is enough") end
    local name = o.type or in_spec or types.default
    if not types.get(name) then return invalid("type", fields.type_fault(name)) end
    return name
  end
  if o.spec or o.type then return invalid("machine", "a machine, or what a new one is to be; not both") end
  local m, err = instances.get({ user = user }, o.machine)
  if not m then return nil, err end
  if m.status == "DELETED" then return invalid("machine", "it is deleted") end
  return m.type, m.id
end

local function spec_fault(spec)
  if spec == nil then return end
  if spec.user_id ~= nil then return "user_id: the machine is your own" end
  local ok, err = schema.check(fields.create, spec)
  if not ok then return err.message end
  if spec.hours ~= nil then return "hours: they stand beside spec" end
end

function M.block(user, o, pages)
  local fault = spec_fault(o.spec)
  if fault then return invalid("spec", fault) end
  local kind, machine = type_of(user, o)
  if not kind then return nil, machine end
  local t = math.floor(steady.now())
  local micro = book.block_rate(book.now(), kind, t) * o.hours
  if micro < LEAST then
    return invalid("hours", ("%d hours of %s cost %s, and Stripe takes no less than %s"):format(o.hours, kind, amount.text(micro),
      amount.text(LEAST)))
  end
  if micro > MOST then return invalid("hours", "at most " .. amount.text(MOST) .. " at once") end
  return pay_page(user, {
    user = user, what = "block", hours = o.hours, type = not machine and kind or nil, machine = machine, spec = o.spec,
  }, ("%d hours of %s"):format(o.hours, kind), micro, pages)
end

function M.credit(user, text, pages)
  local micro, fault = amount.parse(text)
  if not micro then return invalid("credit", fault) end
  local currency = book.now().currency
  if micro % objects.unit(currency) ~= 0 then
    return invalid("credit", "a whole number of the currency's smallest unit expected")
  end
  if micro < LEAST or micro > MOST then
    return invalid("credit", ("an amount from %s to %s expected"):format(amount.text(LEAST), amount.text(MOST)))
  end
  return pay_page(user, { user = user, what = "credit" }, "Credit", micro, pages)
end

-- ---- the portal

function M.portal(user, return_url)
  local customer = users.get(user).stripe_customer_id
  local none = errors.new("invalid", "no billing account")
  if not customer then return nil, none end
  local session, err = stripe.portal_session { customer = customer, return_url = return_url }
  if session then return url_of(session) end
  if err.stripe and err.stripe.code == "resource_missing" then return nil, none end
  return nil, err
end

return M
