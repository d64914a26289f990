-- What is done to a machine, as workflows: create, start, recover, restart, stop, suspend, delete, cleanup, resize, attach,
-- detach, snapshot, snapshot_delete, restore.
--
-- Provider calls name a machine by cc-<short>, which every provider derives from the record: what a cut-off attempt
-- has made is found again, by whoever goes on.

local agent_secret = require "machines.agent_secret"
local attached = require "volumes.machines"
local errors = require "errors"
local host_http = require "http"
local json = require "json"
local policy = require "policy"
local providers = require "providers"
local provisioning = require "policy.provisioning"
local record = require "machines.record"
local snapshots = require "snapshots"
local statuses = require "statuses"
local store = require "store"
local time = require "time"
local types = require "types"
local volumes = require "machines.volumes"
local vpc = require "machines.vpc"
local vpcs = require "networks.vpcs"
local workflow = require "workflow"

workflow.subject("instance", record)

local M = {}

M.terminals = {} -- setup.lua: {ring =, sessions =} of the agents that start from now on

local function at_provider(rec) return "cc-" .. rec.short end

-- What the provider is to make, from the record.
local function spec_of(rec)
  return {
    id = rec.id, short = rec.short, name = rec.name, owner = rec.owner, image = rec.image, type = rec.type,
    location = rec.location ~= json.null and rec.location or nil, vcpu = rec.resources.vcpu,
    memory_mib = rec.resources.memory_mib, disk_gib = rec.resources.disk_gib, env = rec.env, cmd = rec.cmd,
    network = rec.network, volumes = volumes.mounts(rec), ports = rec.ports, labels = rec.labels, ssh_keys = rec.ssh_keys,
    address = rec.address, vpc = vpc.place(rec), user_data = provisioning.user_data(rec), agent_key = agent_secret.key(rec),
    ring = M.terminals.ring, sessions = M.terminals.sessions,
  }
end

-- fn(provider, name at the provider, options) with the provider of the machine. -> what fn returns
local function with(x, fn)
  local p, err = providers.get(x.rec.provider)
  if not p then return nil, err end
  local value
  value, err = fn(p, at_provider(x.rec), { deadline = x.seconds, secret = agent_secret.get(x.rec) })
  if value == nil and err then return nil, volumes.plain(x.rec.owner, err) end
  return value, err
end

-- ---- effects

-- Each by its own workflow, which is waited for.
local function make_volumes(x)
  for _, v in ipairs(x.rec.volumes) do
    local ok, err = attached.ready(x.rec, v.id, x.seconds)
    if not ok then return nil, volumes.plain(x.rec.owner, err) end
  end
  return true
end

-- Of a machine that was plugged in: what its groups say is in force before it counts as done. -> info | nil, err
local function in_network(x, info, err)
  if not info or not vpc.has(x.rec) then return info, err end
  local ok, why = vpcs.settle(x.rec.vpc_id, math.min(x.seconds, 30))
  if not ok then return nil, why end
  return info
end

-- ... and of one that is off, soon. -> value | nil, err
local function out_of_network(x, value, err)
  if value == nil or not vpc.has(x.rec) then return value, err end
  local ok, why = vpcs.touch(x.rec.vpc_id)
  if not ok then return nil, why end
  return value
end

-- Called in the step that has started a machine, which may take `seconds` more, with its record as it will be: what it is to be
-- told first (claude.lua). It fails for nobody.
function M.on_up(rec, seconds) end -- luacheck: ignore 212

local function greeted(x, info, err)
  if not info then return nil, err end
  local rec = record.edit(x.rec)
  rec.provider_id = info.provider_id
  M.on_up(rec, x.seconds)
  return info
end

-- Whether another process has not ended the operation meanwhile: it may have deleted what is to be made.
local function wanted(x)
  local op = store.get("operation", x.op.id)
  if op and op.version == x.op.version then return true end
  return errors.fail("state", "the operation was ended meanwhile")
end

-- A create that was cut off may have made it, and it may be stopped by now.
local function create(x)
  local ok, why = agent_secret.ensure(x.rec)
  if ok then ok, why = wanted(x) end
  if not ok then return nil, why end
  return in_network(x, greeted(x, with(x, function(p, name, options)
    local info, err = p:create(spec_of(x.rec), options)
    if info and info.state == "stopped" then return p:start(name, options, spec_of(x.rec)) end
    return info, err
  end)))
end

local effects

-- What is not there any more is made anew.
local function start(x)
  local known, unknown = agent_secret.ensure(x.rec)
  if not known then return nil, unknown end
  local info, err = with(x, function(p, name, options) return p:start(name, options, spec_of(x.rec)) end)
  if info or err.code ~= "not_found" then return in_network(x, greeted(x, info, err)) end
  local ready, why = provisioning.prepare(x, effects)
  if not ready then return nil, why end
  info, err = create(x)
  if info then info.anew = true end
  return info, err
end

local function stop(x)
  return out_of_network(x, with(x, function(p, name, options)
    local ok, err = p:stop(name, options)
    if not ok and err.code ~= "not_found" then return nil, err end
    return true
  end))
end

-- With what was made for it alone: its own volume, at /claude-data where none was asked for. Volumes that somebody named, and
-- that have records, stay.
local function destroy(x)
  return out_of_network(x, with(x, function(p, name, options)
    options.purge = true
    return p:destroy(name, options)
  end))
end

-- ---- what the record says

local function entering(status) return function(rec) record.enter(rec, status) end end

-- What the provider told of a machine that runs; a result of a policy's own step says nothing of it.
local function note_info(rec, info)
  if not info.provider_id then return end
  rec.provider_id = info.provider_id
  rec.unenforced = info.unenforced
  rec.ssh = info.ssh or json.null
  rec.published = info.published -- where its ports are reached at the provider's host
end

-- What a step keeps in the operation: a fact, not the provider's whole answer.
local function brief(fn)
  return function(x)
    local info, err = fn(x)
    if not info then return nil, err end
    return {
      provider_id = info.provider_id, unenforced = info.unenforced, ssh = info.ssh, published = info.published,
      anew = info.anew,
    }
  end
end

local function is_running(rec)
  record.enter(rec, "RUNNING")
  rec.error = nil
  rec.last_activity_at = rec.status_at
end

-- Work that failed leads where its status leads when its time is over.
local function failed(rec, _, err)
  record.enter(rec, statuses.get(rec.status).expires or "ERROR")
  rec.error = err.message
end

-- ... and work that succeeded where the table says.
local function done(rec)
  record.enter(rec, statuses.get(rec.status).done)
  rec.error = nil
end

-- A start or create that was cancelled, and undone, leaves a machine that is off; any other failure is an ERROR. A start of
-- what ran leaves it running.
local function failed_to_start(rec, op, err, undone)
  if err.code ~= "cancelled" or not undone then return failed(rec, op, err) end
  if op.input.was == "RUNNING" then return record.enter(rec, "RUNNING") end
  record.enter(rec, "STOPPED")
  if #rec.queue == 0 then rec.desired = "STOPPED" end
end

-- ---- to run and to stop

local function set_type(rec, name)
  local kind = types.get(name)
  rec.type = kind.name
  rec.resources = { vcpu = kind.vcpu, memory_mib = kind.memory_mib, disk_gib = kind.disk_gib }
end

local elsewhere = { limit = true, unavailable = true, full = true, unsupported = true, timeout = true, failed = true }

-- A place that cannot make it now: the next one of the policy, if it has one (policies/placement.lua).
local function in_another_place(rec, op)
  local list = op.input.fallbacks
  local place = list and list[1]
  if not place or not elsewhere[op.error.code] or not types.get(place.type) or #rec.queue > 0 then return nil end
  if place.provider ~= rec.provider and attached.bound(rec) then return nil end -- the data of its volumes are here
  if rec.image == providers.default_image(rec.provider) then rec.image = providers.default_image(place.provider) end
  rec.provider, rec.location, rec.provider_id = place.provider, place.location or json.null, json.null
  set_type(rec, place.type)
  record.enter(rec, "STARTING")
  return { fallbacks = json.array { unpack(list, 2) } }
end

local creating = {
  kind = "create", subject = "instance", cancel = true, instead = in_another_place,
  steps = { -- of operations that began before policies/provision.lua had them
    { name = "volumes", when = function(rec) return #rec.volumes > 0 end, run = make_volumes },
    { name = "create", run = brief(create), done = note_info, undo = destroy },
  },
  lacks = function(rec)
    if rec.provider_id ~= json.null then return nil end
    return errors.new("failed", "no step has made a machine: none gave its provider_id")
  end,
  finish = is_running, fail = failed_to_start,
}

-- A command on the machine that is being made, as its policy asks for it.
local function exec(x, cmd, seconds)
  return with(x, function(p, name, options)
    return p:exec(name, {
      cmd = cmd, timeout = math.min(seconds or 60, 3600), deadline = options.deadline, secret = options.secret,
    })
  end)
end

-- What the steps of policies may ask for.
effects = {
  ["machine.make_volumes"] = make_volumes, ["machine.create"] = brief(create), ["machine.destroy"] = destroy,
  ["machine.start"] = brief(start), ["machine.stop"] = stop, ["machine.exec"] = exec,
  ["http.request"] = function(x, spec)
    spec.timeout = math.min(spec.timeout or 30, x.seconds)
    return host_http.request(spec)
  end,
}

-- Defines a workflow whose steps policies have, or join: with those of the generation that it began under.
local function define(kind, def)
  workflow.define(kind, def)
  workflow.stamp[kind] = provisioning.stamp
  workflow.resolve[kind] = function(op)
    local gen = policy.of(op.generation)
    return gen and provisioning.definition(gen, def, effects, note_info)
  end
end

define("create", creating)

-- What a start has to take back: nothing where the machine ran before it was asked for.
local function stop_again(x)
  if x.op.input.was == "RUNNING" then return true end
  return stop(x)
end

local starting = {
  subject = "instance", cancel = true, begin = entering "STARTING",
  refuses = function(rec) return rec.status == "DELETED" and "the machine was deleted meanwhile" or nil end,
  steps = { { name = "start", run = brief(start), done = note_info, undo = stop_again } },
  finish = is_running, fail = failed_to_start,
}
define("start", starting)

-- The same, asked by nobody: a machine that should run was found not to. Only who cancels it wants it off: one that could
-- not be started now may come up by itself, and the sweeps see to the rest.
local recovering = {}
for k, v in pairs(starting) do recovering[k] = v end
recovering.steps = { { name = "start", run = brief(start), done = note_info, undo = function(x)
  if x.op.outcome ~= "cancelled" then return true end
  return stop(x)
end } }
define("recover", recovering)

workflow.define("stop", {
  subject = "instance", begin = entering "STOPPING",
  refuses = starting.refuses,
  steps = { { name = "stop", run = stop } },
  finish = done, fail = failed,
})

-- It keeps its memory, and its place: it stays RUNNING. A start goes on.
workflow.define("suspend", {
  subject = "instance", cancel = true, event = "suspended",
  steps = { { name = "suspend", undo = brief(start), run = function(x)
    return with(x, function(p, name, options) return p:suspend(name, options) end)
  end } },
  finish = function(rec) rec.suspended_at = time.rfc3339(time.now()) end,
  fail = function(rec, op, err, undone)
    if not undone then return failed(rec, op, err) end
  end,
})

-- ---- to end

define("delete", {
  subject = "instance", overtakes = true, begin = entering "DELETING",
  steps = { { name = "destroy", run = destroy } },
  finish = function(rec)
    done(rec)
    rec.deleted_at = rec.status_at
  end,
  fail = failed,
})

-- A machine that is DELETED was found at its provider: an overtaken create had gone on there. The record says so still.
workflow.define("cleanup", {
  subject = "instance", event = "cleaned",
  steps = { { name = "destroy", run = destroy } },
  finish = function(rec) rec.cleaned_at = time.rfc3339(time.now()) end,
  fail = function(rec, _, err) rec.error = err.message end,
})

-- ---- changes that need a machine to be off: what runs is stopped before and started after

local function ran(_, op) return op.input.ran end

-- With the step `middle`, if there is one, while it is off; a failure starts what ran, as it was.
local function off_and_on(middle)
  local steps = {
    { name = "stop", when = ran, enter = entering "STOPPING", run = stop,
      undoing = entering "STARTING", undo = brief(start), undone = is_running },
    { name = "start", when = ran, enter = entering "STARTING", run = brief(start), done = note_info,
      undoing = entering "STOPPING", undo = stop },
  }
  if middle then table.insert(steps, 2, middle) end
  return steps
end

local function on_again(rec, op)
  if op.input.ran then is_running(rec) end
end

local function back_or_failed(rec, op, err, undone)
  if not undone then return failed(rec, op, err) end
end

local function nothing() return true end

-- What a policy wants of one that fails (healing.lua).
define("restart", {
  subject = "instance", cancel = true, undone_to_yield = true, event = "restarted",
  steps = off_and_on(), finish = on_again, fail = back_or_failed,
})

-- The start applies it. What has a disk that grows keeps one that is larger than its new type's: no disk ever shrinks.
define("resize", {
  subject = "instance", cancel = true, undone_to_yield = true, event = "resized",
  steps = off_and_on {
    name = "change", run = nothing, undo = nothing,
    done = function(rec, _, op)
      set_type(rec, op.input.type)
      rec.resources.disk_gib = math.max(rec.resources.disk_gib, op.input.disk_gib or 0)
    end,
    undone = function(rec, op)
      set_type(rec, op.input.from)
      rec.resources.disk_gib = op.input.disk_gib or rec.resources.disk_gib
    end,
  },
  finish = on_again, fail = back_or_failed,
})

local function without(list, id)
  local out = {}
  for _, v in ipairs(list) do
    if v.id ~= id then out[#out + 1] = v end
  end
  return json.array(out)
end

local function with_volume(list, volume)
  local out = without(list, volume.id)
  out[#out + 1] = volume
  return out
end

local function attach_volume(x)
  local v = x.op.input.volume
  return with(x, function(p, name, options)
    local ok, err = attached.ready(x.rec, v.id, x.seconds)
    if not ok then return nil, err end
    return p:attach(name, { id = volumes.at(x.rec, v.id), path = v.path }, options)
  end)
end

local function detach_volume(x)
  return with(x, function(p, name, options)
    local ok, err = p:detach(name, volumes.at(x.rec, x.op.input.volume.id), options)
    if not ok and err.code ~= "not_found" then return nil, err end
    return true
  end)
end

define("attach", {
  subject = "instance", cancel = true, undone_to_yield = true, event = "attached",
  steps = off_and_on {
    name = "attach", run = attach_volume, undo = detach_volume,
    done = function(rec, _, op) rec.volumes = with_volume(rec.volumes, op.input.volume) end,
    undone = function(rec, op) rec.volumes = without(rec.volumes, op.input.volume.id) end,
  },
  finish = on_again, fail = back_or_failed,
})

define("detach", {
  subject = "instance", cancel = true, undone_to_yield = true, event = "detached",
  steps = off_and_on {
    name = "detach", run = detach_volume, undo = attach_volume,
    done = function(rec, _, op) rec.volumes = without(rec.volumes, op.input.volume.id) end,
    undone = function(rec, op) rec.volumes = with_volume(rec.volumes, op.input.volume) end,
  },
  finish = on_again, fail = back_or_failed,
})

-- ---- snapshots of all of it: its disk and the volume that was made for it

local function of_snapshot(method)
  return function(x)
    return with(x, function(p, name, options) return p[method](p, name, x.op.input.snapshot, options) end)
  end
end

local function with_snapshot(rec, _, op)
  local list = snapshots.without(rec.snapshots, op.input.snapshot)
  list[#list + 1] = { name = op.input.snapshot, created_at = time.rfc3339(time.now()) }
  rec.snapshots = list
end

local function forget_snapshot(rec, op) rec.snapshots = snapshots.without(rec.snapshots, op.input.snapshot) end

define("snapshot", {
  subject = "instance", cancel = true, undone_to_yield = true, event = "snapshot_taken",
  steps = off_and_on {
    name = "snapshot", run = of_snapshot "machine_snapshot", undo = of_snapshot "machine_snapshot_delete",
    done = with_snapshot, undone = forget_snapshot,
  },
  finish = on_again, fail = back_or_failed,
})

-- What was taken away or overwritten cannot be had again: an undo only starts what ran.
define("snapshot_delete", {
  subject = "instance", event = "snapshot_deleted",
  steps = off_and_on {
    name = "snapshot_delete", run = of_snapshot "machine_snapshot_delete", undo = nothing,
    done = function(rec, _, op) forget_snapshot(rec, op) end,
  },
  finish = on_again, fail = back_or_failed,
})

define("restore", {
  subject = "instance", event = "restored",
  steps = off_and_on { name = "restore", run = of_snapshot "machine_restore", undo = nothing },
  finish = on_again, fail = back_or_failed,
})

local leads = { create = "RUNNING", start = "RUNNING", recover = "RUNNING", stop = "STOPPED", delete = "DELETED",
  suspend = "SUSPENDED" } -- which is no status, and nobody's wish

-- The settled status that an operation leads to, or nil for one that leaves a machine as it is.
function M.leads(op) return leads[op.kind] or op.input.ran and "RUNNING" or nil end

return M
