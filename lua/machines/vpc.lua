-- A machine's place in a network of its owner's: its subnet, its address there, its security groups, and whom they count for.
--
--   vpc.fault(spec, place) -> err or nil              what a request may not ask of this provider
--   in an update:
--   vpc.join(tx, rec, spec) -> true | nil, err        subnet_id of the request: its address is taken
--   vpc.regroup(tx, rec, groups) -> true | nil, err
--   vpc.leave(tx, rec)                                the address is free again
--   vpc.count(tx, old, rec)                           how many machines a group has: record "security_group_use" {machines = n}
--   vpc.entries(rec, out)                             indexes: instance_vpc VPC/ID, instance_subnet SUBNET/ID,
--                                                     instance_group GROUP/ID
--   vpc.mac(address) -> of its interface              made of the address, and so as unique in the VPC
--   vpc.place(rec) -> what the provider is told of it, or nil

local addresses = require "addresses"
local cidr = require "networks.cidr"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local networks = require "networks"
local providers = require "providers"
local store = require "store"

local M = {}

M.MAX_GROUPS = 16

local function invalid(field, message) return errors.new("invalid", field .. ": " .. message, { field = field }) end

local function says(v) return v ~= nil and v ~= json.null end

-- Whether it stands in a network of its owner's.
function M.has(rec) return rec.network == "vpc" end

-- Where a provider has networks of owners by itself (capability `addresses`), a subnet's name is but a mark: that there is
-- something behind the machine (netbird/steps.lua).
function M.fault(spec, place)
  if not says(spec.subnet_id) then
    if spec.security_groups and #spec.security_groups > 0 then
      return invalid("security_groups", "they are of a network: a subnet_id expected beside them")
    end
    return says(spec.vpc_id) and invalid("subnet_id", "a subnet of that VPC expected beside vpc_id") or nil
  end
  local p = providers.get(place.provider)
  local can = p and p:capabilities() or { network = {} }
  if can.addresses and not can.network.vpc and not store.raw("subnet", ids.canonical(spec.subnet_id)) then return nil end
  if not can.network.vpc then
    return errors.new("conflict", ("subnet_id: the provider '%s' has no private networks of users"):format(place.provider),
      { field = "subnet_id" })
  end
  if not networks.configured() then return select(2, networks.off()) end
  if spec.network then
    return invalid("network", "none expected beside subnet_id: the machine is in its owner's network and in no other")
  end
end

-- Fallbacks to what knows no networks are none.
function M.fallbacks(rec, list)
  if not M.has(rec) or not list then return list end
  local out = json.array {}
  for _, place in ipairs(list) do
    local p = providers.get(place.provider)
    if p and p:capabilities().network.vpc then out[#out + 1] = place end
  end
  return out
end

-- ---- in an update

local function check_groups(tx, rec, groups)
  local seen = {}
  for i, id in ipairs(groups) do
    local field = ("security_groups[%d]"):format(i - 1)
    local group = tx:get("security_group", id)
    if not group or group.owner ~= rec.owner then return nil, invalid(field, "no such security group") end
    if group.vpc_id ~= rec.vpc_id then return nil, invalid(field, "it is of another VPC than the machine's") end
    if seen[id] then return nil, invalid(field, "it is there for the second time") end
    seen[id] = true
  end
  return true
end

-- Its subnet and the VPC of that, if they are its owner's and can have it. -> subnet | nil, err
local function subnet_of(tx, rec, spec)
  local subnet = tx:get("subnet", ids.canonical(spec.subnet_id))
  if not subnet or subnet.owner ~= rec.owner then return nil, invalid("subnet_id", "no such subnet") end
  local vpc = tx:get("vpc", subnet.vpc_id)
  if says(spec.vpc_id) and spec.vpc_id:lower() ~= vpc.id and spec.vpc_id ~= vpc.name then
    return nil, invalid("vpc_id", "the subnet is of another VPC: " .. subnet.vpc_id)
  end
  if vpc.desired == "DELETED" or vpc.bridge == json.null then
    return errors.fail("state", ("the VPC '%s' is %s"):format(vpc.name, vpc.status), { status_now = vpc.status })
  end
  return subnet
end

function M.join(tx, rec, spec)
  local p = says(spec.subnet_id) and providers.get(rec.provider)
  if not p or not p:capabilities().network.vpc then return true end
  local subnet, err = subnet_of(tx, rec, spec)
  if not subnet then return nil, err end
  rec.network, rec.subnet_id, rec.vpc_id = "vpc", subnet.id, subnet.vpc_id
  local ok, why = M.regroup(tx, rec, spec.security_groups or {})
  if not ok then return nil, why end
  rec.address = addresses.take(tx, cidr.pool(subnet.id, subnet.cidr_block), rec.id)
  if rec.address then return true end
  return errors.fail("conflict", ("subnet_id: all addresses of the subnet '%s' (%s) are taken"):format(subnet.name,
    subnet.cidr_block), { field = "subnet_id" })
end

function M.regroup(tx, rec, groups)
  local list = json.array {}
  for i, id in ipairs(groups) do list[i] = ids.canonical(id) end
  local ok, err = check_groups(tx, rec, list)
  if not ok then return nil, err end
  rec.security_groups = list
  return true
end

function M.leave(tx, rec) addresses.give_back(tx, { name = "subnet/" .. rec.subnet_id }, rec.id) end

local function groups_of(rec) return rec and rec.status ~= "DELETED" and rec.security_groups or {} end

local function add(tx, group, n)
  local use = tx:get("security_group_use", group) or { machines = 0 }
  if use.machines + n == 0 then
    tx:del("security_group_use", group)
  else
    tx:put("security_group_use", group, { machines = use.machines + n })
  end
end

function M.count(tx, old, rec)
  local was = {}
  for _, id in ipairs(groups_of(old)) do was[id] = true end
  for _, id in ipairs(groups_of(rec)) do
    if not was[id] then add(tx, id, 1) end
    was[id] = nil
  end
  for id in pairs(was) do add(tx, id, -1) end
end

function M.entries(rec, out)
  if not M.has(rec) then return end
  out.instance_vpc = { [rec.vpc_id .. "/" .. rec.id] = "" }
  out.instance_subnet = { [rec.subnet_id .. "/" .. rec.id] = "" }
  out.instance_group = {}
  for _, id in ipairs(rec.security_groups) do out.instance_group[id .. "/" .. rec.id] = "" end
end

-- ---- at the provider

function M.mac(address)
  local n = addresses.parse(address)
  return ("52:54:%02x:%02x:%02x:%02x"):format(n / 16777216 % 256, n / 65536 % 256, n / 256 % 256, n % 256)
end

function M.place(rec)
  if not M.has(rec) then return nil end
  local vpc, network = store.get("vpc", rec.vpc_id), addresses.network(rec.address)
  if not vpc then return nil end
  return {
    bridge = vpc.bridge, mac = M.mac(rec.address), gateway = cidr.gateway(network), plain = networks.plain,
    cidr = network ~= vpc.cidr_block and vpc.cidr_block or nil,
  }
end

return M
