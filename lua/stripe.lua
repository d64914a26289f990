-- Stripe: what we ask of it, each a straight line over client.lua (which says what is sent again, and what errors are).
--
--   stripe.setup{ key =, url =, version =, usage =, meter =, ... }   no key: not configured. The rest goes to client.lua
--   stripe.configured() -> boolean
--   stripe.request(method, path, params [, {idempotency =, seconds =}]) -> value | nil, err      [yields], like all below
--
-- `o`, last everywhere, is request's: an Idempotency-Key that outlives a crash, and how long all may take. Where it has no key
-- a verb takes the one that is said beside it. A name that a verb needs and is not given raises; ids come from the world, and
-- what is none is "not_found".
--
--   create_customer({user_id, email, name}, o) -> customer        one for each user, however often and at once it is asked for
--   update_customer(id, {email, name}, o) -> customer
--   customer(id) -> customer; of one that was deleted {id, deleted = true}
--   checkout_subscription({customer, price, usage_price, user_id, plan, trial_days, success_url, cancel_url}, o) -> session
--   checkout_payment({customer, currency, amount, name, user_id, metadata, success_url, cancel_url}, o) -> session
--       amount in the currency's smallest unit; the payment's charge has the metadata, too (a dispute has none)
--   checkout_session(id) -> session
--   portal_session({customer, return_url}, o) -> {url}
--   expire_session(id) -> session; one that is not open is "failed"
--   charge(id) -> charge
--   subscription(id) -> subscription
--   subscriptions(customer) -> {data = {subscription, ...}}, those that are not canceled, newest first, 100 at most
--   cancel_subscription(id, {invoice_now = true: what was used is billed}) -> subscription; of one that is canceled already
--       "not_found"
--   invoice_lines(id) -> {data = {line, ...}}, 100 at most
--   events({since, before, types, most}) -> {event, ...}, more    oldest first; times in unix seconds
--   usage_by_records() -> boolean: it needs the item
--   report_usage({id, customer, item, quantity, at}, o)           by meter_event or usage_record, as STRIPE_USAGE says
--   meter_event({id, customer, quantity, at}, o) -> event
--   usage_record({id, item, quantity, at}, o) -> record
--
-- Versions: requests are such that today's API and the one of 2023 take them. Answers are as the version (STRIPE_API_VERSION)
-- has them; events are as the version was when they were made, whatever is asked for.

local client = require "stripe.client"
local errors = require "errors"
local json = require "json"

local M = {}

local URL, VERSION = "https://api.stripe.com", "2026-10-28.endive"

local PAGE, MAX_PAGES = 50, 400 -- of events, whose answers may be long
local MOST_EVENTS = 1000

local settings = {}
local call

function M.setup(o)
  settings = o
  call = o.key and client.new {
    key = o.key, url = (o.url or URL):gsub("/v1$", ""), version = o.version or VERSION, ca = o.ca, tries = o.tries,
    seconds = o.seconds, try_seconds = o.try_seconds, first_pause = o.first_pause, longest_pause = o.longest_pause,
  } or nil
end

function M.configured() return call ~= nil end

function M.request(method, path, params, o)
  if not call then return errors.fail("unavailable", "Stripe is not configured (STRIPE_SECRET_KEY)") end
  return call(method, path, params, o)
end

-- ---- helpers

local function need(p, ...)
  for _, name in ipairs { ... } do
    if p[name] == nil then error(name .. " expected", 3) end
  end
end

-- o with a key where it has none.
local function keyed(o, idempotency)
  return { idempotency = o and o.idempotency or idempotency, seconds = o and o.seconds }
end

-- Asks about one object; an id that is none must not lead to another path.
local function about(method, path, id, params, o)
  if type(id) ~= "string" or #id > 255 or not id:match("^[%w_]+$") then
    return errors.fail("not_found", "Stripe: an id of theirs expected")
  end
  return M.request(method, path:format(id), params, o)
end

-- ---- customers

local CUSTOMER_TRIES = 3

-- Two requests: the first has the same body for ever, so that its key (the user's id) leads two checkouts at once, or one
-- after a crash, to one customer even if he has changed his address in between, which Stripe would refuse as another body.
-- What Stripe keeps under a key for a day may be a fault, or a customer deleted since: then there is a next key.
function M.create_customer(p, o)
  need(p, "user_id", "email")
  local customer, err
  for n = 1, CUSTOMER_TRIES do
    local how = keyed(o, "cchost-customer-" .. p.user_id)
    how.idempotency = how.idempotency .. (n > 1 and "-" .. n or "")
    customer, err = M.request("POST", "/v1/customers", { metadata = { user_id = p.user_id } }, how)
    if customer then
      customer, err = M.update_customer(customer.id, { email = p.email, name = p.name }, { seconds = how.seconds })
    end
    local kept = err and err.stripe and (err.stripe.replayed or err.stripe.code == "resource_missing")
    if not kept then return customer, err end
  end
  return nil, err
end

function M.update_customer(id, p, o) return about("POST", "/v1/customers/%s", id, { email = p.email, name = p.name }, o) end

function M.customer(id) return about("GET", "/v1/customers/%s", id) end

-- ---- what he pays, on Stripe's pages

-- The price by use is a line without a quantity. Its plan also stands on the subscription, whose events know no session.
function M.checkout_subscription(p, o)
  need(p, "customer", "price", "user_id", "plan", "success_url", "cancel_url")
  local about_it = { user_id = p.user_id, plan = p.plan }
  return M.request("POST", "/v1/checkout/sessions", {
    mode = "subscription", customer = p.customer, client_reference_id = p.user_id,
    line_items = { { price = p.price, quantity = 1 }, p.usage_price and { price = p.usage_price } or nil },
    metadata = about_it,
    subscription_data = { metadata = about_it, trial_period_days = (p.trial_days or 0) > 0 and p.trial_days or nil },
    success_url = p.success_url, cancel_url = p.cancel_url,
  }, o)
end

function M.checkout_payment(p, o)
  need(p, "customer", "currency", "amount", "name", "user_id", "success_url", "cancel_url")
  local metadata = { user_id = p.user_id }
  for name, value in pairs(p.metadata or {}) do metadata[name] = value end
  return M.request("POST", "/v1/checkout/sessions", {
    mode = "payment", customer = p.customer, client_reference_id = p.user_id,
    line_items = { {
      price_data = { currency = p.currency, unit_amount = p.amount, product_data = { name = p.name } }, quantity = 1,
    } },
    metadata = metadata, payment_intent_data = { metadata = metadata },
    success_url = p.success_url, cancel_url = p.cancel_url,
  }, o)
end

function M.checkout_session(id) return about("GET", "/v1/checkout/sessions/%s", id) end

function M.portal_session(p, o)
  need(p, "customer", "return_url")
  return M.request("POST", "/v1/billing_portal/sessions", { customer = p.customer, return_url = p.return_url }, o)
end

function M.expire_session(id)
  return about("POST", "/v1/checkout/sessions/%s/expire", id, nil, keyed(nil, "cchost-expire-" .. tostring(id)))
end

function M.charge(id) return about("GET", "/v1/charges/%s", id) end

function M.invoice_lines(id) return about("GET", "/v1/invoices/%s/lines", id, { limit = 100 }) end

function M.subscriptions(customer)
  return M.request("GET", "/v1/subscriptions", { customer = customer, limit = 100 })
end

function M.cancel_subscription(id, p)
  return about("DELETE", "/v1/subscriptions/%s", id, { invoice_now = p and p.invoice_now or nil })
end

function M.subscription(id) return about("GET", "/v1/subscriptions/%s", id) end

-- ---- events

-- One page, newest first. -> {event, ...}, the id to go on after or nil | nil, err
local function events_page(p, after)
  local page, err = M.request("GET", "/v1/events", {
    created = { gte = p.since, lt = p.before }, types = p.types, limit = PAGE, starting_after = after,
  })
  if not page then return nil, err end
  local list = page.data
  if type(list) ~= "table" then return errors.fail("failed", "Stripe: a list of events without events") end
  local last = list[#list]
  if last and (type(last) ~= "table" or type(last.id) ~= "string" or last.id == after) then
    return errors.fail("failed", "Stripe: a list of events that leads nowhere")
  end
  return list, page.has_more == true and last and last.id or nil
end

-- The last `most` of a list.
local function tail(list, most)
  local out = json.array {}
  for i = #list - most + 1, #list do out[#out + 1] = list[i] end
  return out
end

-- Stripe lists the newest first, and keeps them for 30 days. All pages are gone through, and the oldest kept: whoever is told
-- of `more` asks again since the last one's `created`, and misses none.
function M.events(p)
  need(p, "since")
  local most = p.most or MOST_EVENTS
  local kept, after, more = json.array {}, nil, false
  for _ = 1, MAX_PAGES do
    local list, next_or_err = events_page(p, after)
    if not list then return nil, next_or_err end
    for _, event in ipairs(list) do kept[#kept + 1] = event end
    if #kept > most then kept, more = tail(kept, most), true end
    after = next_or_err
    if not after then break end
  end
  if after then return errors.fail("failed", ("Stripe has more than %d events since then"):format(PAGE * MAX_PAGES)) end
  for i = 1, math.floor(#kept / 2) do kept[i], kept[#kept + 1 - i] = kept[#kept + 1 - i], kept[i] end
  return kept, more
end

-- ---- usage

-- Stripe takes an `identifier` once within a day at least, and a time at most 35 days back.
function M.meter_event(p, o)
  need(p, "id", "customer", "quantity", "at")
  -- it is sent as text, where form.lua does not look
  if p.quantity ~= math.floor(p.quantity) or math.abs(p.quantity) > 2 ^ 53 then error("quantity: a whole number expected", 2) end
  return M.request("POST", "/v1/billing/meter_events", {
    event_name = settings.meter or "cchost_usage", identifier = p.id, timestamp = p.at,
    payload = { stripe_customer_id = p.customer, value = ("%d"):format(p.quantity) },
  }, keyed(o, "cchost-usage-" .. p.id))
end

-- "increment", as two reports of one second must add up; the key makes each count once.
function M.usage_record(p, o)
  need(p, "id", "item", "quantity", "at")
  return about("POST", "/v1/subscription_items/%s/usage_records", p.item,
    { quantity = p.quantity, timestamp = p.at, action = "increment" }, keyed(o, "cchost-usage-" .. p.id))
end

function M.usage_by_records() return settings.usage == "records" end

-- Meters are the API's only way since 2025-03-31 (basil), so they are the default. Usage records are for an account whose
-- metered prices are older and have no meter: they need an older STRIPE_API_VERSION (config/rules.lua).
function M.report_usage(p, o)
  if M.usage_by_records() then return M.usage_record(p, o) end
  return M.meter_event(p, o)
end

return M
