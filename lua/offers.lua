-- What is offered, for who has not signed in yet: plans and prices of policies/plans.lua as they are on a day.
--
-- offers.of(plans, now, idle) -> {currency, default, plans, types, storage_micro, checkout, for_sale}     now: unix ms; idle:
-- seconds, of a plan that says none. Amounts are in micro-units of `currency`; docs/api.md has the fields.

local json = require "json"
local prices = require "stripe.prices"
local stripe = require "stripe"
local types = require "types"

local M = {}

-- Of a list of what holds from a day on, the oldest first, what holds on `today`.
local function on(list, today)
  local now
  for _, entry in ipairs(list or {}) do
    if entry.from <= today then now = entry end
  end
  return now
end

local function plan_of(name, plan, today, idle)
  return {
    name = name, month_micro = (on(plan.fee, today) or {}).month or 0, machines = plan.machines,
    volumes_gib = plan.volumes_gib or 0, idle_seconds = plan.idle or idle, included_hours = plan.included or 0,
    trial_hours = plan.trial or 0, overage = plan.overage == true, types = plan.types and json.array(plan.types) or json.null,
  }
end

-- Names of the plans that can be subscribed to.
local function for_sale(plans)
  local out = json.array {}
  for name in pairs(plans) do
    if stripe.configured() and prices.of(name) then out[#out + 1] = name end
  end
  table.sort(out)
  return out
end

function M.of(plans, now, idle)
  local today = os.date("!%Y-%m-%d", math.floor(now / 1000))
  local price = on(plans.price, today) or {}
  local offered, sizes = json.array {}, json.array {}
  for name, plan in pairs(plans.plans) do offered[#offered + 1] = plan_of(name, plan, today, idle) end
  table.sort(offered, function(a, b)
    if a.month_micro ~= b.month_micro then return a.month_micro < b.month_micro end
    return a.name < b.name
  end)
  for i, t in ipairs(types.list()) do
    local hour = (price.hour or {})[t.name]
    sizes[i] = {
      name = t.name, vcpu = t.vcpu, memory_mib = t.memory_mib, disk_gib = t.disk_gib, prepaid = t.prepaid == true,
      hour_micro = hour or 0, block_micro = (price.block or {})[t.name] or hour or 0,
    }
  end
  return {
    currency = plans.currency or "USD", default = plans.default, plans = offered, types = sizes,
    storage_micro = price.storage or 0, checkout = stripe.configured(), for_sale = for_sale(plans.plans),
  }
end

return M
