-- Volumes and the machines that have them: a machine's record names its volumes, a volume's record says which machine it is
-- attached to. Both are written in the same commit (follow), whatever has changed the machine.
--
-- A volume that a machine names and that there is not yet is made for it: its record and its operation come in the commit in
-- which it is asked for.

local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local machine_record = require "machines.record"
local naming = require "machines.volumes"
local record = require "volumes.record"
local runner = require "runner"
local store = require "store"
local time = require "time"
local workflow = require "workflow"

local M = {}

-- ---- a new one

-- The record of a volume that there is not yet; work on it has not begun.
function M.new_record(owner, provider, name, size_gib, from)
  local id = crypto.uuid()
  local rec = {
    id = id, name = name or "vol-" .. ids.short(id), owner = owner, provider = provider, size_gib = size_gib,
    attached_to = json.null, path = json.null, from = from or json.null, snapshots = json.array {}, made_at = json.null,
    created_at = time.rfc3339(time.now()), operation = json.null, queue = json.array {},
  }
  rec.provider_id = from and naming.of_clone(owner, id) or naming.there(owner, rec.name)
  record.enter(rec, "CREATING")
  return rec
end

-- In an update: the record and the operation that makes it. `take`: fn(rec) before it is written.
function M.make(tx, rec, by, note)
  workflow.ask(tx, "volume", rec, rec.from ~= json.null and "volume_clone" or "volume_create", nil, by)
  record.save(tx, nil, rec, "created", by, note)
end

-- ---- why a machine cannot have one, or cannot start with one

local doing = {
  SNAPSHOTTING = "a snapshot of it is taken or deleted", RESTORING = "it is being restored", DELETING = "it is being deleted",
}

-- Why nobody may write to a volume now, or nil. In an update.
local function busy(vol)
  if doing[vol.status] then return doing[vol.status] end
  if vol.status == "ERROR" and vol.made_at ~= json.null then
    return "what was under way with it has failed: " .. tostring(vol.error)
  end
  if record.cloned(vol) then return "it is being cloned" end
end

-- In an update: why a machine cannot start with the volumes that it has, or nil.
function M.not_started(tx, rec)
  for _, v in ipairs(rec.volumes) do
    local vol = record.of_machine(rec, v.id, tx)
    local why = vol and busy(vol)
    if why then return errors.new("state", ("volume %s: %s"):format(v.id, why), { status_now = rec.status }) end
  end
end

local function not_attached(tx, rec, name, new)
  local vol = record.of_machine(rec, name, tx)
  if not vol then
    new[#new + 1] = name
    return nil
  end
  local has = vol.attached_to ~= json.null and vol.attached_to or record.held_for(tx, vol)
  if has and has ~= rec.id then
    local other = machine_record.get(tx, has)
    return errors.new("conflict", ("volume %s is attached to the machine %s: detach it first"):format(name,
      other and other.name or has), { field = "volumes" })
  end
  local why = busy(vol)
  if why then return errors.new("conflict", ("volume %s: %s"):format(name, why), { field = "volumes" }) end
end

-- In an update: why a machine cannot have the volumes of `list`, or nil. Names of those that are to be made get into `new`.
function M.refusal(tx, rec, list, new)
  for _, v in ipairs(list) do
    local why = not_attached(tx, rec, v.id, new)
    if why then return why end
  end
end

-- Where the first of these volumes is that the owner has at one provider alone, or nil.
function M.provider_of(owner, list)
  for _, v in ipairs(list) do
    local found = record.named(owner, v.id)
    local vol = #found == 1 and store.get("volume", found[1])
    if vol then return vol.provider end
  end
end

-- In an update: the volume that an operation of a machine is about to attach is kept for it, and made if there is none.
function M.reserve(tx, rec, name, operation, by)
  local vol = record.of_machine(rec, name, tx)
  if not vol then
    vol = M.new_record(rec.owner, rec.provider, name, rec.resources.disk_gib)
    M.make(tx, vol, by, { machine = rec.id })
  end
  record.hold(tx, vol, rec.id, operation)
end

-- ---- the same commit

-- What a record has: {[name] = path}. One that is DELETED has none, and what others drive has none of ours.
local function has(rec)
  local out = {}
  if not rec or rec.status == "DELETED" or rec.provider == "foreign" then return out end
  for _, v in ipairs(rec.volumes) do out[v.id] = v.path end
  return out
end

local function release(tx, old, name, by)
  local was = record.of_machine(old, name, tx)
  if not was or was.attached_to ~= old.id then return end
  local vol = record.edit(was)
  vol.attached_to, vol.path = json.null, json.null
  record.save(tx, was, vol, "detached", by, { machine = old.id })
end

local function take(tx, rec, name, path, by)
  local was = record.of_machine(rec, name, tx)
  local vol = was and record.edit(was) or M.new_record(rec.owner, rec.provider, name, rec.resources.disk_gib)
  if vol.attached_to ~= json.null then return end
  vol.attached_to, vol.path = rec.id, path
  if was then record.save(tx, was, vol, "attached", by, { machine = rec.id })
  else M.make(tx, vol, by, { machine = rec.id }) end
end

-- In an update: the volume of a machine that an older cchost has made.
function M.adopt(tx, rec, v)
  local vol = M.new_record(rec.owner, rec.provider, v.id, rec.resources.disk_gib or 20)
  vol.attached_to, vol.path, vol.created_at = rec.id, v.path, rec.created_at
  local before = tx:get("volume_alias", rec.owner .. "/" .. v.id)
  if before then vol.provider_id = before.at end
  record.enter(vol, "ERROR") -- until the machine's next start says that it is there
  if rec.status ~= "STARTING" and rec.status ~= "ERROR" or (rec.provider_id or json.null) ~= json.null then
    record.enter(vol, "AVAILABLE")
    vol.made_at = rec.created_at
  end
  record.save(tx, nil, vol, "created", "system", { machine = rec.id, reason = "named by a machine of before" })
end

-- machine_record.on_save
function M.follow(tx, old, rec, by)
  if old and old.volumes == rec.volumes and old.provider == rec.provider and old.owner == rec.owner
    and (old.status == "DELETED") == (rec.status == "DELETED") then return end
  local was, is = has(old), has(rec)
  local moved = old and (old.provider ~= rec.provider or old.owner ~= rec.owner)
  for name in pairs(was) do
    if moved or not is[name] then release(tx, old, name, by) end
  end
  for _, v in ipairs(rec.volumes) do
    if is[v.id] and (moved or not was[v.id]) then take(tx, rec, v.id, v.path, by) end
  end
end
machine_record.on_save = M.follow

-- ---- made before it is used

-- Asks anew for a volume whose making has failed. -> record | nil, err
local function again(id)
  return store.update(function(tx)
    local old = record.get(tx, id)
    if not old or old.status ~= "ERROR" or old.made_at ~= json.null then return old end
    local rec = record.edit(old)
    record.enter(rec, "CREATING")
    rec.error = nil
    workflow.ask(tx, "volume", rec, rec.from ~= json.null and "volume_clone" or "volume_create", nil, "system")
    record.save(tx, old, rec, "create_asked", "system")
    return rec
  end)
end

-- Waits until a volume that a machine names is at its provider, for a step of the machine's workflow. -> true | nil, err
function M.ready(rec, name, seconds)
  local vol = record.of_machine(rec, name)
  if not vol then return errors.fail("not_found", ("the machine's owner has no volume %s there"):format(name)) end
  if vol.made_at ~= json.null then return true end
  if vol.status == "ERROR" then
    local err
    vol, err = again(vol.id)
    if not vol then return nil, err end
  end
  local op = vol.operation
  runner.drive("volume", vol.id)
  local done, err = runner.wait(op, seconds)
  if not done then return nil, err end
  if not workflow.over(done) then
    return errors.fail("timeout", ("volume %s is being made still"):format(name), { retryable = true })
  end
  if done.state == "done" then return true end
  local why = done.error or { code = "failed", message = "its making was " .. done.state }
  return errors.fail(why.code, ("volume %s: %s"):format(name, why.message))
end

-- Whether a machine names a volume that was there before it, and whose data are nowhere else.
function M.bound(rec)
  for _, v in ipairs(rec.volumes) do
    local vol = record.of_machine(rec, v.id)
    if vol and vol.made_at ~= json.null and vol.created_at < rec.created_at then return true end
  end
  return false
end

return M
