-- Answers about usage and money (billing/reading.lua).

local k = require "openapi.kinds"

local maybe, null, list, map, object = k.maybe, k.null, k.list, k.map, k.object

local M = {}

M.Standing = object({
  plan = k.string, subscription_status = k.string, usage_hours = k.number, period = null(object { start = k.time,
  ["end"] = k.time }),
  currency = k.string, included_hours_left = k.number, bonus_hours_left = k.number, credit = k.money, owed = k.money,
  rate = k.money,
  cost = k.money, runs_out_at = null(k.time), runs_out = null(k.string),
  machines = list(object { id = k.id, type = k.string, state = k.string, since = k.time, rate = k.money, paid_by = k.string }),
}, "How the account stands")

M.UsageRecord = object {
  id = k.string, user_id = k.string, resource_id = k.string, resource_type = k.string, quantity = k.number, unit = k.string,
  start_time = k.time, end_time = k.time, ms = k.count(), state = k.string, machine_type = k.string, rate = k.money,
  paid_by = k.string,
  plan = k.string, amount = k.money, waived = maybe(k.money),
}

M.UsageDay = object {
  day = { "string", format = "date" }, hours = k.number, ms = k.count(), storage_hours = k.number, amount = k.money,
  waived = maybe(k.money),
}

M.Summary = object {
  user_id = k.string, total_amount = k.money, usage_by_type = map(k.money), hours_by_type = map(k.number), currency = k.string,
  period_start = k.time, period_end = k.time, usage_hours = k.number, usage_ms = k.count(), waived = k.money,
}

M.LedgerEntry = object {
  seq = k.count(), id = k.string, type = k.string, at = k.time, by = k.string, machine = maybe(k.string),
  machine_type = maybe(k.string),
  state = maybe(k.string), how = maybe(k.string), plan = maybe(k.string), hours = maybe(k.number), reason = maybe(k.string),
  gib = maybe(k.number), from = maybe(k.time), to = maybe(k.time), rate = maybe(k.money),
  postings = list(object { account = k.string, amount = maybe(k.money), ms = maybe { "integer" } }),
}

M.Invoice = object {
  user_id = k.string, period_start = k.time, period_end = k.time, running = k.flag, plan = k.string, currency = k.string,
  total = k.money,
  waived = k.money, paid = k.money, adjusted = k.money, refunded = k.money, opening_balance = k.money, closing_balance = k.money,
  included_hours = k.number, used_hours = map(k.number),
  lines = list(object {
    kind = k.string, text = k.string, amount = k.money, waived = maybe(k.money), at = maybe(k.time), entry = maybe(k.string),
    machine = maybe(k.string), type = maybe(k.string), plan = maybe(k.string), state = maybe(k.string), rate = maybe(k.money),
    paid_by = maybe(k.string), hours = maybe(k.number), ms = maybe(k.count()), reason = maybe(k.string),
  }),
}

M.Jwk = object { kty = k.string, crv = k.string, x = k.string, y = k.string, kid = k.string, alg = k.string, use = k.string }
M.Url = object { url = { "string", format = "uri" } }

return M
