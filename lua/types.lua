-- Machine types: what a name means in processors, memory and disk.
-- types.get(name) -> {name, vcpu, memory_mib, disk_gib} | nil;  types.list() in ascending size.

local M = {}

M.default = "small"

local catalogue = {
  { name = "tiny", vcpu = 1, memory_mib = 512, disk_gib = 5 },
  { name = "small", vcpu = 1, memory_mib = 2048, disk_gib = 20 },
  { name = "medium", vcpu = 2, memory_mib = 4096, disk_gib = 40 },
  { name = "large", vcpu = 4, memory_mib = 8192, disk_gib = 80 },
}

local by_name = {}
for _, t in ipairs(catalogue) do by_name[t.name] = t end

function M.get(name) return by_name[name] end
function M.list() return catalogue end

return M
