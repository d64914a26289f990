-- What a user pays at Stripe, and what Stripe tells us. Where Stripe is not set up there are no such routes.

local app = require "app"
local auth = require "routes.auth"
local checkout = require "stripe.checkout"
local errors = require "errors"
local inbox = require "stripe.inbox"
local signature = require "stripe.signature"
local stripe = require "stripe"
local time = require "time"

local MAX_BODY = 64 * 1024

local function configured() return stripe.configured() end

local function dashboard() return (auth.frontend_url or app.base_url) .. "/dashboard" end

-- ---- the user

local fields = {
  plan = { "string", min = 1, max = 64 },
  hours = { "integer", min = 1, max = 87600 }, type = { "string", min = 1, max = 64 }, machine = { "string", min = 1, max = 128 },
  spec = { "any", check = function(v) return type(v) ~= "table" and "an object expected" or nil end },
  credit = { "any", check = function(v)
    return type(v) ~= "number" and type(v) ~= "string" and "an amount like 12.50 expected" or nil
  end },
}

-- The way in which it is paid: exactly one. -> name | nil, err
local function way_of(body)
  local ways = {}
  for _, name in ipairs { "plan", "hours", "credit" } do
    if body[name] ~= nil then ways[#ways + 1] = name end
  end
  if ways[2] then return errors.fail("invalid", ways[2] .. ": not together with " .. ways[1], { field = ways[2] }) end
  local way = ways[1] or "plan"
  for _, name in ipairs { "type", "machine", "spec" } do
    if body[name] ~= nil and way ~= "hours" then
      return errors.fail("invalid", name .. ": it needs hours", { field = name })
    end
  end
  return way
end

local pay = {
  plan = function(user, body, pages) return checkout.plan(user, body.plan or "starter", pages) end,
  hours = checkout.block,
  credit = function(user, body, pages) return checkout.credit(user, body.credit, pages) end,
}

app.post("/billing/checkout", {
  scope = "billing", user = true, body = fields, when = configured, effect_outside = true, does = "Where to pay at Stripe",
  more = [[There where Stripe is set up. Exactly one of `plan`, `hours` (of `type`, for `machine` or a new one by `spec`),
    `credit`.]],
  gives = { [200] = "Url" }, fails = { 404, 502, 503 }, example = { plan = "starter" },
}, function(req)
  local way, err = way_of(req.body)
  if not way then return nil, err end
  local url
  url, err = pay[way](req.actor.user, req.body,
    { success_url = dashboard() .. "?checkout=success", cancel_url = dashboard() .. "?checkout=cancel" })
  if not url then return nil, err end
  return 200, { url = url }, { ["Cache-Control"] = "no-store" }
end)

app.get("/billing/portal", {
  scope = "billing", user = true, when = configured, does = "Stripe's own pages about the account", gives = { [200] = "Url" },
  more = "There where Stripe is set up.", fails = { 404, 409, 502, 503 },
}, function(req)
  local url, err = checkout.portal(req.actor.user, dashboard())
  if not url then return nil, err end
  return 200, { url = url }, { ["Cache-Control"] = "no-store" }
end)

-- ---- Stripe

-- Answered as soon as it is kept; the work comes later (stripe/inbox.lua). What is not signed by Stripe is never read.
app.post("/billing/webhook", {
  open = true, rate = false, body = "raw", does = "What Stripe tells", more = "There where Stripe is set up.", fails = { 400,
  413 },
  takes = { ["application/json"] = { "object", fields = {}, about = "An event of Stripe's" } }, gives = { [200] = "Status" },
  others = true,
  when = function() return stripe.configured() and #inbox.secrets > 0 end,
}, function(req)
  local text, err = req.http:body(MAX_BODY)
  if not text then return nil, err end
  local ok, why = signature.verify(req.http:header("stripe-signature"), text, inbox.secrets, math.floor(time.now() / 1000))
  if not ok then return errors.fail("invalid", "Stripe-Signature: " .. why, { field = "Stripe-Signature" }) end
  ok, err = inbox.take_text(text)
  if not ok then return nil, err end
  return 200, { status = "ok" }
end)
