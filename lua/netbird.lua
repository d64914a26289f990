-- The mesh network: Netbird, by its management API. With NETBIRD_API_TOKEN machines join a group of their owner's, as
-- policies/netbird.lua says; without it nothing here does anything.
--
--   netbird.setup{ token =, url =, manager =, prefix =, agent_port =, a_minute = }     token nil: off
--   netbird.configured()
--   netbird.names(rec)                 netbird/names.lua, with this host's prefix
--   netbird.objects, netbird.request   netbird/objects.lua, netbird/client.lua; nil while it is off
--   netbird.script(rec)                what a machine runs to join, or nil (netbird/steps.lua)
--   netbird.device_key(rec) -> key, manager or nil | nil, err     [yields] netbird/devices.lua
--   netbird.address(rec) -> text | nil, err
--   netbird.host_key() -> {id, key} | nil, err                     [yields] with which this host joins
--   netbird.sweep() -> {removed = n} | nil, err                    [yields] netbird/sweep.lua
--   netbird.check() -> {{what =, state = "ok" | "warn" | "bad", sentence =}...}    [yields] netbird/check.lua

local check = require "netbird.check"
local client = require "netbird.client"
local devices = require "netbird.devices"
local errors = require "errors"
local names = require "netbird.names"
local objects = require "netbird.objects"
local provisioning = require "policy.provisioning"
local steps = require "netbird.steps"
local sweep = require "netbird.sweep"

local M = {}

local CLOUD = "https://api.netbird.io"

-- manager: where machines and devices join; nil: Netbird's own, which they know
function M.setup(o)
  M.url, M.prefix, M.agent_port = o.url, o.prefix or "cchost", o.agent_port or 3001
  M.manager = o.manager or o.url and o.url:gsub("/+$", "") ~= CLOUD and o.url or nil
  M.request = o.token and client.new(o) or nil
  M.objects = M.request and objects.new(M.request) or nil
end

function M.configured() return M.request ~= nil end

function M.off() return errors.fail("unsupported", "the mesh network is not configured on this server") end

function M.names(rec) return names.of(M.prefix, rec) end

function M.script(rec) return steps.script(M, rec) end

function M.device_key(rec)
  if not M.configured() then return M.off() end
  return devices.key(M, rec)
end

function M.address(rec)
  if not M.configured() then return M.off() end
  if rec.mesh and rec.mesh.address then return rec.mesh.address end
  return errors.fail("state", ("'%s' is not in the mesh network"):format(rec.name))
end

function M.host_key()
  if not M.configured() then return M.off() end
  local own = M.names { owner = "operator" }
  return M.objects:key { name = own.host_key, groups = { own.control_group } }
end

function M.sweep()
  if not M.configured() then return { removed = 0 } end
  return sweep.run(M)
end

function M.check()
  if not M.configured() then
    return { { what = "token", state = "bad", sentence = "NETBIRD_API_TOKEN is not set: machines join no mesh network" } }
  end
  return check.run(M)
end

-- Which machines the network is for: those of the providers that the policy names, once they are made.
local function applies(data, rec)
  if not M.configured() or rec.network == "none" or rec.network == "vpc" then return false end -- no way out of those
  for _, name in ipairs(data.providers) do
    if name == rec.provider then return true end
  end
  return false
end

provisioning.join("netbird", {
  applies = applies, leaves = function(_, rec) return M.configured() and rec.mesh ~= nil end,
  effects = steps.effects(M), told = function(x) return steps.told(M, x) end,
  user_data = M.script,
})

return M
