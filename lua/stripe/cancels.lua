-- The subscription of an account that is closed ends at Stripe, too: durable, tried until Stripe has done it. What was used is
-- reported before, and is on the invoice that Stripe makes at the end.
--
--   cancels.ask(tx, user)     in the commit that closes the account; user: its record as it was
--   cancels.queue

local objects = require "stripe.objects"
local queue = require "stripe.queue"
local stripe = require "stripe"
local subscriptions = require "stripe.subscriptions"
local usage = require "stripe.usage"

local M = {}

local MOST, LOOK_SECONDS = 100, 2

-- A page that is open could still be paid. -> true | nil, err
local function close_page(session)
  local ok, err = stripe.expire_session(session)
  if ok or not err.retryable then return true end
  return nil, err
end

local function cancel(id)
  local ok, err = stripe.cancel_subscription(id, { invoice_now = true })
  if ok or err.code == "not_found" then return true end
  return nil, err
end

-- All that live: what we have not heard of yet, too.
local function run(id, rec)
  if usage.waits(id) then return false, LOOK_SECONDS end
  local ok, err
  if rec.session then
    ok, err = close_page(rec.session)
    if not ok then return nil, err end
  end
  if rec.subscription then
    ok, err = cancel(rec.subscription)
    if not ok then return nil, err end
  end
  for n = 1, MOST do
    local sub
    sub, err = subscriptions.living(rec.customer)
    if sub == nil and err.code ~= "not_found" then return nil, err end
    if not sub then return true, ("%d more were canceled"):format(n - 1) end
    ok, err = cancel(objects.id(sub))
    if not ok then return nil, err end
  end
  return true, "canceled"
end

M.queue = queue.new("stripe_cancel", { what = "the end of a subscription", run = run })

function M.ask(tx, user)
  local page = tx:get("stripe_checkout", user.id)
  if page then tx:del("stripe_checkout", user.id) end
  if not user.stripe_customer_id then return end
  usage.settle(tx, user.id)
  M.queue:put(tx, user.id, {
    customer = user.stripe_customer_id, subscription = user.stripe_subscription_id, session = page and page.session or nil,
  })
end

return M
