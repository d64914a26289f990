-- What Stripe's objects say, in whatever version of its API they are: since 2025-03-31 a subscription's period stands on its
-- items, and what an invoice is for with its parent. Pure; all of it takes anything that JSON can be.
--
--   objects.id(x) -> the id that a reference is or, where it is expanded, has; or nil
--   objects.text(x), objects.number(x), objects.table(x) -> x where it is one, or nil (objects.table: an empty one)
--   objects.event_fault(e) -> why it is no event, or nil
--   objects.customer(o) -> the id of whose it is, or nil
--   objects.subscription_of(invoice) -> id or nil
--   objects.period(subscription) -> from, to in unix ms | nil
--   objects.item(subscription, price) -> its item of that price or nil;    objects.prices(subscription) -> {price id, ...}
--   objects.is_metered(line, usage_price)     of an invoice's line
--   objects.unit(currency) -> micro-units in the smallest unit that Stripe counts in

local json = require "json"

local M = {}

function M.text(x) return type(x) == "string" and x ~= "" and x or nil end

function M.number(x) return type(x) == "number" and x == x and math.abs(x) < 2 ^ 53 and x or nil end

function M.table(x) return type(x) == "table" and x ~= json.null and x or {} end

local function is_id(x) return type(x) == "string" and #x <= 255 and x:find("^[%w_]+$") ~= nil end

function M.id(x)
  if type(x) == "table" and x ~= json.null then x = x.id end
  return is_id(x) and x or nil
end

function M.event_fault(e)
  if type(e) ~= "table" or e == json.null or e.object ~= "event" then return "no event of Stripe" end
  if not is_id(e.id) then return "an event without an id" end
  if type(e.type) ~= "string" or #e.type > 100 or not e.type:find("^[%w_.]+$") then return "an event without a type" end
  local created = M.number(e.created)
  if not created or created < 0 or created > 1e11 or created % 1 ~= 0 then return "an event without a time" end
  if type(e.data) ~= "table" or e.data == json.null or type(e.data.object) ~= "table" or e.data.object == json.null then
    return "an event about nothing"
  end
end

function M.customer(o) return M.id(o.customer) or o.object == "customer" and M.id(o.id) or nil end

function M.subscription_of(invoice)
  local parent = M.table(M.table(invoice.parent).subscription_details)
  return M.id(parent.subscription) or M.id(invoice.subscription)
end

local function items(sub) return M.table(M.table(sub.items).data) end

function M.period(sub)
  local item = M.table(items(sub)[1])
  local from = M.number(sub.current_period_start) or M.number(item.current_period_start)
  local to = M.number(sub.current_period_end) or M.number(item.current_period_end)
  if from and to and from >= 0 and to > from and to < 1e11 then return math.floor(from) * 1000, math.floor(to) * 1000 end
end

function M.prices(sub)
  local out = {}
  for _, item in ipairs(items(sub)) do out[#out + 1] = M.id(M.table(item).price) end
  return out
end

function M.item(sub, price)
  for _, item in ipairs(items(sub)) do
    if M.id(M.table(item).price) == price then return M.id(item) end
  end
end

function M.is_metered(line, usage_price)
  local price = M.table(line.price)
  local id = M.id(line.price) or M.id(M.table(M.table(line.pricing).price_details).price)
  if usage_price and id == usage_price then return true end
  return M.table(price.recurring).usage_type == "metered"
end

local WHOLE, THREE = {}, {}
for name in ("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"):gmatch("%a+") do WHOLE[name] = true end
for name in ("bhd jod kwd omr tnd"):gmatch("%a+") do THREE[name] = true end

function M.unit(currency)
  currency = currency:lower()
  return WHOLE[currency] and 1000000 or THREE[currency] and 1000 or 10000
end

return M
