-- What is to be in force in a VPC, from the store: its subnets, its groups with their rules, and the machines that have an
-- address in it. Who is plugged in the driver sees for itself.
--
--   plan.of(vpc) -> the driver's plan (host/script/network_read.h), {[machine's id] = its record}
--
-- What is read is of several moments: a group that went meanwhile is left out, with what names it, and whoever took it away has
-- asked for another plan to be put in force.

local json = require "json"
local machine_vpc = require "machines.vpc"
local store = require "store"
local walk = require "walk"

local M = {}


local function subnets_of(vpc)
  local out, known = {}, {}
  for i, s in ipairs(vpc.subnets) do
    out[i] = { id = s.id, cidr = s.cidr_block }
    known[s.id] = true
  end
  return out, known
end

local function rules_of(group, known)
  local out = {}
  for _, r in ipairs(group.rules) do
    local remote = r.group_id ~= json.null and r.group_id or nil
    if not remote or known[remote] then
      out[#out + 1] = {
        direction = r.direction, protocol = r.protocol, from = r.port_min ~= json.null and r.port_min or nil,
        to = r.port_max ~= json.null and r.port_max or nil, cidr = r.cidr ~= json.null and r.cidr or nil, group = remote,
        priority = r.priority, deny = r.action == "deny",
      }
    end
  end
  return out
end

local function groups_of(vpc)
  local found, known, out = {}, {}, {}
  for _, id in ipairs(vpc.security_groups) do
    local group = store.get("security_group", id)
    if group then
      found[#found + 1] = group
      known[id] = true
    end
  end
  for i, group in ipairs(found) do out[i] = { id = group.id, rules = rules_of(group, known) } end
  return out, known
end

local function members(rec, known)
  local out = {}
  for _, id in ipairs(rec.security_groups) do
    if known[id] then out[#out + 1] = id end
  end
  return out
end

function M.of(vpc)
  local subnets, in_subnets = subnets_of(vpc)
  local groups, in_groups = groups_of(vpc)
  local ports, machines = {}, {}
  for row in walk.index("instance_vpc", { prefix = vpc.id .. "/" }) do
    local rec = store.get("instance", row.key:sub(#vpc.id + 2))
    if rec and rec.address and in_subnets[rec.subnet_id] then
      machines[rec.id] = rec
      ports[#ports + 1] = {
        id = rec.id, subnet = rec.subnet_id, mac = machine_vpc.mac(rec.address), address = rec.address:match("^[%d.]+"),
        groups = members(rec, in_groups),
      }
    end
  end
  return { subnets = subnets, groups = groups, ports = ports }, machines
end

return M
