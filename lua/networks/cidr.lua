-- Networks as users write them, "10.0.0.0/16": what is one, what lies in what. Pure.
--
--   cidr.vpc_fault(text), cidr.subnet_fault(text), cidr.any_fault(text) -> why it cannot be one, or nil
--   cidr.within(inner, outer)
--   cidr.gateway(subnet) -> "10.0.0.1": whom its machines ask for the other subnets
--   cidr.pool(id, subnet) -> the pool of addresses.lua that its machines' addresses come from

local addresses = require "addresses"

local M = {}

local private = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10" }

function M.within(inner, outer)
  local _, bits = addresses.parse(inner)
  local _, most = addresses.parse(outer)
  return bits >= most and addresses.overlap(inner, outer)
end

local function fault(text, least, most)
  local n, bits = addresses.parse(text)
  if not n then return "a network like 10.0.0.0/16 expected" end
  if bits < least or bits > most then return ("a network of /%d to /%d expected, not /%d"):format(least, most, bits) end
  local clean = addresses.network(text)
  if clean ~= text then return ("nothing set behind the prefix expected: %s"):format(clean) end
end

-- Elsewhere its machines would take addresses of the internet for their own network's.
local function private_fault(text)
  for _, outer in ipairs(private) do
    if M.within(text, outer) then return nil end
  end
  return "a private network expected: in " .. table.concat(private, ", ")
end

function M.vpc_fault(text) return fault(text, 8, 28) or private_fault(text) end
function M.subnet_fault(text) return fault(text, 16, 29) end
function M.any_fault(text) return fault(text, 0, 32) end

function M.gateway(subnet) return addresses.dotted(addresses.parse(subnet) + 1) end

-- The network's own address, the gateway's and the last one are nobody's.
function M.pool(id, subnet)
  local _, bits = addresses.parse(subnet)
  return { name = "subnet/" .. id, network = subnet, size = 32, first = 2, last = 2 ^ (32 - bits) - 2 }
end

return M
