-- What is done to a volume, as workflows: volume_create, volume_clone, volume_delete, volume_snapshot, volume_snapshot_delete,
-- volume_restore. Attaching and detaching are a machine's (machines/workflows.lua).
--
-- Every call names the volume, and the snapshot, as the record does: what a cut-off try has made is found again.

local errors = require "errors"
local json = require "json"
local naming = require "machines.volumes"
local providers = require "providers"
local record = require "volumes.record"
local steady = require "steady"
local store = require "store"
local time = require "time"
local workflow = require "workflow"

workflow.subject("volume", record)

-- fn(provider, options) with the provider of the volume. Copies take what they take: a try has all that the operation has left.
local function with(x, fn)
  local p, err = providers.get(x.rec.provider)
  if not p then return nil, err end
  local value
  value, err = fn(p, { deadline = math.max(x.seconds, math.floor(steady.left(x.op.deadline_at))) })
  if value == nil and err then return nil, naming.plain(x.rec.owner, err) end
  return value, err
end

-- ---- what the record says

local function entering(status) return function(rec) record.enter(rec, status) end end

local function available(rec)
  record.enter(rec, "AVAILABLE")
  rec.error = nil
end

local function failed(rec, _, err)
  record.enter(rec, "ERROR")
  rec.error = err.message
end

-- What failed has changed nothing that matters: the volume is as it was.
local function as_before(rec, op, err)
  record.enter(rec, op.input.was)
  rec.error = err.message
end

local function made(rec, result)
  rec.made_at = time.rfc3339(time.now())
  rec.size_gib = math.max(1, result.size_gib or rec.size_gib)
end

local function refused(code)
  return code == "conflict" or code == "state" or code == "unsupported" or code == "not_found" or code == "cancelled"
end

local function snapshots_without(rec, name)
  local out = {}
  for _, s in ipairs(rec.snapshots) do
    if s.name ~= name then out[#out + 1] = s end
  end
  return out
end

-- ---- to begin

local function brief(info)
  if not info then return nil end
  return { size_gib = info.size_gib }
end

-- No undo: what the provider finds under that name is not always what this has made.
workflow.define("volume_create", {
  subject = "volume", event = "available", cancel = true,
  steps = { { name = "create", done = made, run = function(x)
    return with(x, function(p, options)
      local info, err = p:volume_create({ id = x.rec.provider_id, size_gib = x.rec.size_gib }, options)
      return brief(info), err
    end)
  end } },
  finish = available, fail = failed,
})

local function remove(x)
  return with(x, function(p, options) return p:volume_delete(x.rec.provider_id, options) end)
end

workflow.define("volume_clone", {
  subject = "volume", event = "available", cancel = true,
  steps = { { name = "clone", done = made, undo = remove, run = function(x)
    return with(x, function(p, options)
      local from = store.get("volume", x.rec.from.volume)
      if not from then return errors.fail("not_found", "the volume that it is cloned from is gone") end
      local name = x.rec.from.snapshot
      local info, err = p:volume_clone(from.provider_id, name ~= json.null and name or nil, x.rec.provider_id, options)
      return brief(info), err
    end)
  end } },
  finish = available, fail = failed,
})

-- ---- to end

workflow.define("volume_delete", {
  subject = "volume", begin = entering "DELETING",
  steps = { { name = "delete", run = remove } },
  finish = function(rec)
    record.enter(rec, "DELETED")
    rec.deleted_at, rec.snapshots, rec.error = rec.status_at, json.array {}, nil
  end,
  fail = function(rec, op, err)
    if refused(err.code) then as_before(rec, op, err) else failed(rec, op, err) end
  end,
})

-- ---- snapshots

local function delete_snapshot(x)
  return with(x, function(p, options) return p:snapshot_delete(x.rec.provider_id, x.op.input.snapshot, options) end)
end

workflow.define("volume_snapshot", {
  subject = "volume", begin = entering "SNAPSHOTTING", event = "snapshot_created", cancel = true,
  steps = { { name = "snapshot", undo = delete_snapshot, run = function(x)
    return with(x, function(p, options)
      local s, err = p:snapshot_create(x.rec.provider_id, x.op.input.snapshot, options)
      return s and { size_gib = s.size_gib, created_at = s.created_at }, err
    end)
  end, done = function(rec, s, op)
    local list = snapshots_without(rec, op.input.snapshot)
    list[#list + 1] = { name = op.input.snapshot, size_gib = s.size_gib, created_at = time.rfc3339(s.created_at) }
    rec.snapshots = json.array(list)
  end } },
  finish = available, fail = as_before,
})

workflow.define("volume_snapshot_delete", {
  subject = "volume", begin = entering "SNAPSHOTTING", event = "snapshot_deleted",
  steps = { { name = "delete", run = delete_snapshot, done = function(rec, _, op)
    rec.snapshots = json.array(snapshots_without(rec, op.input.snapshot))
  end } },
  finish = available, fail = as_before,
})

-- Begun, it is seen through: half a restore is neither what was nor what is wanted.
workflow.define("volume_restore", {
  subject = "volume", begin = entering "RESTORING", event = "restored",
  steps = { { name = "restore", run = function(x)
    return with(x, function(p, options) return p:volume_restore(x.rec.provider_id, x.op.input.snapshot, options) end)
  end } },
  finish = available,
  fail = function(rec, op, err)
    if refused(err.code) then as_before(rec, op, err) else failed(rec, op, err) end
  end,
})
