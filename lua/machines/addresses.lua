-- The address of a machine in its owner's own network, where its provider wants one chosen (capability `addresses`): every owner
-- has a network of his own, so that no two ever share one. Taken in the commit that makes the record, given back in the one that
-- says that the machine is gone, and the network with the owner's last.
--
--   addresses.take(tx, rec, places) -> true | nil, err     sets rec.address if a provider of the places wants it
--   addresses.release(tx, rec)

local addresses = require "addresses"
local providers = require "providers"
local vpc = require "machines.vpc"

local M = {}

M.network = "10.64.0.0/10" -- MACHINE_NETWORKS: cut into a /24 for each owner

local function networks() return { name = "owners", network = M.network, size = 24 } end

-- The first four are the provider's: the network's own, its router's, and what it may want besides.
local function hosts(owner, network) return { name = "owner/" .. owner, network = network, size = 32, first = 4, last = 254 } end

local function wanted(places)
  for _, place in ipairs(places) do
    local p = providers.get(place.provider)
    if p and p:capabilities().addresses then return true end
  end
  return false
end

function M.take(tx, rec, places)
  if rec.address or not wanted(places) then return true end
  local network, err = addresses.take(tx, networks(), rec.owner)
  if not network then return nil, err end
  rec.address, err = addresses.take(tx, hosts(rec.owner, network), rec.id)
  return rec.address ~= nil or nil, err
end

function M.release(tx, rec)
  if vpc.has(rec) then return vpc.leave(tx, rec) end
  local network = addresses.of(tx, networks(), rec.owner)
  if not network then return end
  local pool = hosts(rec.owner, network)
  addresses.give_back(tx, pool, rec.id)
  if addresses.is_empty(tx, pool) then addresses.give_back(tx, networks(), rec.owner) end
end

return M
