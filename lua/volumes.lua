-- Volumes: the rules of their life, as instances.lua has those of machines. Routes and scripts call this; it knows no HTTP.
--
-- An actor, what it may carry for one request, and results are as in instances.lua. A volume is called by its id or by its name,
-- which is unique for its owner at a provider.
--
--   volumes.create(actor, {name =, size_gib =, provider =, user_id =}) -> record, operation id | nil, err
--   volumes.clone(actor, key, {name =, snapshot =}) -> the new record, operation id | nil, err
--   volumes.settled(actor, record, operation id, seconds) -> record
--   volumes.get(actor, key) -> record | nil, err      volumes.list(actor, after, limit) -> {texts =, keys =, after =}
-- These wait as instances.move does -> record, true | record, false, operation id | nil, err:
--   volumes.delete(actor, key [, seconds])
--   volumes.attach(actor, key, {machine =, path =} [, seconds])   volumes.detach(actor, key [, seconds])
--   volumes.snapshot(actor, key, name or nil [, seconds])   volumes.drop_snapshot(actor, key, name [, seconds])
--   volumes.restore(actor, key, name [, seconds])
-- Nobody writes to a volume while it is copied or restored: a machine that has it must be STOPPED, and cannot start meanwhile.

local attached = require "volumes.machines"
local denials = require "policy.denials"
local errors = require "errors"
local ids = require "ids"
local instances = require "instances"
local json = require "json"
local kept = require "policy.kept"
local machine_fields = require "machines.fields"
local machine_record = require "machines.record"
local providers = require "providers"
local quota = require "volumes.quota"
local record = require "volumes.record"
local requested = require "requested"
local rights = require "rights"
local schema = require "schema"
local snapshots = require "snapshots"
local store = require "store"
local time = require "time"
local users = require "accounts.users"
local workflow = require "workflow"
require "volumes.workflows"

local M = {}

local by = users.by
local MOST_SNAPSHOTS = 32

-- ---- what requests may hold

local function name_fault(name)
  if ids.is_uuid(name) or name:match("^cc%-%x%x%x%x%x%x%x%x%x%x%x%x$") then return "looks like an id; choose another name" end
end

local function name_field(required)
  local id = machine_fields.volume.id
  return { "string", required = required, min = 1, max = id.max, pattern = id.pattern, hint = id.hint, check = name_fault }
end

M.fields = {
  create = {
    name = name_field(), size_gib = { "integer", min = 1, max = 16384 }, provider = machine_fields.create.provider,
    user_id = machine_fields.create.user_id,
  },
  attach = { machine = { "string", required = true, min = 1, max = 128 }, path = machine_fields.volume.path },
  snapshot = { name = name_field() },
  restore = { snapshot = name_field(true) },
  clone = { name = name_field(), snapshot = name_field() },
}

-- ---- reading

local function not_found() return errors.fail("not_found", "no such volume") end

-- -> id | nil, err
local function resolve(actor, key)
  if #key > 128 then return not_found() end
  if ids.is_uuid(key) then return key:lower() end
  local found = record.named(actor.user or "operator", key)
  if #found > 1 then
    return errors.fail("conflict", ("there is a volume called %s at more than one provider: say its id"):format(key))
  end
  if not found[1] then return not_found() end
  return found[1]
end

-- -> id, its stored JSON text | nil, err
function rights.find.volume(actor, key)
  local id, err = resolve(actor, key)
  if not id then return nil, err end
  local text, owner = store.raw("volume", id)
  if text and rights.owns(actor, owner) then return id, text end
  return not_found()
end

function M.get(actor, key)
  local id, text = rights.find.volume(actor, key)
  if not id then return nil, text end
  return json.decode(text)
end

-- Volumes that are not deleted, by id: {texts = {json...}, after = cursor or nil}.
function M.list(actor, after, limit)
  local index, prefix = "volume_live", ""
  if not actor.admin then index, prefix = "volume_owner", actor.user .. "/" end
  local page = store.scan(index, { prefix = prefix, after = after and prefix .. after, limit = limit + 1 })
  local texts, keys = {}, {}
  for i = 1, math.min(#page, limit) do
    after = page[i].key:sub(#prefix + 1)
    local text = store.raw("volume", after)
    if text then texts[#texts + 1], keys[#keys + 1] = text, after end
  end
  return { texts = texts, keys = keys, after = #page > limit and after or nil }
end

-- ---- to begin

local function exists(rec)
  return errors.new("exists", ("name: there is a volume called '%s' already at %s"):format(rec.name, rec.provider),
    { field = "name" })
end

-- A provider that can do it. `what`: the capability. -> true | nil, err
local function snapshots_at(rec)
  return providers.able(rec.provider, "snapshots", "has no snapshots, restore or clones of volumes")
end

-- In an update: takes the name, and the place in what the plan allows. -> why not, an error, or nil
local function taken(tx, rec, asked)
  local account = tx:get("user", rec.owner)
  if account and account.status ~= "active" then return errors.new("denied", "the account is " .. account.status) end
  if record.taken(tx, rec.owner, rec.name, rec.provider) then return exists(rec) end
  local why = quota.refusal(tx, rec.owner, rec.provider, 1, rec.size_gib, asked)
  return why and denials.mark(why, "create", rec, asked)
end

-- A new record of fn(tx) -> record | nil, err, with its work, in one commit. -> record, operation id | nil, err
local function make(actor, fn)
  local again = actor.idempotent and actor.idempotent.claimed
  if again then return store.get("volume", again.machine), again.operation end
  local rec, err = store.update(function(tx)
    local rec, why = fn(tx)
    if not rec then return nil, why end
    local asked = {}
    why = taken(tx, rec, asked)
    if why then return nil, why end
    attached.make(tx, rec, by(actor), { decisions = kept.list(asked) })
    if actor.idempotent then actor.idempotent:claim(tx, rec, rec.operation, 201) end
    return rec
  end)
  return requested.begun("volume", rec, err, by(actor))
end

function M.create(actor, spec)
  local ok, err = schema.check(M.fields.create, spec)
  if not ok then return nil, err end
  local owner, oerr = instances.owner_for(actor, spec.user_id)
  if not owner then return nil, oerr end
  local provider = spec.provider or instances.settings.provider
  ok, err = providers.able(provider, "volumes", "has no volumes of their own")
  if not ok then return nil, err end
  return make(actor, function() return attached.new_record(owner, provider, spec.name, spec.size_gib or 20) end)
end

-- What became of one that was just asked for, after so many seconds at most. -> record
function M.settled(actor, rec, op, seconds)
  instances.operation(actor, op, seconds)
  return M.get(actor, rec.id) or rec
end

-- ---- changing

-- Why nobody may begin something with it, or nil: it is in use, or something else goes on. `still`: its data must stand still.
local function unready(tx, rec, verb, still)
  local function no(why)
    return errors.new("state", ("the volume %s and cannot be %s"):format(why, verb), { status_now = rec.status })
  end
  if workflow.current(tx, rec) then return no("is " .. rec.status) end
  if record.held_for(tx, rec) then return no("is about to be attached") end
  if still ~= "gone" and rec.made_at == json.null then return no("was never made") end
  if record.cloned(rec) then return no("is being cloned") end
  if rec.attached_to == json.null then return nil end
  local machine = machine_record.get(tx, rec.attached_to)
  local name = machine and machine.name or rec.attached_to
  if still == "gone" then return no(("is attached to the machine %s"):format(name)) end
  if machine and (machine.status ~= "STOPPED" or workflow.current(tx, machine)) then
    return no(("is attached to the machine %s, which is %s: stop it first"):format(name, machine.status))
  end
end

-- Why its data are not what anybody wants a copy of, or nil: something has failed with it.
local function unsound(rec, verb)
  if rec.status == "AVAILABLE" then return nil end
  return errors.new("state", ("the volume is %s and cannot be %s: restore it first"):format(rec.status, verb),
    { status_now = rec.status })
end

-- Asks for the workflow `kind`: plan(tx, rec) -> its input, or nil when nothing is to do | nil, err. Waits.
local function change(actor, key, kind, seconds, plan)
  local again = actor.idempotent and actor.idempotent.claimed
  if again then return requested.finished("volume", store.get("volume", again.machine), again.operation, seconds) end
  local id, err = resolve(actor, key)
  if not id then return nil, err end
  local op
  local now, uerr = store.update(function(tx)
    local old = record.get(tx, id)
    if not old or not rights.owns(actor, old.owner) then return not_found() end
    local stale = requested.outdated(actor, old)
    if stale then return nil, stale end
    local rec = record.edit(old)
    local input, why = plan(tx, rec)
    if why then return nil, why end
    op = nil
    if input then
      input.was = old.status
      op = workflow.ask(tx, "volume", rec, kind, input, by(actor))
      record.save(tx, old, rec, kind .. "_asked", by(actor), { snapshot = input.snapshot })
    end
    if actor.idempotent then actor.idempotent:claim(tx, rec, op) end
    return rec
  end)
  if not now then return nil, uerr end
  return requested.finished("volume", now, op, seconds)
end

-- Deletes it with its data and its snapshots.
function M.delete(actor, key, seconds)
  return change(actor, key, "volume_delete", seconds, function(tx, rec)
    if rec.status == "DELETED" then return nil end
    local why = unready(tx, rec, "deleted", "gone")
    if why then return nil, why end
    return {}
  end)
end

-- The plan of what needs a snapshot that is there, and data that stand still.
local function with_snapshot(tx, rec, name, verb)
  if rec.status == "DELETED" then return not_found() end
  local ok, err = snapshots_at(rec)
  if not ok then return nil, err end
  if not snapshots.find(rec.snapshots, name) then return errors.fail("not_found", "no such snapshot of the volume") end
  local why = unready(tx, rec, verb, "still")
  if why then return nil, why end
  return { snapshot = name }
end

function M.snapshot(actor, key, name, seconds)
  name = name or "s-" .. os.date("!%Y%m%d-%H%M%S", math.floor(time.now() / 1000))
  return change(actor, key, "volume_snapshot", seconds, function(tx, rec)
    if rec.status == "DELETED" then return not_found() end
    local ok, err = snapshots_at(rec)
    if not ok then return nil, err end
    if snapshots.find(rec.snapshots, name) then
      return errors.fail("exists", "name: the volume has a snapshot of that name already", { field = "name" })
    end
    if #rec.snapshots >= MOST_SNAPSHOTS then
      return errors.fail("conflict", ("a volume has at most %d snapshots: delete one first"):format(MOST_SNAPSHOTS))
    end
    local why = unready(tx, rec, "snapshotted", "still") or unsound(rec, "snapshotted")
    if why then return nil, why end
    return { snapshot = name }
  end)
end

function M.drop_snapshot(actor, key, name, seconds)
  return change(actor, key, "volume_snapshot_delete", seconds, function(tx, rec)
    return with_snapshot(tx, rec, name, "relieved of a snapshot")
  end)
end

function M.restore(actor, key, name, seconds)
  return change(actor, key, "volume_restore", seconds, function(tx, rec) return with_snapshot(tx, rec, name, "restored") end)
end

-- A new volume with the data that it has now, or had when a snapshot was taken.
function M.clone(actor, key, spec)
  local id, err = resolve(actor, key)
  if not id then return nil, err end
  return make(actor, function(tx)
    local old = record.get(tx, id)
    if not old or not rights.owns(actor, old.owner) or old.status == "DELETED" then return not_found() end
    local ok, why = snapshots_at(old)
    if not ok then return nil, why end
    if spec.snapshot and not snapshots.find(old.snapshots, spec.snapshot) then
      return errors.fail("not_found", "no such snapshot of the volume")
    end
    why = requested.outdated(actor, old) or unready(tx, old, "cloned", "still") or unsound(old, "cloned")
    if why then return nil, why end
    record.save(tx, old, record.edit(old), "clone_asked", by(actor)) -- whoever has read it meanwhile reads it again
    return attached.new_record(old.owner, old.provider, spec.name, old.size_gib,
      { volume = old.id, snapshot = spec.snapshot or json.null })
  end)
end

-- ---- at machines: their workflows, asked by the volume's name there

-- What came of a machine's change, as that of the volume. -> record, true | record, false, operation id | nil, err
local function as_volume(id, machine, done, op)
  if not machine then return nil, done end
  return store.get("volume", id), done, op
end

function M.attach(actor, key, spec, seconds)
  local vol, err = M.get(actor, key)
  if not vol then return nil, err end
  if vol.status == "DELETED" then return not_found() end
  local stale = requested.outdated(actor, vol)
  if stale then return nil, stale end
  local machine
  machine, err = instances.get(actor, spec.machine)
  if not machine or machine.owner ~= vol.owner then return nil, err or errors.new("not_found", "no such machine") end
  if machine.provider ~= vol.provider then
    return errors.fail("conflict", ("the volume is at the provider %s, the machine at %s"):format(vol.provider, machine.provider),
      { field = "machine" })
  end
  local for_machine = setmetatable({ expects = false }, { __index = actor })
  return as_volume(vol.id, instances.attach(for_machine, machine.id, { id = vol.name, path = spec.path }, seconds))
end

function M.detach(actor, key, seconds)
  local vol, err = M.get(actor, key)
  if not vol then return nil, err end
  local again = actor.idempotent and actor.idempotent.claimed
  if vol.attached_to == json.null and not again then return vol, true end
  local stale = requested.outdated(actor, vol)
  if stale then return nil, stale end
  local for_machine = setmetatable({ expects = false }, { __index = actor })
  return as_volume(vol.id, instances.detach(for_machine, again and again.machine or vol.attached_to, vol.name, seconds))
end

return M
