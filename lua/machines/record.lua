-- The record of a machine, and the one place that writes it: the record, its indexes, its owner's count and the event
-- that says what changed go into the same commit.
--
-- A record is edited as a flat copy: fields are replaced, tables in them are never changed in place.
--
--   local old = record.get(tx, id);  local rec = record.edit(old);  rec.name = "x"
--   record.save(tx, old, rec, "changed", by, {reason = ...})
-- The status changes by record.enter alone.
--
-- Indexes (all made here, from the record alone):
--   instance_name owner/name -> id     instance_short short -> id       instance_live id, instance_owner owner/id: not DELETED
--   instance_running provider/short -> id: to be found running      instance_expires id: its hours end, and it is not DELETED
--   instance_purged id -> when: its record is gone (retention.lua)
--   instance_vpc, instance_subnet, instance_group: in a network of its owner's (machines/vpc.lua), not DELETED
--   instance_undeleted likewise: its deletion has failed                instance_due deadline/id -> id: transient until then
-- The record "account" of an owner other than the operator counts the machines that use his quota.

local addresses = require "machines.addresses"
local agent_secret = require "machines.agent_secret"
local claude = require "accounts.claude"
local json = require "json"
local plain = require "plain"
local statuses = require "statuses"
local steady = require "steady"
local store = require "store"
local time = require "time"
local vpc = require "machines.vpc"

local M = {}

local OFF = { STOPPED = true, DELETED = true } -- its agent is asked nothing more, and hears of another secret first
local FULL_EVERY = 32 -- versions between entries of the log that hold the whole record

function M.get(tx, id) return tx:get("instance", id) end

function M.edit(old)
  local rec = {}
  for k, v in pairs(old) do rec[k] = v end
  return rec
end

-- ---- what changed

-- -> {field = new value}, {fields that went}
function M.changes(old, rec)
  local new, gone = {}, json.array {}
  for k, v in pairs(rec) do
    if not plain.same(old[k], v) then new[k] = v end
  end
  for k in pairs(old) do
    if rec[k] == nil then gone[#gone + 1] = k end
  end
  return new, gone
end

-- Whether an edit has changed anything.
function M.differs(old, rec)
  local new, gone = M.changes(old, rec)
  return next(new) ~= nil or #gone > 0
end

-- ---- indexes

-- {index = {key = value}} of a record; nil: of no record.
function M.entries(rec)
  if not rec then return {} end
  local out = { instance_short = { [rec.short] = rec.id } }
  if rec.status ~= "DELETED" then
    out.instance_name = { [rec.owner .. "/" .. rec.name] = rec.id }
    out.instance_live = { [rec.id] = "" }
    out.instance_owner = { [rec.owner .. "/" .. rec.id] = "" }
    if rec.expires_at ~= json.null then out.instance_expires = { [rec.id] = "" } end
    vpc.entries(rec, out)
  end
  if rec.status == "RUNNING" then out.instance_running = { [rec.provider .. "/" .. rec.short] = rec.id } end
  if rec.status == "ERROR" and rec.desired == "DELETED" then
    out.instance_undeleted = { [rec.provider .. "/" .. rec.short] = rec.id }
  end
  if rec.deadline_at ~= json.null then
    out.instance_due = { [("%015d/%s"):format(time.parse(rec.deadline_at), rec.id)] = rec.id }
  end
  return out
end

-- In an update: from the index entries that a record had to those that it has.
function M.reindex(tx, was, is)
  for index, list in pairs(was) do
    for key in pairs(list) do
      if not (is[index] and is[index][key]) then tx:unindex(index, key) end
    end
  end
  for index, list in pairs(is) do
    for key, value in pairs(list) do
      if not (was[index] and was[index][key]) then tx:index(index, key, value) end
    end
  end
end

-- ---- quota: a machine counts from its creation until somebody asks for its deletion; those of prepaid hours by themselves

local function counts(rec)
  if not rec or rec.owner == "operator" or rec.desired == "DELETED" then return nil end
  return type(rec.prepaid) == "table" and rec.prepaid.counts and "prepaid" or "instances"
end

local function add(tx, owner, old, new)
  if old == new then return end
  local account = tx:get("account", owner) or { instances = 0 }
  if old then account[old] = account[old] - 1 end
  if new then account[new] = (account[new] or 0) + 1 end
  tx:put("account", owner, account, owner)
end

local function count(tx, old, rec)
  if old and old.owner ~= rec.owner then
    add(tx, old.owner, counts(old), nil)
    old = nil
  end
  add(tx, rec.owner, counts(old), counts(rec))
end

-- How many machines of `owner` count, in an update: those of his plan, or (`prepaid`) all.
function M.counted(tx, owner, prepaid)
  local account = tx:get("account", owner) or {}
  return (account.instances or 0) + (prepaid and account.prepaid or 0)
end

-- ---- writing

-- What the log says of a change: what became of which field, every so often the whole record.
function M.event(old, rec, note)
  local data = { operation = rec.operation ~= json.null and rec.operation or nil }
  for k, v in pairs(note or {}) do data[k] = v end
  if not old or rec.version % FULL_EVERY == 0 then
    data.full, data.changes = true, rec
  else
    local gone
    data.changes, gone = M.changes(old, rec)
    data.removed = #gone > 0 and gone or nil
  end
  if not old then
    data.status = rec.status
  elseif old.status ~= rec.status then
    data.from, data.status = old.status, rec.status
  end
  return data
end

-- Called before a record is written, in the same update; may still change it (billing/metering.lua). -> since when the account's
-- meter counts it as what it is now (RFC 3339, on the clock of deadlines), or nil: as before
function M.before_save(tx, old, rec, by) end -- luacheck: ignore 212

-- Called when it is written, in the same update: what else its change changes (volumes.lua).
function M.on_save(tx, old, rec, by) end -- luacheck: ignore 212
-- Called in the update that is its end: what was of it alone.
function M.on_deleted(tx, id) end -- luacheck: ignore 212

-- Puts the record into a status, whose whole time begins now. `suspended_at` (of what is RUNNING and stands still) ends with it.
function M.enter(rec, status)
  local seconds = statuses.get(status).seconds
  rec.status, rec.status_at = status, time.rfc3339(time.now())
  rec.suspended_at = nil
  if status == "RUNNING" then rec.ran_until = nil end
  rec.deadline_at = seconds and steady.after(seconds) or json.null
end

-- In an update: writes the record. `old`: as M.get gave it, nil for a new one. A change of status names the event by
-- itself (STOPPING: "stopping", ERROR: "failed"), unless `type` says more than that (`named`).
function M.save(tx, old, rec, type, by, note, named)
  local metered_at = M.before_save(tx, old, rec, by)
  rec.version = old and old.version + 1 or 1
  rec.updated_at = time.rfc3339(tx:now())
  if old and old.status ~= rec.status and not named then
    type = rec.status == "ERROR" and "failed" or rec.status:lower()
  end
  M.reindex(tx, M.entries(old), M.entries(rec))
  count(tx, old, rec)
  vpc.count(tx, old, rec)
  if rec.address and rec.status == "DELETED" and old.status ~= "DELETED" then addresses.release(tx, rec) end
  if rec.status == "DELETED" and old.status ~= "DELETED" then M.on_deleted(tx, rec.id) end
  claude.mark(tx, old, rec)
  if OFF[rec.status] and old and not OFF[old.status] then agent_secret.forget(tx, rec.id) end
  tx:put("instance", rec.id, rec, rec.owner)
  M.on_save(tx, old, rec, by)
  local data = M.event(old, rec, note)
  data.metered_at = metered_at
  tx:log("instance", rec.id, type, data, by)
end

-- In an update: forgets a machine that is DELETED, with its days of activity. Its chain and the index "instance_purged" still
-- tell that it was.
function M.remove(tx, rec, by)
  for _, day in ipairs(store.list("activity", { prefix = rec.id .. "/" })) do tx:del("activity", day.id) end
  tx:del("lease_hold", rec.id)
  tx:del("health", rec.id)
  M.reindex(tx, M.entries(rec), {})
  tx:index("instance_purged", rec.id, time.rfc3339(time.now()))
  tx:del("instance", rec.id)
  tx:log("instance", rec.id, "purged", nil, by)
end

-- A record that an older cchost has written: its indexes and its count are made anew, its log begins again from the whole.
function M.save_migrated(tx, rec)
  M.reindex(tx, {}, M.entries(rec))
  count(tx, nil, rec)
  tx:put("instance", rec.id, rec, rec.owner)
  tx:log("instance", rec.id, "migrated", { full = true, changes = rec }, "system")
end

return M
