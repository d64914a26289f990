-- ccc types: what can be had by the hour.

local args = require "ccc.args"
local json = require "json"
local say = require "ccc.say"

local M = {}

M.help = [[
Usage: ccc types

Shows the available server types, with their price by the hour and by a month of 730 hours.

Options:
]] .. args.common_help

local HOURS_OF_MONTH = 730

-- Pure. price: micro-units an hour, or nil
function M.line(t)
  local price = ""
  if t.hour_micro then
    price = ("~€%.3f/hr  ~€%.0f/mo"):format(t.hour_micro / 1e6, t.hour_micro * HOURS_OF_MONTH / 1e6)
  end
  local disk = ("%dGB"):format(t.disk_gib)
  return (("  %-5s  %d vCPU, %.4gGB RAM, %-7s%s"):format(t.name, t.vcpu, t.memory_mib / 1024, disk, price):gsub("%s+$", ""))
end

function M.run(argv)
  local _, _, where = args.read(argv, { usage = M.help })
  local out = json.array {}
  for _, t in ipairs(say.must(where { may_be_new = true }:types())) do
    if t.prepaid then out[#out + 1] = t end
  end
  if say.as_json then return say.json(out) end
  say.line("Available server types:")
  for _, t in ipairs(out) do say.line("%s", M.line(t)) end
end

return M
