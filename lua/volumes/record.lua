-- The record of a volume, and the one place that writes it, like machines/record.lua: the record, its indexes, what its owner
-- has of them and the event that says what changed go into the same commit.
--
--   {id, name, owner, provider, provider_id = its name there, size_gib, status, attached_to = machine id or null, path = where in
--    it, from = {volume =, snapshot = name or null} of a clone or null, snapshots = {{name =, size_gib =, created_at =}, ...},
--    made_at = null until it is at the provider, error, ...}
--
-- status: CREATING -> AVAILABLE; from there SNAPSHOTTING, RESTORING and back, DELETING -> DELETED (a tombstone, in no list);
-- ERROR: what was under way has failed. One that is not yet made has no made_at, also in ERROR.
--
-- Indexes, all of volumes that are not DELETED:
--   volume_name owner/name/provider -> id     volume_live id, volume_owner owner/id
--   volume_cloning source/id: is being made of that one
-- The record "account" of an owner other than the operator counts them: volumes, volumes_gib.
-- The record "volume_hold" (id: the volume's) {machine, operation} says for whom it is kept: as long as that operation goes on.
-- It stays until the next one, or the volume's end.

local json = require "json"
local machine_record = require "machines.record"
local steady = require "steady"
local store = require "store"
local time = require "time"
local workflow = require "workflow"

local M = {}

-- Seconds that what is under way may last; the others are settled.
local seconds = { CREATING = 600, SNAPSHOTTING = 3600, RESTORING = 3600, DELETING = 1800 }
local CLONING = 3600

M.edit, M.differs = machine_record.edit, machine_record.differs

function M.get(tx, id) return tx:get("volume", id) end

function M.enter(rec, status)
  local most = status == "CREATING" and rec.from ~= json.null and CLONING or seconds[status]
  rec.status, rec.status_at = status, time.rfc3339(time.now())
  rec.deadline_at = most and steady.after(most) or json.null
end

-- ---- finding

local function key(owner, name, provider) return ("%s/%s/%s"):format(owner, name, provider) end

-- The volume that a machine's record calls `name`. With tx: in an update. -> record or nil
function M.of_machine(rec, name, tx)
  local id = (tx and tx:lookup("volume_name", key(rec.owner, name, rec.provider)))
    or (not tx and store.lookup("volume_name", key(rec.owner, name, rec.provider)))
  if not id then return nil end
  if tx then return tx:get("volume", id) end
  return store.get("volume", id)
end

function M.taken(tx, owner, name, provider) return tx:lookup("volume_name", key(owner, name, provider)) ~= nil end

-- Ids of an owner's volumes of that name, whatever the provider: two at most.
function M.named(owner, name)
  local ids = {}
  for i, row in ipairs(store.scan("volume_name", { prefix = owner .. "/" .. name .. "/", limit = 2 })) do ids[i] = row.value end
  return ids
end

-- Whether a clone of it is under way. In an update that has read the volume: who begins one writes it.
function M.cloned(rec) return #store.scan("volume_cloning", { prefix = rec.id .. "/", limit = 1 }) > 0 end

-- In an update: the machine that a volume is kept for, by an operation that goes on; or nil.
function M.held_for(tx, rec)
  local hold = tx:get("volume_hold", rec.id)
  local op = hold and tx:get("operation", hold.operation)
  return op and not workflow.over(op) and hold.machine or nil
end

function M.hold(tx, rec, machine, operation)
  tx:put("volume_hold", rec.id, { machine = machine, operation = operation }, rec.owner)
end

-- ---- indexes and counts

local function entries(rec)
  if not rec or rec.status == "DELETED" then return {} end
  local out = {
    volume_name = { [key(rec.owner, rec.name, rec.provider)] = rec.id }, volume_live = { [rec.id] = "" },
    volume_owner = { [rec.owner .. "/" .. rec.id] = "" },
  }
  if rec.status == "CREATING" and rec.from ~= json.null then
    out.volume_cloning = { [rec.from.volume .. "/" .. rec.id] = "" }
  end
  return out
end

local function count(tx, old, rec)
  local was = old and old.status ~= "DELETED" and old.size_gib or nil
  local is = rec.status ~= "DELETED" and rec.size_gib or nil
  if rec.owner == "operator" or was == is then return end
  local account = tx:get("account", rec.owner) or { instances = 0 }
  account.volumes = (account.volumes or 0) + (is and 1 or 0) - (was and 1 or 0)
  account.volumes_gib = (account.volumes_gib or 0) + (is or 0) - (was or 0)
  tx:put("account", rec.owner, account, rec.owner)
end

-- In an update: how many volumes count, and their size in GiB.
function M.counted(tx, owner)
  local account = tx:get("account", owner) or {}
  return account.volumes or 0, account.volumes_gib or 0
end

-- ---- writing

-- In an update, as machines/record.lua has it; `named`: the event is called `type` also when the status changes. So is one
-- that says that something has failed, or was taken back.
function M.save(tx, old, rec, type, by, note, named)
  rec.version = old and old.version + 1 or 1
  rec.updated_at = time.rfc3339(tx:now())
  local told = named or type:find("_failed$") or type:find("_undone$")
  if old and old.status ~= rec.status and not told then type = rec.status:lower() end
  machine_record.reindex(tx, entries(old), entries(rec))
  count(tx, old, rec)
  tx:put("volume", rec.id, rec, rec.owner)
  if rec.status == "DELETED" then tx:del("volume_hold", rec.id) end
  tx:log("volume", rec.id, type, machine_record.event(old, rec, note), by)
end

return M
