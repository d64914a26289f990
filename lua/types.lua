-- Machine types: what a name means in processors, memory and disk.
-- types.get(name) -> {name, vcpu, memory_mib, disk_gib} | nil;  types.list() in ascending size.
-- prepaid = true: sold by the hour in blocks, and listed by `ccc types`; any other can be had so, too.
-- types.priced(price, now): the list with `hour_micro`, what an hour costs at `now` (unix ms) in micro-units, by the `price` of
-- policies/plans.lua; absent where it says nothing.

local json = require "json"

local M = {}

M.default = "small"

local catalogue = {
  { name = "tiny", vcpu = 1, memory_mib = 512, disk_gib = 5 },
  { name = "small", vcpu = 1, memory_mib = 2048, disk_gib = 20 },
  { name = "medium", vcpu = 2, memory_mib = 4096, disk_gib = 40 },
  { name = "large", vcpu = 4, memory_mib = 8192, disk_gib = 80 },
  { name = "cpx11", vcpu = 2, memory_mib = 2048, disk_gib = 40, prepaid = true },
  { name = "cpx21", vcpu = 3, memory_mib = 4096, disk_gib = 80, prepaid = true },
  { name = "cpx31", vcpu = 4, memory_mib = 8192, disk_gib = 160, prepaid = true },
}

local by_name = {}
for _, t in ipairs(catalogue) do by_name[t.name] = t end

function M.get(name) return by_name[name] end
function M.list() return catalogue end

function M.priced(price, now)
  local today, hour = os.date("!%Y-%m-%d", math.floor(now / 1000)), {}
  for _, list in ipairs(price or {}) do
    if list.from <= today then hour = list.hour end
  end
  local out = json.array {}
  for i, t in ipairs(catalogue) do
    out[i] = { name = t.name, vcpu = t.vcpu, memory_mib = t.memory_mib, disk_gib = t.disk_gib, prepaid = t.prepaid or false,
      hour_micro = hour[t.name] }
  end
  return out
end

return M
