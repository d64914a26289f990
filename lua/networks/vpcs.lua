-- VPCs: networks of a user's own, each a bridge of its own, and the durable work that makes them what the store says.
--
-- The record "vpc": {id, owner, name, cidr_block, status, desired = "AVAILABLE" | "DELETED", bridge, error, subnets = {{id, name,
-- cidr_block}...}, security_groups = {id...}, created_at, updated_at, version, operation, queue}. status: CREATING, AVAILABLE,
-- DELETING, ERROR (the sweep tries again). Its list of subnets is what a new one is checked against, in one commit.
--
-- All that touches the switch is an operation on the VPC, so one follows the other: vpc_create and vpc_apply put the whole plan
-- (networks/plan.lua) in force, vpc_delete takes the bridge away. Who changes something asks for vpc_apply in the same commit;
-- one that waits already is enough for all who ask meanwhile, for it reads the plan when it begins.
--
--   vpcs.create(actor, spec) -> record, operation | nil, err
--   vpcs.delete(actor, id, seconds) -> true: it is gone | record, operation | nil, err
--   vpcs.objects                                                   networks/objects.lua
--   in an update:
--   vpcs.change(tx, id, by, type, note, fn(rec) -> err or nil) -> operation | nil, err     edits it and asks for vpc_apply
--   vpcs.settle(id, seconds) -> true | nil, err       [yields] what the store says now is in force
--   vpcs.touch(id) -> true | nil, err                 [yields] it will be
--   vpcs.wait(operation, seconds)                     [yields] at most so long
--   vpcs.add(actor, objects, new, type, fn(tx, vpc, rec) -> err or nil) -> record, operation | nil, err     [yields] makes what
--     a VPC has, of what is to be its record; fn puts it into the VPC's

local cidr = require "networks.cidr"
local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local log = require "log"
local machine_record = require "machines.record"
local networks = require "networks"
local objects = require "networks.objects"
local plan = require "networks.plan"
local requested = require "requested"
local runner = require "runner"
local store = require "store"
local time = require "time"
local users = require "accounts.users"
local workflow = require "workflow"

local M = {}

local WAIT_SECONDS = 30

M.objects = objects.new { kind = "vpc", what = "VPC", by_name = true, scope = function(rec) return rec.owner end }

M.fields = {
  name = { "string", required = true, check = ids.name_fault },
  cidr_block = { "string", max = 18, check = cidr.vpc_fault },
}

-- ---- the subject of its workflows

local subject = { edit = machine_record.edit, differs = machine_record.differs }

function subject.get(tx, id) return tx:get("vpc", id) end

local function count(tx, owner, n)
  local held = (tx:get("vpc_held", owner) or { n = 0 }).n + n
  if held == 0 then tx:del("vpc_held", owner) else tx:put("vpc_held", owner, { n = held }) end
end

function subject.save(tx, old, rec, type, by, note)
  if rec.status ~= "DELETED" then return M.objects:save(tx, old, rec, type, by, note) end
  M.objects:remove(tx, rec, type, by, note)
  count(tx, rec.owner, -1)
end

workflow.subject("vpc", subject)

-- ---- effects

-- Nobody who is gone, or is off, has a port. What is plugged in that the plan does not know passes nothing; it is taken away
-- here, when its machine's record says that it needs none.
local function tidy_ports(n, vpc, machines, options)
  local plugs, err = n:port_list(vpc.id, options)
  if not plugs then return nil, err end
  for _, plug in ipairs(plugs) do
    local rec = machines[plug.id]
    if not rec or rec.status == "STOPPED" and rec.desired == "STOPPED" then
      local ok, why = n:port_remove(plug.id, options)
      if not ok then return nil, why end
      log.info("networks", "a port was left, and is gone", { vpc = vpc.id, machine = plug.id })
    end
  end
  return true
end

-- The bridge, found again where it is there.
local function make(x)
  local n, err = networks.driver()
  if not n then return nil, err end
  local made, why = n:vpc_create(x.rec.id, { deadline = x.seconds })
  if not made then return nil, why end
  return { bridge = made.bridge }
end

local function apply(x)
  local n, err = networks.driver()
  if not n then return nil, err end
  local vpc = store.get("vpc", x.rec.id)
  local now, machines = plan.of(vpc)
  local options = { deadline = x.seconds }
  local ok, why = tidy_ports(n, vpc, machines, options)
  if not ok then return nil, why end
  return n:apply(vpc.id, now, options)
end

local function remove(x)
  local n, err = networks.driver()
  if not n then return nil, err end
  local options = { deadline = x.seconds }
  local ok, why = tidy_ports(n, x.rec, {}, options)
  if not ok and why.code ~= "not_found" then return nil, why end
  return n:vpc_remove(x.rec.id, options)
end

local function steps()
  return {
    { name = "bridge", run = make, done = function(rec, made) rec.bridge = made.bridge end },
    { name = "flows", run = apply },
  }
end

-- Any that comes to its end has put all in force, so it also ends what an earlier one could not.
local function define(kind, event)
  workflow.define(kind, {
    subject = "vpc", event = event, steps = steps(),
    finish = function(rec) rec.status, rec.error = "AVAILABLE", nil end,
    fail = function(rec, _, err)
      rec.error = err.message
      if rec.status == "CREATING" then rec.status = "ERROR" end
    end,
  })
end
define("vpc_create", "available")
define("vpc_apply", "applied")

workflow.define("vpc_delete", {
  subject = "vpc", event = "deleted", steps = { { name = "bridge", run = remove } },
  begin = function(rec) rec.status = "DELETING" end,
  finish = function(rec) rec.status = "DELETED" end,
  fail = function(rec, _, err) rec.status, rec.error = "ERROR", err.message end,
})

-- ---- asking for it

local function ask(tx, rec, by)
  for _, id in ipairs(rec.queue) do
    local op = tx:get("operation", id)
    if op and op.state == "queued" and op.kind == "vpc_apply" then return id end
  end
  return workflow.ask(tx, "vpc", rec, "vpc_apply", {}, by)
end

function M.change(tx, id, by, type, note, fn)
  local old = tx:get("vpc", id)
  if not old then return M.objects:not_found() end
  if old.desired == "DELETED" then
    return errors.fail("state", ("the VPC '%s' is being deleted"):format(old.name), { status_now = old.status })
  end
  local rec = machine_record.edit(old)
  local fault = fn and fn(rec)
  if fault then return nil, fault end
  local op = ask(tx, rec, by)
  if machine_record.differs(old, rec) then M.objects:save(tx, old, rec, type, by, note) end
  return op
end

function M.add(actor, kind, new, type, fn)
  local by, op = users.by(actor), nil
  local rec, err = store.update(function(tx)
    local rec = machine_record.edit(new)
    rec.created_at = time.rfc3339(tx:now())
    local fault = kind:taken(tx, rec)
    if fault then return nil, fault end
    op, fault = M.change(tx, rec.vpc_id, by, type, { [kind.part] = rec.id }, function(vpc)
      rec.owner = vpc.owner
      return fn(tx, vpc, rec)
    end)
    if not op then return nil, fault end
    kind:save(tx, nil, rec, "created", by)
    if actor.idempotent then actor.idempotent:claim(tx, rec, op, 201) end
    return rec
  end)
  if not rec then return nil, err end
  runner.drive("vpc", rec.vpc_id)
  return rec, op
end

local function asked(id)
  local op, err = store.update(function(tx)
    if not tx:get("vpc", id) then return false end
    return M.change(tx, id, "system", "apply_asked")
  end)
  if op then runner.drive("vpc", id) end
  return op, err
end

function M.touch(id)
  local op, err = asked(id)
  if op == nil then return nil, err end
  return true
end

function M.settle(id, seconds)
  local op, err = asked(id)
  if op == nil then return nil, err end
  if not op then return errors.fail("failed", "the machine's VPC is gone") end
  local done
  done, err = runner.wait(op, seconds)
  if not done then return nil, err end
  if done.state == "done" then return true end
  local why = done.error or done.last_error
  return errors.fail("unavailable", "its place in the network: " .. (why and why.message or "the switch is slow"),
    { retryable = true })
end

function M.wait(op, seconds)
  local rec = store.get("operation", op)
  if not rec then return end
  runner.drive("vpc", rec.machine)
  runner.wait(op, seconds or WAIT_SECONDS)
end

-- ---- what users ask for

local function over_quota(tx, actor, owner)
  if owner == "operator" or actor.admin or networks.quota == 0 then return nil end
  if (tx:get("vpc_held", owner) or { n = 0 }).n < networks.quota then return nil end
  return errors.new("quota", ("%d VPCs are all that you may have; delete one first"):format(networks.quota))
end

function M.create(actor, spec)
  if not networks.configured() then return networks.off() end
  local owner, by = objects.owner_of(actor), users.by(actor)
  local rec, err = store.update(function(tx)
    local rec = {
      id = crypto.uuid(), owner = owner, name = spec.name, cidr_block = spec.cidr_block or networks.cidr, status = "CREATING",
      desired = "AVAILABLE", bridge = json.null, subnets = json.array {}, security_groups = json.array {},
      created_at = time.rfc3339(tx:now()), operation = json.null, queue = json.array {},
    }
    local account = tx:get("user", owner)
    if account and account.status ~= "active" then return errors.fail("denied", "the account is " .. account.status) end
    local fault = M.objects:taken(tx, rec) or over_quota(tx, actor, owner)
    if fault then return nil, fault end
    count(tx, owner, 1)
    workflow.ask(tx, "vpc", rec, "vpc_create", {}, by)
    M.objects:save(tx, nil, rec, "created", by)
    if actor.idempotent then actor.idempotent:claim(tx, rec, rec.operation, 201) end
    return rec
  end)
  return requested.begun("vpc", rec, err, by)
end

local function names(list, most)
  local out = {}
  for i = 1, math.min(#list, most) do out[i] = list[i] end
  return table.concat(out, ", ") .. (#list > most and (" and %d more"):format(#list - most) or "")
end
M.names = names

-- What it still has, as a sentence, or nil.
local function in_use(tx, rec)
  local subnets, groups = {}, {}
  for i, s in ipairs(rec.subnets) do subnets[i] = s.name end
  for _, id in ipairs(rec.security_groups) do
    local group = tx:get("security_group", id)
    groups[#groups + 1] = group and group.name or id
  end
  local parts = {}
  if #subnets > 0 then parts[1] = "the subnets " .. names(subnets, 5) end
  if #groups > 0 then parts[#parts + 1] = "the security groups " .. names(groups, 5) end
  return #parts > 0 and ("the VPC '%s' has %s; delete them first"):format(rec.name, table.concat(parts, " and "))
end

-- In an update: asks for its end. -> operation | nil, err
local function ask_delete(tx, old, by)
  local current = workflow.current(tx, old)
  if current and current.kind == "vpc_delete" then return current.id end
  if old.desired == "DELETED" and #old.queue > 0 then return old.queue[#old.queue] end
  local why = in_use(tx, old)
  if why then return errors.fail("conflict", why, { status_now = old.status }) end
  local rec = machine_record.edit(old)
  rec.desired = "DELETED"
  local op = workflow.ask(tx, "vpc", rec, "vpc_delete", {}, by)
  M.objects:save(tx, old, rec, "delete_asked", by)
  return op
end

-- In an update, by the sweep: what could not be done is tried again. -> operation or nil
function M.again(tx, id)
  local old = tx:get("vpc", id)
  if not old or workflow.current(tx, old) then return nil end
  if old.desired == "DELETED" then return ask_delete(tx, old, "system") end
  return M.change(tx, id, "system", "drift_found")
end

function M.delete(actor, id, seconds)
  local op, err = store.update(function(tx)
    local old = tx:get("vpc", id)
    if not old then return M.objects:not_found() end
    local stale = requested.outdated(actor, old)
    if stale then return nil, stale end
    return ask_delete(tx, old, users.by(actor))
  end)
  if not op then return nil, err end
  M.wait(op, seconds)
  local done, rec = store.get("operation", op), store.get("vpc", id)
  if not rec then return true end
  if done and done.state == "failed" then return errors.fail("failed", "the VPC cannot be deleted: " .. done.error.message) end
  return rec, op
end

return M
