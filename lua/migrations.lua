-- Bringing the records of an older cchost up to date (the bytes below them are the store's own business: SCHEMA.md).
--
-- The record meta/schema holds {version}. A store is brought forward one step at a time, all steps and the new version
-- in one commit: when one fails, nothing has changed. A newer store is refused.

local errors = require "errors"
local json = require "json"
local log = require "log"
local record = require "machines.record"
local store = require "store"
local volumes = require "volumes.machines"
local walk = require "walk"
local workflow = require "workflow"

local M = {}

-- Every record of a kind; fn(id, value). Reads what is committed: a step must not walk what an earlier one wrote.
local function each(kind, fn)
  for row in walk.kind(kind) do fn(row.id, json.decode(row.json)) end
end

-- ---- 1 -> 2: work became workflows; records have a queue, a deadline, and events that hold what changed

local resumes = { STARTING = "create", STOPPING = "stop", DELETING = "delete" }

local function end_operation(tx, id)
  local op = id and id ~= json.null and tx:get("operation", id)
  if not op or op.state ~= "running" then return end
  op.state, op.finished_at = "superseded", op.created_at
  tx:put("operation", id, op)
end

local function machine_to_2(tx, rec)
  end_operation(tx, rec.operation)
  rec.provider_id = rec.provider_id or json.null
  rec.operation, rec.queue = json.null, json.array {}
  record.enter(rec, rec.status)
  if rec.deadline_at == json.null then rec.status_at = rec.updated_at end
  tx:unindex("work", rec.id)
  local kind = resumes[rec.status]
  if kind then workflow.ask(tx, "instance", rec, kind, nil, "system") end
  record.save_migrated(tx, rec)
end

local function to_2(tx)
  each("instance", function(_, rec) machine_to_2(tx, rec) end)
end

-- ---- 2 -> 3: a user's volumes have names of his own at providers (machines/volumes.lua); those that machines have keep theirs

local function to_3(tx)
  local first = {} -- [name] = the machine that was made first with it, if a user's
  each("instance", function(_, rec)
    for _, v in ipairs(rec.status ~= "DELETED" and rec.volumes or {}) do
      if not first[v.id] or rec.created_at < first[v.id].created_at then first[v.id] = rec end
    end
  end)
  for name, rec in pairs(first) do
    if rec.owner ~= "operator" then tx:put("volume_alias", rec.owner .. "/" .. name, { at = name }, rec.owner) end
  end
end

-- ---- 3 -> 4: machines whose hours end are in an index (expiry.lua)

local function to_4(tx)
  each("instance", function(id, rec)
    if rec.expires_at ~= json.null and rec.status ~= "DELETED" then tx:index("instance_expires", id, "") end
  end)
end

-- ---- 4 -> 5: volumes have records; what kind "volume" held until then is in "volume_alias"

-- The machine that was made first with a volume has it, if it is said of more than one.
local function volumes_to_5(tx)
  local machines = {}
  each("instance", function(_, rec)
    if rec.status ~= "DELETED" and rec.provider ~= "foreign" and #rec.volumes > 0 then machines[#machines + 1] = rec end
  end)
  table.sort(machines, function(a, b) return a.created_at < b.created_at end)
  local seen = {}
  for _, rec in ipairs(machines) do
    for _, v in ipairs(rec.volumes) do
      local key = ("%s/%s/%s"):format(rec.owner, v.id, rec.provider)
      if not seen[key] then volumes.adopt(tx, rec, v) end
      seen[key] = true
    end
  end
end

local function to_5(tx)
  each("volume", function(id, value)
    if not value.at then return end -- a step before has made it
    tx:put("volume_alias", id, value, id:match("^[^/]+"))
    tx:del("volume", id)
  end)
  volumes_to_5(tx)
end

-- M.steps[n] brings version n to n + 1, in an update.
M.steps = { to_2, to_3, to_4, to_5 }

-- ----

local function version_of(tx, latest)
  local meta = tx:get("meta", "schema")
  if meta then return meta.version end
  return #store.list("instance", { limit = 1 }) == 0 and latest or 1
end

-- The version that this program writes.
function M.latest() return #M.steps + 1 end

-- Whether M.run would change records.
function M.due()
  local meta = store.get("meta", "schema")
  return (meta and meta.version or version_of({ get = function() end }, M.latest())) < M.latest()
end

-- -> true | nil, err (code "unsupported": it is newer than this program; "internal": a step failed)
function M.run()
  local latest = M.latest()
  local from
  local ran, ok, err = pcall(store.update, function(tx)
    from = version_of(tx, latest)
    if from > latest then
      return errors.fail("unsupported",
        ("the records are of version %d, this cchost knows %d: use a newer one"):format(from, latest))
    end
    for n = from, latest - 1 do M.steps[n](tx) end
    if from < latest or not tx:get("meta", "schema") then tx:put("meta", "schema", { version = latest }) end
    return true
  end)
  if not ran then
    return errors.fail("internal",
      ("bringing the records from version %d to %d failed and nothing was changed: %s"):format(from, latest, tostring(ok)))
  end
  if ok and from < latest then log.info("migrations", "the records were brought up to date", { from = from, to = latest }) end
  return ok, err
end

return M
