-- What each event of Stripe leads to. An event says that something has happened and to whom; what is so now is asked of Stripe
-- where it can be (subscriptions), and where it cannot, entries of the ledger are named by Stripe's ids, and amounts that grow
-- are booked by their difference: so twice, late, and in any order comes to the same.
--
--   handlers.run(event) -> note, also | nil, err     [yields] also(tx), or nil: for the commit that says that it is done
--   handlers.knows(type) -> boolean;  handlers.types = {type, ...}
--
-- Whoever is no customer of ours: noted, and done. A payment by somebody unknown is told to the operator.
-- Records: "stripe_charge" {refunded = in the smallest unit, so far booked}, "stripe_dispute" {opened =, credit = what is the
-- user's again when it is won: the credit that was taken, and the price of hours that were not used, won =}.

local accounts = require "billing.accounts"
local book = require "billing.book"
local customers = require "stripe.customers"
local errors = require "errors"
local log = require "log"
local objects = require "stripe.objects"
local orders = require "stripe.orders"
local outbox = require "outbox"
local prices = require "stripe.prices"
local store = require "store"
local stripe = require "stripe"
local subscriptions = require "stripe.subscriptions"
local time = require "time"
local users = require "accounts.users"

local M = {}

local on = {} -- [type] = fn(object, event) -> note, also | nil, err

local function stranger(customer) return "nobody here is the customer " .. (customer or "?") end

-- fn(user id) with whose customer it is; a stranger's is noted. -> what fn returns
local function for_user(customer, named, fn)
  local user, err = customers.find(customer, named)
  if err then return nil, err end
  if not user then return stranger(customer) end
  return fn(user)
end

-- An amount of Stripe's in the books' currency. -> micro-units | nil, err
local function micro_of(n, currency)
  return orders.amount_of({ amount_total = n, currency = currency }, book.now().currency)
end

-- ---- subscriptions

local function sync_note(id, customer)
  local s, err = subscriptions.sync(id, customer)
  if not s then return nil, err end
  return s.note
end

local function subscription(sub)
  local id = objects.id(sub)
  if not id then return "a subscription without an id" end
  return sync_note(id, objects.customer(sub))
end

for _, what in ipairs { "created", "updated", "deleted", "paused", "resumed" } do
  on["customer.subscription." .. what] = subscription
end

on["customer.subscription.trial_will_end"] = function(sub)
  local note, err = subscription(sub)
  if not note then return nil, err end
  local user = customers.find(objects.customer(sub)) -- known, if he is anybody, since the sync
  local ends = objects.number(sub.trial_end)
  return note, user and ends and function(tx)
    local u = tx:get("user", user)
    if u and u.status == "active" then
      outbox.put(tx, { to = u.email, subject = "Your trial is about to end", hours = 72,
        text = ("Your trial ends at %s; from then on the plan is paid.\n"):format(time.rfc3339(ends * 1000)) })
    end
  end or nil
end

-- ---- checkout

local PAID = { paid = true, no_payment_required = true }

-- The page is done with: the account may have another.
local function forget_page(tx, session, user)
  local last = tx:get("stripe_checkout", user)
  if last and last.session == objects.id(session) then tx:del("stripe_checkout", user) end
end

local function subscribed(session, user)
  local id = objects.id(session.subscription)
  if not id then return nil, errors.new("failed", "a session without its subscription") end
  local s, err = subscriptions.sync(id, objects.customer(session))
  if not s then return nil, err end
  local ok
  ok, err = store.update(function(tx)
    forget_page(tx, session, user)
    if s.user and accounts.lives(s.status) then orders.machine(tx, session, user) end
    return true
  end)
  if not ok then return nil, err end
  orders.queue:kick()
  return s.note
end

local function bought(session, user)
  local micro, err = micro_of(session.amount_total, session.currency)
  if not micro then return nil, err end
  local ok
  ok, err = store.update(function(tx)
    orders.paid(tx, session, user, micro)
    return true
  end)
  if not ok then return nil, err end
  orders.queue:kick()
  return "paid"
end

local function completed(session)
  if not objects.id(session) then return "a session without an id" end
  if not PAID[session.payment_status] then return "nothing is paid yet" end
  local customer = objects.customer(session)
  local user, err = customers.find(customer, objects.table(session.metadata).user_id)
  if err then return nil, err end
  if not user then
    log.error("stripe", "somebody has paid who is no user here: refund it at Stripe, or find out whose it is",
      { session = session.id, customer = customer, amount = session.amount_total })
    return stranger(customer)
  end
  if session.mode == "subscription" then return subscribed(session, user) end
  if session.mode == "payment" then return bought(session, user) end
  return "of no interest: " .. tostring(session.mode)
end

on["checkout.session.completed"] = completed
on["checkout.session.async_payment_succeeded"] = completed

-- Nothing comes of it. A later word that it was paid finds what it needs in the session itself.
local function given_up(session, more)
  local order = objects.text(objects.table(session.metadata).order)
  return for_user(objects.customer(session), nil, function(user)
    return "given up", function(tx)
      forget_page(tx, session, user)
      local offer = order and #order <= 64 and tx:get("stripe_offer", order)
      if offer and offer.user == user then orders.withdraw(tx, order) end
      if more then more(tx, user) end
    end
  end)
end

on["checkout.session.expired"] = function(session) return given_up(session) end

on["checkout.session.async_payment_failed"] = function(session)
  return given_up(session, function(tx, user)
    users.note(tx, user, "payment_failed", { session = objects.id(session) }, "stripe")
  end)
end

-- ---- invoices

-- What of an invoice was for usage beyond the plan. -> in the smallest unit | nil, err
local function metered_part(invoice)
  local lines = objects.table(invoice.lines)
  if lines.has_more == true then
    local page, err = stripe.invoice_lines(invoice.id)
    if not page then return nil, err end
    lines = page
  end
  local sum = 0
  for _, line in ipairs(objects.table(lines.data)) do
    line = objects.table(line)
    if objects.is_metered(line, prices.usage) then sum = sum + (objects.number(line.amount) or 0) end
  end
  return sum
end

-- -> fee, usage in micro-units | nil, err
local function parts_of(invoice)
  local paid = objects.number(invoice.amount_paid) or 0
  local usage, err = metered_part(invoice)
  if not usage then return nil, err end
  if not objects.subscription_of(invoice) then usage = paid end -- made by hand: it pays what is owed, the rest is credit
  usage = math.max(0, math.min(usage, paid))
  local unit
  unit, err = micro_of(1, invoice.currency)
  if not unit then return nil, err end
  return (paid - usage) * unit, usage * unit
end

local function book_invoice(invoice, user)
  local fee, usage = parts_of(invoice)
  if not fee then return nil, usage end
  return store.update(function(tx)
    local id = "stripe/invoice/" .. invoice.id
    if fee > 0 then accounts.paid_fee(tx, user, { id = id .. "/fee", micro = fee, by = "stripe", invoice = invoice.id }) end
    if usage > 0 then accounts.pay(tx, user, { id = id .. "/usage", micro = usage, by = "stripe", invoice = invoice.id }) end
    return true
  end)
end

local function for_invoice(invoice, fn)
  local parent = objects.table(objects.table(invoice.parent).subscription_details)
  local details = objects.table(invoice.subscription_details)
  local named = objects.table(parent.metadata).user_id or objects.table(details.metadata).user_id
  return for_user(objects.customer(invoice), named, fn)
end

-- What is so of its subscription now, if it is for one. -> note | nil, err
local function sync_of(invoice)
  local sub = objects.subscription_of(invoice)
  if not sub then return "not a subscription's" end
  return sync_note(sub, objects.customer(invoice))
end

on["invoice.paid"] = function(invoice)
  if not objects.id(invoice) then return "an invoice without an id" end
  return for_invoice(invoice, function(user)
    local ok, err = book_invoice(invoice, user)
    if not ok then return nil, err end
    return sync_of(invoice)
  end)
end

on["invoice.payment_failed"] = function(invoice)
  return for_invoice(invoice, function(user)
    local note, err = sync_of(invoice)
    if not note then return nil, err end
    return note, function(tx) users.note(tx, user, "payment_failed", { invoice = objects.id(invoice) }, "stripe") end
  end)
end

-- ---- money that goes back

-- What was paid once has its buyer in its metadata (stripe.lua); what has not was for a plan.
local function is_fee(charge) return objects.text(objects.table(charge.metadata).user_id) == nil end

local function too_early(tx, metadata)
  if orders.is_booked(tx, metadata) then return nil end
  return errors.new("conflict", "what goes back has not come yet", { retryable = true })
end

-- -> what of it was the user's still: credit, and hours that he had not used
local function goes_back(tx, o)
  local micro, fee = (o.to - o.from) * o.unit, is_fee(o.charge)
  local back = { id = o.id, micro = micro, from = o.from, to = o.to, of = objects.number(o.charge.amount) or o.to }
  local block, worth = orders.refunded(tx, o.charge.metadata, back)
  local posted, credit = accounts.refund(tx, o.user, {
    id = o.id, type = o.type, micro = micro, by = "stripe", charge = objects.id(o.charge), fee = fee or nil, block = block,
  })
  back.micro = micro - block - credit
  if posted and not fee and back.micro > 0 then worth = worth + orders.unpaid(tx, o.user, back) end
  return credit + worth
end

local function book_refund(charge, user, unit)
  local id, back = objects.id(charge), objects.number(charge.amount_refunded)
  return store.update(function(tx)
    local rec = tx:get("stripe_charge", id) or { refunded = 0 }
    if back <= rec.refunded then return true end
    local early = too_early(tx, charge.metadata)
    if early then return nil, early end
    goes_back(tx, {
      id = ("stripe/refund/%s/%d"):format(id, back), user = user, charge = charge, from = rec.refunded, to = back, unit = unit,
    })
    rec.refunded = back
    tx:put("stripe_charge", id, rec, user)
    return true
  end)
end

on["charge.refunded"] = function(charge)
  if not objects.id(charge) or not objects.number(charge.amount_refunded) then return "a charge without an amount" end
  return for_user(objects.customer(charge), objects.table(charge.metadata).user_id, function(user)
    local unit, err = micro_of(1, charge.currency)
    if not unit then return nil, err end
    local ok
    ok, err = book_refund(charge, user, unit)
    if not ok then return nil, err end
    return "refunded"
  end)
end

-- A dispute names no customer, its charge does. -> {user =, micro =, id =, fee =, charge =} | false, note | nil, err
local function dispute_of(dispute)
  local id, charge_id = objects.id(dispute), objects.id(dispute.charge)
  if not id or not charge_id then return false, "a dispute without a charge" end
  if tostring(dispute.status):find("^warning") then return false, "an inquiry: no money was taken" end
  local charge, err = stripe.charge(charge_id)
  if not charge then
    if err.code == "not_found" then return false, "Stripe does not know its charge" end
    return nil, err
  end
  local customer = objects.customer(charge)
  local user
  user, err = customers.find(customer, objects.table(charge.metadata).user_id)
  if err then return nil, err end
  if not user then return false, stranger(customer) end
  local micro
  micro, err = micro_of(dispute.amount, dispute.currency)
  if not micro then return nil, err end
  return { user = user, micro = micro, id = id, charge = charge, unit = micro_of(1, dispute.currency) }
end

local function taken(d)
  return store.update(function(tx)
    local rec = tx:get("stripe_dispute", d.id) or {}
    if rec.opened or rec.won or d.micro == 0 then return true end
    local early = too_early(tx, d.charge.metadata)
    if early then return nil, early end
    rec.opened, rec.credit = true, goes_back(tx, {
      id = ("stripe/dispute/%s/opened"):format(d.id), type = "dispute", user = d.user, charge = d.charge, from = 0,
      to = d.micro / d.unit, unit = d.unit,
    })
    tx:put("stripe_dispute", d.id, rec, d.user)
    return true
  end)
end

local function given_back(d)
  return store.update(function(tx)
    local rec = tx:get("stripe_dispute", d.id) or {}
    if rec.won or d.micro == 0 then return true end
    if rec.opened then
      accounts.refund(tx, d.user, { id = ("stripe/dispute/%s/won"):format(d.id), type = "dispute", micro = -d.micro,
        by = "stripe", charge = objects.id(d.charge), credit = rec.credit })
    end
    rec.won = true
    tx:put("stripe_dispute", d.id, rec, d.user)
    return true
  end)
end

local function about_dispute(fn, note)
  return function(dispute)
    local d, why = dispute_of(dispute)
    if d == nil then return nil, why end
    if not d then return why end
    local ok, err = fn(d, dispute)
    if not ok then return nil, err end
    return note
  end
end

local opened = about_dispute(function(d, dispute)
  local ok, err = taken(d)
  if not ok then return nil, err end
  log.error("stripe", "a payment is disputed: answer it at Stripe", { user = d.user, dispute = d.id, reason = dispute.reason })
  return true
end, "disputed")

on["charge.dispute.created"] = opened
on["charge.dispute.funds_withdrawn"] = about_dispute(taken, "disputed")
on["charge.dispute.funds_reinstated"] = about_dispute(given_back, "won")
on["charge.dispute.closed"] = about_dispute(function(d, dispute)
  if dispute.status == "won" then return given_back(d) end
  return taken(d)
end, "closed")

-- ---- the customer

on["customer.deleted"] = function(customer)
  local id = objects.id(customer)
  return for_user(id, nil, function(user)
    local now_is, err = stripe.customer(id)
    if not now_is and err.code ~= "not_found" then return nil, err end
    if now_is and now_is.deleted ~= true then return "Stripe has him still" end
    local sub, ok = users.get(user).stripe_subscription_id, true
    if sub then ok, err = sync_note(sub, id) end
    if not ok then return nil, err end
    ok, err = customers.forget(user, id, "deleted at Stripe")
    if not ok then return nil, err end
    return "gone"
  end)
end

-- ---- all

M.types = {}
for type in pairs(on) do M.types[#M.types + 1] = type end
table.sort(M.types)

function M.knows(type) return on[type] ~= nil end

function M.run(event)
  local handler = on[event.type]
  if not handler then return "not of interest" end
  return handler(event.data.object, event)
end

return M
