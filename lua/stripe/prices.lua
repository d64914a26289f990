-- Which of Stripe's prices is which plan: STRIPE_PRICE_STARTER, STRIPE_PRICE_PRO, and the metered one for what goes beyond.
--
--   prices.setup{plans = {starter = id, ...}, usage = id or nil}
--   prices.of(plan) -> id or nil
--   prices.plan_of(subscription, tx) -> plan | nil, err    what its items say; where none of them is known its metadata
--   prices.usage

local book = require "billing.book"
local errors = require "errors"
local objects = require "stripe.objects"

local M = {}

local by_plan, by_price = {}, {}

function M.setup(o)
  by_plan, by_price, M.usage = o.plans, {}, o.usage
  for plan, price in pairs(o.plans) do by_price[price] = plan end
end

function M.of(plan) return by_plan[plan] end

-- A price that was the plan's once is not known any more; whoever pays it has the plan that he took.
function M.plan_of(sub, tx)
  local ids = objects.prices(sub)
  for _, id in ipairs(ids) do
    if by_price[id] then return by_price[id] end
  end
  local named = objects.text(objects.table(sub.metadata).plan)
  if named and book.get(book.last(tx), tx).plans[named] then return named end
  return errors.fail("failed", ("the subscription %s has no price that is a plan's: %s")
    :format(tostring(sub.id), table.concat(ids, ", ")))
end

return M
