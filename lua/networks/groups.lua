-- Security groups: what may come to a machine and go from it in its VPC. The record "security_group": {id, owner, vpc_id, name,
-- description, rules, created_at, updated_at, version}. What rules mean providers/network/flows.h says: into a machine comes what
-- a rule of one of its groups allows; out goes everything, until one of its groups has a rule for that.
--
--   groups.create(actor, spec) -> record, operation | nil, err        groups.delete(actor, id) -> operation | nil, err
--   groups.add_rule(actor, id, rule) -> rule, operation | nil, err
--   groups.remove_rule(actor, id, rule's id) -> operation | nil, err
--   groups.of(actor, vpc) -> {JSON text...} | nil, err                groups.objects: networks/objects.lua
-- The operation is the one that puts it in force.

local cidr = require "networks.cidr"
local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local machine_record = require "machines.record"
local networks = require "networks"
local objects = require "networks.objects"
local plain = require "plain"
local requested = require "requested"
local runner = require "runner"
local schema = require "schema"
local store = require "store"
local subnets = require "networks.subnets"
local users = require "accounts.users"
local vpcs = require "networks.vpcs"

local M = {}

local MOST, MOST_RULES = 127, 256 -- of a VPC, of a group: CC_NET_GROUPS_MAX, CC_NET_RULES_MAX

M.objects = objects.new {
  kind = "security_group", what = "security group", part = "group", scope = function(rec) return rec.vpc_id end,
}

M.rule_fields = {
  direction = { "string", required = true, one_of = { "ingress", "egress" } },
  protocol = { "string", one_of = { "tcp", "udp", "icmp", "all" } },
  port_min = { "integer", min = 1, max = 65535 }, port_max = { "integer", min = 1, max = 65535 },
  cidr = { "string", max = 18, check = cidr.any_fault },
  group_id = { "string", pattern = "^%x[%x-]+$", max = 36, hint = "the id of a security group" },
  priority = { "integer", min = 0, max = 10000 },
  action = { "string", one_of = { "allow", "deny" } },
}

M.fields = {
  vpc_id = { "string", required = true, min = 1, max = 128 },
  name = { "string", required = true, check = ids.name_fault },
  description = { "string", max = 256, pattern = "^[^%c]*$", hint = "a line without control characters" },
  rules = { "list", max = MOST_RULES, of = { "object", fields = M.rule_fields } },
}

local function invalid(field, message) return errors.new("invalid", field .. ": " .. message, { field = field }) end

-- ---- rules

-- What its fields do not say one by one. `at`: how its place in the request is called.
local function rule_fault(r, at)
  local ports = r.protocol == "tcp" or r.protocol == "udp"
  if (r.port_min or r.port_max) and not ports then return invalid(at .. "port_min", "only with the protocol tcp or udp") end
  if r.port_max and not r.port_min then return invalid(at .. "port_min", "expected beside port_max") end
  if r.port_max and r.port_max < r.port_min then
    return invalid(at .. "port_max", ("port_min (%d) or more expected, not %d"):format(r.port_min, r.port_max))
  end
  if r.cidr and r.group_id then return invalid(at .. "group_id", "not beside cidr: a rule is for one of them") end
end

local function new_rule(r)
  return {
    id = crypto.token(6), direction = r.direction, protocol = r.protocol or "all", port_min = r.port_min or json.null,
    port_max = r.port_max or r.port_min or json.null, cidr = r.cidr or json.null,
    group_id = r.group_id and ids.canonical(r.group_id) or json.null, priority = r.priority or 100, action = r.action or "allow",
  }
end

-- Its other group must be in the same VPC; `own`: the group itself, which may be new.
local function stranger(tx, rule, own, at)
  if rule.group_id == json.null or rule.group_id == own.id then return nil end
  local other = tx:get("security_group", rule.group_id)
  if other and other.vpc_id == own.vpc_id then return nil end
  return invalid(at .. "group_id", "no such security group in this VPC")
end

local function says_the_same(a, b)
  a, b = machine_record.edit(a), machine_record.edit(b)
  a.id, b.id = nil, nil
  return plain.same(a, b)
end

-- ---- groups

function M.create(actor, spec)
  if not networks.configured() then return networks.off() end
  local rules = json.array {}
  for i, r in ipairs(spec.rules or {}) do
    local fault = rule_fault(r, ("rules[%d]."):format(i - 1))
    if fault then return nil, fault end
    rules[i] = new_rule(r)
  end
  local vpc_id, err = subnets.vpc_of(actor, spec.vpc_id)
  if not vpc_id then return nil, err end
  local new = { id = crypto.uuid(), vpc_id = vpc_id, name = spec.name, description = spec.description or "", rules = rules }
  return vpcs.add(actor, M.objects, new, "group_created", function(tx, vpc, rec)
    for i, rule in ipairs(rules) do
      local wrong = stranger(tx, rule, rec, ("rules[%d]."):format(i - 1))
      if wrong then return wrong end
    end
    if #vpc.security_groups >= MOST then
      return errors.new("quota", ("a VPC has at most %d security groups"):format(MOST))
    end
    local out = { unpack(vpc.security_groups) }
    out[#out + 1] = rec.id
    vpc.security_groups = json.array(out)
  end)
end

-- Who names it, as a sentence, or nil.
local function in_use(tx, rec)
  local use, list = tx:get("security_group_use", rec.id), {}
  if use then
    for _, row in ipairs(store.scan("instance_group", { prefix = rec.id .. "/", limit = 100 })) do
      local machine = store.get("instance", row.key:sub(#rec.id + 2))
      list[#list + 1] = machine and machine.name or nil
    end
    return ("%s the security group '%s'%s"):format(use.machines == 1 and "1 machine has" or use.machines .. " machines have",
      rec.name, #list > 0 and ": " .. vpcs.names(list, 5) or "")
  end
  for _, id in ipairs(tx:get("vpc", rec.vpc_id).security_groups) do
    local other = id ~= rec.id and tx:get("security_group", id)
    for _, rule in ipairs(other and other.rules or {}) do
      if rule.group_id == rec.id then list[#list + 1] = other.name break end
    end
  end
  return #list > 0 and ("rules of %s name the security group '%s'"):format(vpcs.names(list, 5), rec.name) or nil
end

-- Changes a group in an update, and asks for it to be put in force. fn(tx, rec) -> what is returned | nil, err.
-- -> that, operation | nil, err
local function edit(actor, id, type, fn)
  local value, op
  local vpc_id, err = store.update(function(tx)
    local old = tx:get("security_group", id)
    if not old then return M.objects:not_found() end
    local why = requested.outdated(actor, old)
    if why then return nil, why end
    local rec, by = machine_record.edit(old), users.by(actor)
    value, why = fn(tx, rec)
    if value == nil then return nil, why end
    op, why = vpcs.change(tx, rec.vpc_id, by, type, { group = id }, function(vpc)
      if not rec.gone then return end
      local out = {}
      for _, other in ipairs(vpc.security_groups) do
        if other ~= id then out[#out + 1] = other end
      end
      vpc.security_groups = json.array(out)
    end)
    if not op then return nil, why end
    if rec.gone then M.objects:remove(tx, old, "deleted", by) else M.objects:save(tx, old, rec, type, by) end
    if actor.idempotent then actor.idempotent:answered(tx, 201, json.encode(value), { Location = "/operations/" .. op }) end
    return rec.vpc_id
  end)
  if not vpc_id then return nil, err end
  runner.drive("vpc", vpc_id)
  return value, op
end

function M.delete(actor, id)
  local ok, op = edit(actor, id, "group_deleted", function(tx, rec)
    local why = in_use(tx, rec)
    if why then return errors.fail("conflict", why) end
    rec.gone = true
    return true
  end)
  if not ok then return nil, op end
  return op
end

function M.add_rule(actor, id, spec)
  local ok, err = schema.check(M.rule_fields, spec)
  if not ok then return nil, err end
  local fault = rule_fault(spec, "")
  if fault then return nil, fault end
  local rule = new_rule(spec)
  return edit(actor, id, "rule_added", function(tx, rec)
    local wrong = stranger(tx, rule, rec, "")
    if wrong then return nil, wrong end
    for _, other in ipairs(rec.rules) do
      if says_the_same(other, rule) then return errors.fail("exists", "the group has this rule already: " .. other.id) end
    end
    if #rec.rules >= MOST_RULES then
      return errors.fail("quota", ("a security group has at most %d rules"):format(MOST_RULES))
    end
    local out = { unpack(rec.rules) }
    out[#out + 1] = rule
    rec.rules = json.array(out)
    return rule
  end)
end

function M.remove_rule(actor, id, rule_id)
  local ok, op = edit(actor, id, "rule_removed", function(_, rec)
    local out = {}
    for _, rule in ipairs(rec.rules) do
      if rule.id ~= rule_id then out[#out + 1] = rule end
    end
    if #out == #rec.rules then return errors.fail("not_found", "no such rule in the security group") end
    rec.rules = json.array(out)
    return true
  end)
  if not ok then return nil, op end
  return op
end

function M.of(actor, key)
  local id, err = subnets.vpc_of(actor, key)
  if not id then return nil, err end
  local texts = {}
  for _, group in ipairs(store.get("vpc", id).security_groups) do texts[#texts + 1] = store.raw("security_group", group) end
  return texts
end

return M
