-- Machine types: what a name means in processors, memory and disk.
-- types.get(name) -> {name, vcpu, memory_mib, disk_gib} | nil;  types.list() in ascending size.
-- prepaid = true: sold by the hour in blocks, and listed by `ccc types`; any other can be had so, too.
-- list_eur_micro: about what the server of that name costs at Hetzner, in micro-euros an hour.
-- types.priced(plans, now): the list, and what we ask at `now` (unix ms) for an hour of each that is bought beforehand, by
-- policies/plans.lua: `hour_micro`, in micro-units of `currency`; absent where it says nothing.

local json = require "json"

local M = {}

M.default = "small"

local catalogue = {
  { name = "tiny", vcpu = 1, memory_mib = 512, disk_gib = 5 },
  { name = "small", vcpu = 1, memory_mib = 2048, disk_gib = 20 },
  { name = "medium", vcpu = 2, memory_mib = 4096, disk_gib = 40 },
  { name = "large", vcpu = 4, memory_mib = 8192, disk_gib = 80 },
  { name = "cpx11", vcpu = 2, memory_mib = 2048, disk_gib = 40, prepaid = true, list_eur_micro = 7000 },
  { name = "cpx21", vcpu = 3, memory_mib = 4096, disk_gib = 80, prepaid = true, list_eur_micro = 10000 },
  { name = "cpx31", vcpu = 4, memory_mib = 8192, disk_gib = 160, prepaid = true, list_eur_micro = 19000 },
}

local by_name = {}
for _, t in ipairs(catalogue) do by_name[t.name] = t end

function M.get(name) return by_name[name] end
function M.list() return catalogue end

function M.priced(plans, now)
  local today, price = os.date("!%Y-%m-%d", math.floor(now / 1000)), {}
  for _, list in ipairs(plans.price or {}) do
    if list.from <= today then price = list end
  end
  local out = json.array {}
  for i, t in ipairs(catalogue) do
    local copy = { prepaid = false }
    for k, v in pairs(t) do copy[k] = v end
    copy.hour_micro = (price.block or {})[t.name] or (price.hour or {})[t.name]
    copy.currency = copy.hour_micro and (plans.currency or "USD")
    out[i] = copy
  end
  return out
end

return M
