-- Private networks of users: VPCs, their subnets, and security groups that say who may speak with whom (docs/networks.md).
-- What is to be is in the store; what is in force is computed from that alone (networks/plan.lua) and put there by durable work
-- on the VPC (networks/vpcs.lua), one piece after the other.
--
--   networks.setup{ backend = "ovs" | "mock" | nil: none, settings = of the driver, plain =, quota =, cidr = }
--   networks.configured() -> bool        networks.off() -> nil, err
--   networks.driver() -> n | nil, err    providers/network, open; host/script/bind_network.c
--   networks.plain                       its switch computes no checksums
--   networks.quota, networks.cidr        VPCs of a user, 0: any number; what a new one is when nobody says it

local errors = require "errors"
local network = require "network"

local M = { quota = 0, cidr = "10.0.0.0/16" }

local open, backend, settings

function M.setup(o)
  backend, settings = o.backend, o.settings
  M.plain, M.quota, M.cidr = o.plain, o.quota or 0, o.cidr or M.cidr
end

function M.configured() return backend ~= nil end

function M.off()
  return errors.fail("unsupported", "this server has no private networks of users: NETWORK_BACKEND is not set")
end

function M.driver()
  if not backend then return M.off() end
  local err
  if not open then open, err = network.open(backend, settings) end
  return open, err
end

return M
