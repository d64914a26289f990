-- Answers about webhooks.

local k = require "openapi.kinds"

local list, null, object, text = k.list, k.null, k.object, k.text

local M = {}

local waiting = object({ event = k.count(), attempts = k.count(), next_at = k.time, error = k.string }, "What is tried again")

local function webhook(more)
  local fields = {
    id = k.string, user = null(text "Whose it is; null: the operator's"), url = k.string, description = k.string,
    events = list(k.string), all = k.flag, enabled = k.flag, disabled_reason = null(k.string),
    previous_secret_until = null(k.time), created_at = k.time, updated_at = k.time, version = k.version,
    after = k.count(), waiting = null(waiting),
  }
  for name, field in pairs(more or {}) do fields[name] = field end
  return object(fields)
end

M.Webhook = webhook()
M.NewWebhook = webhook { secret = text "Shown once" }

M.Delivery = object({
  number = k.maybe(k.count()), webhook = k.string, message = text "The header webhook-id",
  trigger = k.word("event", "test", "redelivery"),
  event = null(k.count()), kind = k.string, type = k.string, attempt = k.count(), at = k.maybe(k.time), ok = k.flag,
  status = null(k.count()), ms = k.count(), error = null(k.string), body = null(text "The first 1,024 bytes of the answer"),
}, "A try")

return M
