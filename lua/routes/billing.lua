-- /billing: what an account has used, what it costs, and the entries that say so. All are readings of the ledger, and there with
-- and without Stripe (whose routes are routes/stripe.lua's).
--
-- Each is about who asks; ?user= (uuid, number or address) names another account, for an admin. Amounts are exact decimals in
-- text (billing/reading.lua).

local accounts = require "billing.accounts"
local app = require "app"
local errors = require "errors"
local invoice = require "billing.invoice"
local ledger = require "billing.ledger"
local lists = require "lists"
local months = require "billing.months"
local query = require "query"
local reading = require "billing.reading"
local receipts = require "billing.receipts"
local steady = require "steady"
local users = require "accounts.users"
local when = require "when"

local params = {
  month = { "string", pattern = "^%d%d%d%d%-%d%d$", about = "Like 2026-11; the running one without it" },
  start = { "string", about = "A time; the beginning of the month without it", example = "7d ago" },
  ["end"] = { "string", about = "A time; now without it", example = "0s ago" },
  plan = { "string", about = "As that plan would have made it", example = "pro" },
}

-- `...`: names of its parameters.
local function asked(does, gives, more, ...)
  local taken = { user = { "string", about = "An admin's: another account, by uuid, number or address" } }
  for _, name in ipairs { ... } do taken[name] = params[name] end
  return { scope = "billing", query = taken, does = does, more = more, gives = { [200] = gives }, fails = { 404 } }
end

-- One that is a list of `of`.
local function listed(of, options, more)
  options.of = of
  for name, value in pairs(more) do options[name] = value end
  return lists.route(options)
end

local function bad(field, message) return errors.fail("invalid", field .. ": " .. message, { field = field }) end

-- Whose account it is about. -> user | nil, err
local function whose(req)
  local key = app.query(req.http, "user")
  if not key then
    if not req.actor.user then return bad("user", "an account expected (?user=), as the operator has none") end
    return users.get(req.actor.user)
  end
  if not req.actor.admin then return errors.fail("denied", "only an admin may ask about another account") end
  return users.find(key)
end

-- ?month=YYYY-MM; without it the running one. -> from, to | nil, err
local function month(http)
  local text = app.query(http, "month")
  local now = math.floor(steady.now())
  if not text then return months.from(now), months.after(now) end
  local from, to = months.parse(text)
  if not from then return bad("month", "a month like 2026-11 expected") end
  if from > now then return bad("month", "one that has begun expected") end
  return from, to
end

-- ?start=&end=; without one of them the beginning of the month, and now. Or ?month=. -> from, to | nil, err
local function stretch(http)
  local now = math.floor(steady.now())
  if app.query(http, "month") then
    if app.query(http, "start") or app.query(http, "end") then return bad("month", "not together with start or end") end
    local from, to = month(http)
    if not from then return nil, to end
    return from, math.min(to, now)
  end
  local out = { start = months.from(now), ["end"] = now }
  for name in pairs(out) do
    local text = app.query(http, name)
    if text then
      local ms = when.parse(text, now)
      if not ms then return bad(name, when.hint .. " expected") end
      out[name] = ms
    end
  end
  if out.start >= out["end"] then return bad("end", "a time after start expected") end
  return out.start, out["end"]
end

-- ---- usage

local function records(req, user)
  local from, to = stretch(req.http)
  if not from then return nil, to end
  return lists.answer(req, { items = reading.records(user.id, from, to), key = reading.place })
end

-- With a time: a list of what was used; else how the account stands.
local time_params = { "start", "end", "month" }

app.get("/billing/usage", listed("UsageRecord", asked("How the account stands, or what was used",
  { "choice", of = { "Standing", { "list", of = "UsageRecord" } } },
  "With `start`, `end` or `month` a list of what was used, the oldest first; all else that it takes is the list's.",
  unpack(time_params)), {
  filters = { "resource_id", "state", "machine_type", "paid_by", "plan" },
  sort = { "start_time", "quantity", "resource_id", "machine_type" },
}), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local said = query.all(req.http:query())
  for _, name in ipairs(time_params) do
    if said[name] then return records(req, user) end
  end
  said.user = nil
  local other = next(said)
  if other then return bad(other, "only with start, end or month") end
  return 200, reading.now(user.id, user)
end)

app.get("/billing/summary", asked("What was used in all", "Summary", nil, "start", "end", "month"), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = stretch(req.http)
  if not from then return nil, to end
  return 200, reading.summary(user.id, from, to)
end)

local DAYS = 366 -- of one answer

app.get("/billing/days", listed("UsageDay", asked("What was used by day of UTC, the oldest first", { "list", of = "UsageDay" },
  "Also days on which nothing was used; 366 at most.", "start", "end", "month"), {
  page = DAYS, sort = { "day", "hours", "storage_hours" }, filters = { "day" },
}), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = stretch(req.http)
  if not from then return nil, to end
  if to - from > DAYS * 86400000 then return bad("start", ("at most %d days before the end expected"):format(DAYS)) end
  return lists.answer(req, { items = reading.days(user.id, from, to), key = "day" })
end)

-- ---- the books

-- The cursor of an entry is the one before it in the account's chain.
local function ledger_page(user, after, limit)
  if after and not (after:match("^%d+$") and #after < 17) then return bad("after", "a cursor from a Link expected") end
  local items, keys, list = {}, {}, ledger.entries(user, { before = after and tonumber(after), limit = limit })
  for i, e in ipairs(list) do items[i], keys[i] = reading.entry(e), ("%016d"):format(e.prev) end
  local last = list[#list]
  return { items = items, keys = keys, after = last and #list == limit and last.prev > 0 and keys[#keys] or nil }
end

app.get("/billing/ledger", listed("LedgerEntry", asked("Entries of the books, the newest first",
  { "list", of = "LedgerEntry" }), {
  filters = { "type", "machine", "machine_type", "state", "how", "plan", "by" }, sort = { "seq", "type" },
}), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  return lists.answer(req, { scan = function(after, limit) return ledger_page(user.id, after, limit) end })
end)

-- ?plan=NAME: as that plan would have made it.
app.get("/billing/invoices/preview", asked("What a month came to", "Invoice", nil, "month", "plan"), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = month(req.http)
  if not from then return nil, to end
  local plan = app.query(req.http, "plan")
  if not plan then return 200, reading.invoice(invoice.of(user.id, from, to, steady.now())) end
  local fault = accounts.plan_fault(plan)
  if fault then return bad("plan", fault) end
  local inv
  inv, err = invoice.under(user.id, from, to, steady.now(), plan)
  if not inv then return nil, err end
  return 200, reading.invoice(inv)
end)

-- ---- receipts

app.get("/billing/receipts", asked("A signed receipt of a month", "application/jose", "A JWS; docs/ledger.md.", "month"),
  function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = month(req.http)
  if not from then return nil, to end
  return 200, receipts.of(user.id, from, to, steady.now()), { ["Content-Type"] = "application/jose" }
end)

app.get("/billing/receipts/key", {
  open = true, does = "The key that receipts are verified by", gives = { [200] = "Jwk" },
}, function()
  return 200, receipts.jwk(), { ["Cache-Control"] = "public, max-age=3600" }
end)
