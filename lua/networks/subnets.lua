-- Subnets: parts of a VPC that machines have their addresses in. The record "subnet": {id, owner, vpc_id, name, cidr_block,
-- gateway, created_at, updated_at, version}; which of its addresses are taken is addresses.lua's.
--
--   subnets.create(actor, spec) -> record, operation | nil, err      subnets.delete(actor, id) -> operation | nil, err
--   subnets.of(actor, vpc) -> {JSON text...} | nil, err               subnets.objects: networks/objects.lua
-- The operation is the one that puts it in force.

local addresses = require "addresses"
local cidr = require "networks.cidr"
local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local networks = require "networks"
local objects = require "networks.objects"
local requested = require "requested"
local runner = require "runner"
local store = require "store"
local users = require "accounts.users"
local vpcs = require "networks.vpcs"

local M = {}

local MOST = 64 -- of a VPC

M.objects = objects.new { kind = "subnet", what = "subnet", part = "subnet", scope = function(rec) return rec.vpc_id end }

M.fields = {
  vpc_id = { "string", required = true, min = 1, max = 128 },
  name = { "string", required = true, check = ids.name_fault },
  cidr_block = { "string", required = true, max = 18, check = cidr.subnet_fault },
}

local function invalid(message) return errors.new("invalid", "cidr_block: " .. message, { field = "cidr_block" }) end

-- Why it has no place in the VPC, or nil.
local function misplaced(vpc, block)
  if not cidr.within(block, vpc.cidr_block) then
    return invalid(("a part of the VPC's network %s expected"):format(vpc.cidr_block))
  end
  for _, other in ipairs(vpc.subnets) do
    if addresses.overlap(block, other.cidr_block) then
      return errors.new("conflict", ("cidr_block: it overlaps with the subnet '%s' (%s)"):format(other.name, other.cidr_block),
        { field = "cidr_block" })
    end
  end
  if #vpc.subnets >= MOST then return errors.new("quota", ("a VPC has at most %d subnets"):format(MOST)) end
end

local function without(list, id)
  local out = {}
  for _, s in ipairs(list) do
    if s.id ~= id then out[#out + 1] = s end
  end
  return json.array(out)
end

-- The VPC that a request names, which must be the actor's. -> id | nil, err
function M.vpc_of(actor, key)
  local id = vpcs.objects:find(actor, key)
  if id then return id end
  return errors.fail("invalid", "vpc_id: no such VPC", { field = "vpc_id" })
end

function M.create(actor, spec)
  if not networks.configured() then return networks.off() end
  local vpc_id, err = M.vpc_of(actor, spec.vpc_id)
  if not vpc_id then return nil, err end
  local new = {
    id = crypto.uuid(), vpc_id = vpc_id, name = spec.name, cidr_block = spec.cidr_block, gateway = cidr.gateway(spec.cidr_block),
  }
  return vpcs.add(actor, M.objects, new, "subnet_created", function(_, vpc, rec)
    local wrong = misplaced(vpc, rec.cidr_block)
    if wrong then return wrong end
    local out = { unpack(vpc.subnets) }
    out[#out + 1] = { id = rec.id, name = rec.name, cidr_block = rec.cidr_block }
    vpc.subnets = json.array(out)
  end)
end

-- The machines that have an address there, by name, for a sentence.
local function machines_in(id)
  local out = {}
  for _, row in ipairs(store.scan("instance_subnet", { prefix = id .. "/", limit = 100 })) do
    local rec = store.get("instance", row.key:sub(#id + 2))
    out[#out + 1] = rec and rec.name or nil
  end
  return #out > 0 and "the machines " .. vpcs.names(out, 5) or "machines"
end

function M.delete(actor, id)
  local vpc_id
  local op, err = store.update(function(tx)
    local rec = tx:get("subnet", id)
    if not rec then return M.objects:not_found() end
    local stale = requested.outdated(actor, rec)
    if stale then return nil, stale end
    if not addresses.is_empty(tx, cidr.pool(id, rec.cidr_block)) then
      return errors.fail("conflict", ("%s have addresses in the subnet '%s'; delete them first"):format(machines_in(id),
        rec.name))
    end
    vpc_id = rec.vpc_id
    local by = users.by(actor)
    local op, why = vpcs.change(tx, vpc_id, by, "subnet_deleted", { subnet = id }, function(vpc)
      vpc.subnets = without(vpc.subnets, id)
    end)
    if not op then return nil, why end
    M.objects:remove(tx, rec, "deleted", by)
    return op
  end)
  if not op then return nil, err end
  runner.drive("vpc", vpc_id)
  return op
end

function M.of(actor, key)
  local id, err = M.vpc_of(actor, key)
  if not id then return nil, err end
  local texts = {}
  for _, s in ipairs(store.get("vpc", id).subnets) do texts[#texts + 1] = store.raw("subnet", s.id) end
  return texts
end

return M
