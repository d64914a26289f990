-- cchost types: the machine types on offer.

local sys = require "sys"
local types = require "types"

local M = { help = "usage: cchost types\n\nPrints name, processors, memory and disk of every machine type.\n" }

function M.run()
  for _, t in ipairs(types.list()) do
    sys.stdout(("%-8s %d vCPU %6d MiB memory %4d GiB disk%s\n"):format(t.name, t.vcpu, t.memory_mib, t.disk_gib,
      t.name == types.default and "   (default)" or ""))
  end
  return 0
end

return M
