-- Machines: the rules of their life. Routes and scripts call this; it knows no HTTP.
--
-- An `actor` is {admin = true} (the operator) or {user = id}; every function that takes one answers "not_found"
-- for what is not the actor's. Functions return a value, or nil, err.

local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local providers = require "providers"
local schema = require "schema"
local statuses = require "statuses"
local store = require "store"
local time = require "time"
local types = require "types"
local work = require "work"

local M = {}

M.operator = { admin = true }

local LAST_TIME = 253402300799000 -- the last millisecond that RFC 3339 can write, less one second

local function type_fault(name)
  if not types.get(name) then return "no such machine type; GET /types lists them" end
end

local function path_fault(path)
  for part in path:gmatch("[^/]+") do
    if part == ".." or part == "." then return "a path without . and .. expected" end
  end
end

local function volumes_fault(list)
  local seen = {}
  for i, v in ipairs(list) do
    if seen[v.id] or seen[v.path] then return ("entry %d names a volume or a path for the second time"):format(i - 1) end
    seen[v.id], seen[v.path] = true, true
  end
end

local function user_fault(id)
  if type(id) == "number" and id >= 1 and id == math.floor(id) then return end
  if type(id) == "string" and #id <= 64 and id:match("^[%w-]+$") and id ~= "operator" then return end
  return "the id of a user expected"
end

local text_map = { "map", of = { "string", max = 4096 }, max = 100 }
local id_text = { "string", min = 1, max = 64, pattern = "^[%w_.-]+$", hint = "an id" }

-- What a create request may hold.
M.create_fields = {
  name = { "string", check = ids.name_fault },
  image = { "string", min = 1, max = 255, pattern = "^[%w/_.:@+-]+$", hint = "the name of an image" },
  type = { "string", max = 64, check = type_fault },
  location = { "string", min = 1, max = 64, pattern = "^[%w_-]+$", hint = "the name of a location" },
  provider = { "string", one_of = { "local", "mock" } },
  ports = { "list", of = { "integer", min = 1, max = 65535 } },
  env = { "map", key = "^[%a_][%w_]*$", of = { "string", max = 32768 } },
  cmd = { "list", of = { "string", max = 32768 } },
  volumes = { "list", max = 16, of = { "object", fields = {
    id = { "string", required = true, pattern = "^[%w][%w_-]*$", max = 64, hint = "letters, digits, '_' and '-'" },
    path = { "string", required = true, pattern = "^/[^%c]+$", max = 255, hint = "an absolute path", check = path_fault } } },
    check = volumes_fault },
  vpc_id = id_text, subnet_id = id_text,
  ssh_keys = { "list", of = { "string", min = 16, max = 8192 } },
  labels = text_map,
  plan = { "string", min = 1, max = 64, pattern = "^[%w_-]+$", hint = "the name of a plan" },
  hours = { "integer", min = 1, max = 87600 },
  network = { "string", one_of = { "nat", "none", "host" } },
  user_id = { "any", check = user_fault },
}

M.patch_fields = { name = M.create_fields.name, labels = text_map, env = M.create_fields.env }

-- Whose a new machine is: the operator's own has the owner "operator".
local function owner_of(actor, wanted)
  if not actor.admin then return tostring(actor.user) end
  if type(wanted) == "number" then return ("%d"):format(wanted) end
  return wanted or "operator"
end

local function by(actor) return actor.admin and "operator" or tostring(actor.user) end

local function may_see(actor, owner)
  return actor.admin or owner == tostring(actor.user)
end

-- The uuid that `key` (uuid, short, or the name of one of the actor's own) stands for, or nil.
function M.resolve(actor, key)
  if #key > 128 then return nil end
  if ids.is_uuid(key) then return key:lower() end
  if ids.is_short(key) then return store.lookup("instance_short", key:lower()) end
  return store.lookup("instance_name", owner_of(actor) .. "/" .. key)
end

-- The stored JSON text of a machine, untouched: the fast path of GET. What is as long as a uuid is looked up as one.
function M.text(actor, key)
  if #key == 36 then
    local text, owner = store.raw("instance", key)
    if text and may_see(actor, owner) then return text end
  end
  local id = M.resolve(actor, key)
  if id then
    local text, owner = store.raw("instance", id)
    if text and may_see(actor, owner) then return text end
  end
  return errors.fail("not_found", "no such machine")
end

-- -> record | nil, err
function M.get(actor, key)
  local text, err = M.text(actor, key)
  if not text then return nil, err end
  return json.decode(text)
end

-- Machines that are not deleted, oldest id first: {texts = {json...}, after = cursor or nil}.
function M.list(actor, after, limit)
  local texts = {}
  repeat
    local page = store.scan("instance_live", { after = after, limit = limit - #texts + 1 })
    for _, entry in ipairs(page) do
      if #texts == limit then return { texts = texts, after = after } end
      after = entry.key
      local text, owner = store.raw("instance", entry.key)
      if text and may_see(actor, owner) then texts[#texts + 1] = text end
    end
  until #page == 0
  return { texts = texts }
end

local function new_record(spec, owner, settings)
  local id, now = crypto.uuid(), time.now()
  local kind = types.get(spec.type or types.default)
  local provider = spec.provider or settings.provider
  return {
    id = id, short = ids.short(id), name = spec.name or "cc-" .. ids.short(id), owner = owner,
    provider = provider, image = spec.image or "host", type = kind.name,
    resources = { vcpu = kind.vcpu, memory_mib = kind.memory_mib, disk_gib = kind.disk_gib },
    location = spec.location or json.null, ports = json.array(spec.ports or {}), env = spec.env or {},
    cmd = json.array(spec.cmd or {}), volumes = json.array(spec.volumes or {}), vpc_id = spec.vpc_id or json.null,
    subnet_id = spec.subnet_id or json.null, ssh_keys = json.array(spec.ssh_keys or {}), labels = spec.labels or {},
    plan = spec.plan or json.null, network = spec.network or "nat", status = "STARTING", desired = "RUNNING",
    created_at = time.rfc3339(now), updated_at = time.rfc3339(now), last_activity_at = time.rfc3339(now),
    expires_at = spec.hours and time.rfc3339(now + spec.hours * 3600000) or json.null, version = 1,
  }
end

-- Called when a machine is about to stop or to be deleted: whoever holds connections to it may end them with a reason.
function M.on_leaving(id, verb) end -- luacheck: ignore 212

-- settings of this process: {provider = default name}
M.settings = { provider = "local" }

-- Makes a machine. The name is reserved, the record, its operation and its first event are written in one commit;
-- the work itself goes on after the answer. -> record, operation id | nil, err
function M.create(actor, spec)
  if spec.user_id ~= nil and not actor.admin then
    return errors.fail("denied", "only the operator may name a user_id")
  end
  local ok, err = schema.check(M.create_fields, spec)
  if not ok then return nil, err end
  if not actor.admin and (spec.network == "host" or (spec.image or ""):find("/", 1, true)) then
    return errors.fail("denied", "only the operator may use the host's network, or a path of the host as an image")
  end
  local rec = new_record(spec, owner_of(actor, spec.user_id), M.settings)
  local _, perr = providers.get(rec.provider)
  if perr then return nil, perr end
  local made, werr = store.update(function(tx)
    local name_key = rec.owner .. "/" .. rec.name
    if tx:lookup("instance_name", name_key) then
      return errors.fail("exists", "name: there is a machine called '" .. rec.name .. "' already", { field = "name" })
    end
    work.begin(tx, "create", rec, by(actor))
    tx:index("instance_name", name_key, rec.id)
    tx:index("instance_short", rec.short, rec.id)
    tx:index("instance_live", rec.id, "")
    work.save(tx, rec)
    tx:log("instance", rec.id, "created", { name = rec.name, image = rec.image, type = rec.type, provider = rec.provider },
      by(actor))
    return true
  end)
  if not made then return nil, werr end
  work.drive(rec.id)
  return rec, rec.operation
end

local wish = { stop = "STOPPED", start = "RUNNING", delete = "DELETED" }
local past = { stop = "stopped", start = "started", delete = "deleted" }

-- strict forms of seed 000/001: pause only what runs, wake only what is stopped
local strict = { pause = { verb = "stop", from = "RUNNING" }, wake = { verb = "start", from = "STOPPED" } }

-- Moves a machine towards what `verb` wants. -> record (as it is now), operation id or nil when nothing is to do
local function ask(tx, actor, id, verb, from)
  local rec = tx:get("instance", id)
  if not rec or not may_see(actor, rec.owner) then return errors.fail("not_found", "no such machine") end
  local to = statuses[rec.status][verb]
  if from and rec.status ~= from then
    return errors.fail("state", ("the machine is %s; only one that is %s can be %s"):format(rec.status, from,
      from == "RUNNING" and "paused" or "woken"), { status_now = rec.status })
  end
  if not to then
    return errors.fail("state", ("the machine is %s and cannot be %s"):format(rec.status, past[verb]),
      { status_now = rec.status })
  end
  -- nothing to ask when it is there, or on its way there; a stop that only serves a resize is not
  if to == rec.status and (rec.desired == wish[verb] or to == "DELETING") then return rec end
  rec.status, rec.desired = to, wish[verb]
  rec.error = nil
  rec.version = rec.version + 1
  rec.updated_at = time.rfc3339(time.now())
  local op = work.begin(tx, verb, rec, by(actor))
  work.save(tx, rec)
  tx:log("instance", id, verb .. "_asked", { status = to }, by(actor))
  return rec, op
end

-- Waits until the work on a machine is done, `seconds` at most. -> record, true | record, false, operation id
-- | nil, err when it ended otherwise than `wanted`
local function finished(id, rec, seconds, wanted)
  if work.transient(rec.status) then
    work.drive(id)
    if not work.wait(id, seconds or 30) then return rec, false, rec.operation end
    rec = store.get("instance", id)
  end
  if rec.status == wanted then return rec, true end
  if rec.status == "ERROR" then
    return errors.fail("failed", "the provider could not do it: " .. tostring(rec.error), { status_now = rec.status })
  end
  return errors.fail("conflict", "something else was asked of the machine meanwhile; it is " .. rec.status,
    { status_now = rec.status })
end

-- stop, start, delete, pause, wake. Waits at most `seconds` for the end.
-- -> record, true when done | record, false, operation id while it goes on | nil, err
function M.move(actor, key, verb, seconds)
  local form = strict[verb] or { verb = verb }
  local id = M.resolve(actor, key)
  if not id then return errors.fail("not_found", "no such machine") end
  local rec, op = store.update(function(tx) return ask(tx, actor, id, form.verb, form.from) end)
  if not rec then return nil, op end
  if form.verb == "delete" then work.overtake(id) end
  if form.verb ~= "start" then M.on_leaving(id, form.verb) end
  return finished(id, rec, seconds, rec.status == "DELETED" and "DELETED" or wish[form.verb])
end

-- Changes name, labels, env (env is read when the machine next starts). `version`: only if it is still that one.
function M.patch(actor, key, change, version)
  local ok, err = schema.check(M.patch_fields, change)
  if not ok then return nil, err end
  local id = M.resolve(actor, key)
  if not id then return errors.fail("not_found", "no such machine") end
  return store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec or not may_see(actor, rec.owner) then return errors.fail("not_found", "no such machine") end
    if version and version ~= rec.version then
      return errors.fail("precondition", ("the machine is at version %d, not %d"):format(rec.version, version))
    end
    if rec.status == "DELETED" then return errors.fail("state", "the machine is DELETED and cannot be changed") end
    if change.name and change.name ~= rec.name then
      local new_key = rec.owner .. "/" .. change.name
      if tx:lookup("instance_name", new_key) then
        return errors.fail("exists", "name: there is a machine called '" .. change.name .. "' already", { field = "name" })
      end
      tx:unindex("instance_name", rec.owner .. "/" .. rec.name)
      tx:index("instance_name", new_key, id)
    end
    rec.name, rec.labels, rec.env = change.name or rec.name, change.labels or rec.labels, change.env or rec.env
    rec.version = rec.version + 1
    rec.updated_at = time.rfc3339(time.now())
    work.save(tx, rec)
    tx:log("instance", id, "changed", change, by(actor))
    return rec
  end)
end

-- expires_at = max(now, expires_at) + hours
function M.extend(actor, key, hours)
  local id = M.resolve(actor, key)
  if not id then return errors.fail("not_found", "no such machine") end
  return store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec or not may_see(actor, rec.owner) then return errors.fail("not_found", "no such machine") end
    if rec.status == "DELETED" then return errors.fail("state", "the machine is DELETED and cannot be extended") end
    local now = time.now()
    local from = rec.expires_at ~= json.null and time.parse(rec.expires_at) or now
    local ends = math.max(now, from) + hours * 3600000
    if ends > LAST_TIME then
      return errors.fail("invalid", "hours: that is beyond the year 9999", { field = "hours" })
    end
    rec.expires_at = time.rfc3339(ends)
    rec.version = rec.version + 1
    rec.updated_at = time.rfc3339(now)
    work.save(tx, rec)
    tx:log("instance", id, "extended", { hours = hours, expires_at = rec.expires_at }, by(actor))
    return rec
  end)
end

-- Gives a machine another type. One that runs is stopped and started with it; another has it from its next start.
-- Waits and answers like move.
function M.resize(actor, key, type_name, seconds)
  local kind = types.get(type_name)
  if not kind then return errors.fail("invalid", "type: " .. type_fault(type_name), { field = "type" }) end
  local id = M.resolve(actor, key)
  if not id then return errors.fail("not_found", "no such machine") end
  local rec, err = store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec or not may_see(actor, rec.owner) then return errors.fail("not_found", "no such machine") end
    if not statuses[rec.status].settled or rec.status == "DELETED" then
      return errors.fail("state", ("the machine is %s and cannot be resized now"):format(rec.status), { status_now = rec.status })
    end
    if rec.type == kind.name then return rec end
    rec.type = kind.name
    rec.resources = { vcpu = kind.vcpu, memory_mib = kind.memory_mib, disk_gib = kind.disk_gib }
    rec.version = rec.version + 1
    rec.updated_at = time.rfc3339(time.now())
    if rec.status == "RUNNING" then
      rec.status = "STOPPING"
      work.begin(tx, "resize", rec, by(actor))
    end
    work.save(tx, rec)
    tx:log("instance", id, "resized", { type = kind.name, status = rec.status }, by(actor))
    return rec
  end)
  if not rec then return nil, err end
  return finished(id, rec, seconds, rec.desired)
end

-- A machine that runs (one that is starting is waited for), with its provider. -> record, provider | nil, err
function M.running(actor, key, seconds)
  local rec, err = M.get(actor, key)
  if not rec then return nil, err end
  if rec.status == "STARTING" then
    work.drive(rec.id)
    work.wait(rec.id, seconds or 30)
    rec = store.get("instance", rec.id)
  end
  if rec.status ~= "RUNNING" then
    return errors.fail("state", "the machine is " .. rec.status .. ", not RUNNING", { status_now = rec.status })
  end
  local p, perr = providers.get(rec.provider)
  if not p then return nil, perr end
  return rec, p
end

-- Something that needs the machine failed in a way that says that it may not run: look, and start it again if so.
function M.doubt(rec, err)
  if err.code == "state" or err.code == "not_found" or err.code == "unavailable" then work.check(rec) end
end

local executing = {} -- [provider name] = commands that run now

-- Runs a command on a machine. At most half of a provider's threads do this, or long commands would keep stop and
-- delete waiting. -> {exit=, stdout=, stderr=, truncated=} (bytes) | nil, err
function M.exec(actor, key, cmd, seconds)
  local rec, p = M.running(actor, key)
  if not rec then return nil, p end
  local name = rec.provider
  if (executing[name] or 0) >= math.max(1, math.floor(providers.threads / 2)) then
    return errors.fail("unavailable", "too many commands run already; try again", { retryable = true, retry_after = 1 })
  end
  executing[name] = (executing[name] or 0) + 1
  local result, err = p:exec(rec.provider_id, { cmd = cmd, timeout = seconds or 60 })
  executing[name] = executing[name] - 1
  if not result then
    -- "not_found" may be the program's, not the machine's: the check tells
    M.doubt(rec, err)
    return nil, err
  end
  return result
end

local LOG_BYTES = 65536

-- The newest output of the machine's `cmd`, 64 KiB at most; "" when it had none. -> bytes | nil, err
function M.logs(actor, key)
  local rec, p = M.running(actor, key)
  if not rec then return nil, p end
  local file = p:capabilities().log_file
  if not file then return errors.fail("unsupported", "the provider " .. rec.provider .. " keeps no log of a machine") end
  local tail = { "sh", "-c", '[ ! -e "$1" ] || tail -c "$2" "$1"', "sh", file, tostring(LOG_BYTES) }
  local result, err = M.exec(actor, key, tail, 10)
  if not result then return nil, err end
  if result.exit ~= 0 then return errors.fail("io", "the log cannot be read: " .. json.text(result.stderr)) end
  return result.stdout
end

-- What the machine does now: {last_input_at=ms, ...} | nil, err
function M.activity(actor, key)
  local rec, p = M.running(actor, key)
  if not rec then return nil, p end
  return p:activity(rec.provider_id)
end

return M
