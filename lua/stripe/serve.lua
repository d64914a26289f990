-- What serve does about Stripe: hands out the settings, works on what is queued, and asks for what was missed.

local cancels = require "stripe.cancels"
local change_over = require "billing.change_over"
local inbox = require "stripe.inbox"
local log = require "log"
local orders = require "stripe.orders"
local prices = require "stripe.prices"
local stripe = require "stripe"
local task = require "task"
local usage = require "stripe.usage"

local M = {}

local CATCH_UP_SECONDS, AGAIN_SECONDS = 3600, 30

local reports = false

function M.setup(settings)
  prices.setup {
    plans = { starter = settings.STRIPE_PRICE_STARTER, pro = settings.STRIPE_PRICE_PRO }, usage = settings.STRIPE_PRICE_USAGE,
  }
  local secrets = {}
  secrets[#secrets + 1] = settings.STRIPE_WEBHOOK_SECRET
  secrets[#secrets + 1] = settings.STRIPE_WEBHOOK_SECRET_PREVIOUS
  inbox.setup { secrets = secrets, version = settings.STRIPE_API_VERSION }
  reports = settings.STRIPE_PRICE_USAGE ~= nil
end

-- At the start, and every hour: a webhook that never comes is heard of all the same.
local function listen()
  repeat
    local ok, n, err = xpcall(inbox.catch_up, debug.traceback)
    if not ok or not n then
      log.warn("stripe", "events that were missed could not be asked for; tried again", { error = tostring(ok and err or n) })
    end
  until not task.sleep(ok and n and CATCH_UP_SECONDS or AGAIN_SECONDS)
end

function M.serve()
  local ok, err = change_over.note(stripe.configured())
  if not ok then log.error("stripe", "that money is asked for could not be noted", { error = tostring(err) }) end
  task.spawn(change_over.run)
  ok, err = usage.report(stripe.configured() and reports)
  if not ok then log.error("stripe", "whether usage is reported could not be noted", { error = tostring(err) }) end
  if not stripe.configured() then return end
  for _, q in ipairs { inbox.queue, orders.queue, usage.queue, cancels.queue } do q:serve() end
  usage.serve()
  task.spawn(listen)
end

return M
