-- Does the switch have what the store says? A VPC whose flows are others (Open vSwitch was started again, somebody changed
-- them), whose bridge is gone, or where a port was left, is put in force again by an operation of its own; a bridge of ours that
-- no record knows is taken away, if nothing is plugged in. serve calls it every SWEEP_SECONDS.
--
--   sweep.run() -> {repaired =, orphans =} | nil, err      [yields]

local log = require "log"
local machine_vpc = require "machines.vpc"
local networks = require "networks"
local plan = require "networks.plan"
local vpcs = require "networks.vpcs"
local runner = require "runner"
local store = require "store"
local task = require "task"
local walk = require "walk"
local workflow = require "workflow"

local M = {}


-- Ports whose machine needs none. -> {[VPC's id] = how many} | nil, err
local function left_ports(n)
  local plugs, err = n:port_list(nil)
  if not plugs then return nil, err end
  local out = {}
  for _, plug in ipairs(plugs) do
    local rec = store.get("instance", plug.id)
    local stays = rec and machine_vpc.has(rec) and rec.vpc_id == plug.vpc and rec.status ~= "DELETED"
      and not (rec.status == "STOPPED" and rec.desired == "STOPPED")
    if not stays then out[plug.vpc] = (out[plug.vpc] or 0) + 1 end
  end
  return out
end

-- Why it is not as it should be, or nil: it is, or it cannot be told now.
local function drift(n, vpc, bridges, left)
  if vpc.error or vpc.desired == "DELETED" then return vpc.error or "it is not done" end
  if not bridges[vpc.id] then return "its bridge is not there" end
  if left[vpc.id] then return ("%d ports were left"):format(left[vpc.id]) end
  local d, err = n:verify(vpc.id, (plan.of(vpc)))
  if not d then
    log.warn("networks", "a network could not be looked at", { vpc = vpc.id, error = tostring(err) })
  elseif d.missing > 0 or d.extra > 0 then
    return ("%d flows are missing, and %d are there that should not be"):format(d.missing, d.extra)
  end
end

local function busy(vpc)
  local op = store.get("operation", vpc.operation)
  return op and not workflow.over(op)
end

-- Looked at twice: what was under way between the two readings is no drift.
local function look(n, id, bridges, left)
  local vpc = store.get("vpc", id)
  if not vpc or busy(vpc) then return false end
  local why = drift(n, vpc, bridges, left)
  if not why or busy(store.get("vpc", id) or vpc) then return false end
  local op = store.update(function(tx) return vpcs.again(tx, id) or false end)
  if not op then return false end
  log.warn("networks", "a network is put in force again", { vpc = id, reason = why })
  runner.drive("vpc", id)
  return true
end

function M.run()
  if not networks.configured() then return { repaired = 0, orphans = 0 } end
  local n, err = networks.driver()
  if not n then return nil, err end
  local list, left
  list, err = n:vpc_list()
  if not list then return nil, err end
  left, err = left_ports(n)
  if not left then return nil, err end
  local bridges, out = {}, { repaired = 0, orphans = 0 }
  for _, b in ipairs(list) do bridges[b.id] = true end
  for row in walk.index("vpc_all") do
    if not task.sleep(0) then return out end -- a place to rest at (upgrade.lua)
    out.repaired = out.repaired + (look(n, row.key, bridges, left) and 1 or 0)
  end
  for id in pairs(bridges) do
    if not store.raw("vpc", id) then -- its record is written before it is made, and goes after it
      local ok, why = n:vpc_remove(id)
      out.orphans = out.orphans + (ok and 1 or 0)
      log.warn("networks", ok and "a bridge that no record knows is gone" or "a bridge that no record knows stays",
        { vpc = id, error = not ok and tostring(why) or nil })
    end
  end
  return out
end

return M
