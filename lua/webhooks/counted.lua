-- What is counted of deliveries, for /metrics.
--
--   counted.tried(trigger, outcome)     one try has ended; trigger: "event" (the first), "retry", "test", "redelivery"
--   counted.disabled()                  one webhook has failed for too long, or wants no more
--   counted.begin()                     [serve's] all that can be counted is there, as 0

local metrics = require "metrics"

local M = {}

local tries = metrics.counter {
  name = "cchost_webhook_deliveries", help = "Tries to deliver an event to a webhook, by what gave cause and what came of it.",
  labels = { "trigger", "result" },
}
local seconds = metrics.histogram {
  name = "cchost_webhook_delivery_seconds", unit = "seconds", help = "From a try's beginning to the end of its answer.",
}
local ended = metrics.counter {
  name = "cchost_webhooks_disabled", help = "Webhooks that were disabled, as nothing could be delivered.",
}

local TRIGGERS, RESULTS = { "event", "retry", "test", "redelivery" }, { "delivered", "refused", "timeout", "failed" }

-- refused: it answered something else than 2xx; failed: it was not reached, or what it said was no HTTP.
local function result(outcome)
  if outcome.ok then return "delivered" end
  if outcome.status then return "refused" end
  return outcome.code == "timeout" and "timeout" or "failed"
end

function M.tried(trigger, outcome)
  tries:add(1, trigger, result(outcome))
  seconds:observe(outcome.ms / 1000)
end

function M.disabled() ended:add(1) end

function M.begin()
  ended:add(0)
  for _, trigger in ipairs(TRIGGERS) do
    for _, what in ipairs(RESULTS) do tries:add(0, trigger, what) end
  end
end

return M
