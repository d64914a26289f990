-- ccc types: what can be had by the hour.

local amount = require "billing.amount"
local args = require "ccc.args"
local json = require "json"
local say = require "ccc.say"

local M = {}

M.help = [[
Usage: ccc types

Shows the available server types, with about what they cost at Hetzner by the hour and by a month of 730 hours, and what an
hour is sold for here (policies/plans.lua).

Options:
]] .. args.common_help

local HOURS_OF_MONTH = 730

-- Pure. The line of a type, as the scripts had it.
function M.line(t)
  local price = ""
  if t.list_eur_micro then
    price = ("~€%.3f/hr  ~€%.0f/mo"):format(t.list_eur_micro / 1e6, t.list_eur_micro * HOURS_OF_MONTH / 1e6)
  end
  local disk = ("%dGB"):format(t.disk_gib)
  return (("  %-5s  %d vCPU, %.4gGB RAM, %-7s%s"):format(t.name, t.vcpu, t.memory_mib / 1024, disk, price):gsub("%s+$", ""))
end

-- Pure. What we ask, or nil where that is nothing, or what the lines have said.
function M.sold(list)
  local out, currency, other = {}, nil, false
  for _, t in ipairs(list) do
    if t.hour_micro and t.hour_micro > 0 then
      out[#out + 1], currency = ("%s %s"):format(t.name, amount.text(t.hour_micro)), t.currency
      other = other or t.hour_micro ~= t.list_eur_micro
    end
  end
  return other and ("Sold by the hour at (%s): %s"):format(currency, table.concat(out, ", ")) or nil
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
  local sold = M.sold(out)
  if sold then say.line("%s", sold) end
end

return M
