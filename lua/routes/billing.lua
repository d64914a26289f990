-- /billing: what an account has used, what it costs, and the entries that say so. All are readings of the ledger, and there with
-- and without Stripe (whose routes are routes/stripe.lua's).
--
-- Each is about who asks; ?user= (uuid, number or address) names another account, for an admin. Amounts are exact decimals in
-- text (billing/reading.lua).

local accounts = require "billing.accounts"
local app = require "app"
local errors = require "errors"
local invoice = require "billing.invoice"
local json = require "json"
local ledger = require "billing.ledger"
local months = require "billing.months"
local reading = require "billing.reading"
local receipts = require "billing.receipts"
local steady = require "steady"
local users = require "accounts.users"
local when = require "when"

local function asked(...) return { scope = "billing", query = { "user", ... } } end

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

-- The query without `after`, for a Link.
local function same_query(http)
  local kept = {}
  for pair in (http:query() or ""):gmatch("[^&]+") do
    if not pair:match("^after=") then kept[#kept + 1] = pair end
  end
  return table.concat(kept, "&")
end

local function next_page(http, path, after)
  local kept = same_query(http)
  return { Link = ('<%s?%s%safter=%s>; rel="next"'):format(path, kept, kept ~= "" and "&" or "", after) }
end

-- ---- usage

local function records(req, user)
  local from, to = stretch(req.http)
  if not from then return nil, to end
  local limit, after = app.page(req.http)
  if not limit then return nil, after end
  local all = reading.records(user.id, from, to)
  local first = 1
  if after then first = reading.from_place(all, after) end
  if not first then return bad("after", "a cursor from a Link expected") end
  local last = math.min(first + limit - 1, #all)
  local out = json.array { unpack(all, first, last) }
  return 200, out, last < #all and next_page(req.http, "/billing/usage", reading.place(all[last])) or nil
end

-- With a time: a list of what was used; else how the account stands.
app.get("/billing/usage", asked("start", "end", "month", "limit", "after"), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  for _, name in ipairs { "start", "end", "month" } do
    if app.query(req.http, name) then return records(req, user) end
  end
  return 200, reading.now(user.id, user)
end)

app.get("/billing/summary", asked("start", "end", "month"), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = stretch(req.http)
  if not from then return nil, to end
  return 200, reading.summary(user.id, from, to)
end)

-- ---- the books

app.get("/billing/ledger", asked("limit", "after"), function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local limit, after = app.page(req.http)
  if not limit then return nil, after end
  if after and not (after:match("^%d+$") and #after < 16) then return bad("after", "a cursor from a Link expected") end
  local list = ledger.entries(user.id, { before = after and tonumber(after), limit = limit })
  local out = json.array {}
  for i, e in ipairs(list) do out[i] = reading.entry(e) end
  local last = list[#list]
  local more = last and #list == limit and last.prev > 0
  return 200, out, more and next_page(req.http, "/billing/ledger", ("%d"):format(last.prev)) or nil
end)

-- ?plan=NAME: as that plan would have made it.
app.get("/billing/invoices/preview", asked("month", "plan"), function(req)
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

app.get("/billing/receipts", asked "month", function(req)
  local user, err = whose(req)
  if not user then return nil, err end
  local from, to = month(req.http)
  if not from then return nil, to end
  return 200, receipts.of(user.id, from, to, steady.now()), { ["Content-Type"] = "application/jose" }
end)

app.get("/billing/receipts/key", { open = true, query = {} }, function()
  return 200, receipts.jwk(), { ["Cache-Control"] = "public, max-age=3600" }
end)
