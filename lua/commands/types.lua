-- cchost types: the machine types on offer.

local command = require "command"
local types = require "types"

local M = {}

M.help = [[
usage: cchost types [--json]

Prints name, processors, memory and disk of every machine type.

  --json   one JSON object a line
]]

function M.run(argv)
  command.read(argv, { usage = "cchost types [--json]" })
  for _, t in ipairs(types.list()) do
    local default = t.name == types.default
    command.tell({ name = t.name, vcpu = t.vcpu, memory_mib = t.memory_mib, disk_gib = t.disk_gib, default = default },
      "%-8s %d vCPU %6d MiB memory %4d GiB disk%s", t.name, t.vcpu, t.memory_mib, t.disk_gib, default and "   (default)" or "")
  end
  return 0
end

return M
