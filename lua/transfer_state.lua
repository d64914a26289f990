-- instances.json, the state file of the `ccc` scripts, in and out:
--
--   {"instances": {id: {instanceId, email, serverName, serverIp, serverType, createdAt, expiresAt, status}}}
--
-- In: a server becomes a machine of the provider "foreign" (foreign.lua), which nothing drives.  instanceId is its short
-- form and the end of its id, which is made from it, so that a second import finds the first; email is its owner;
-- serverName its name and its name at the provider; serverIp the label server_ip; serverType its type as it stands.
-- Out: every machine that is not deleted; email is the address of its account, serverIp where it is reached over ssh. One that
-- never expires says so by the year 9999, because those scripts take an absent time for one that is past.

local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local fields = require "machines.fields"
local record = require "machines.record"
local schema = require "schema"
local sorted_keys = require "sorted_keys"
local store = require "store"
local time = require "time"
local types = require "types"
local walk = require "walk"

local M = {}

local NEVER = "9999-12-31T23:59:59.000Z"
local MOST = 10000 -- entries: one commit

local function size_of(name)
  local t = types.get(name)
  return t and { vcpu = t.vcpu, memory_mib = t.memory_mib, disk_gib = t.disk_gib } or {}
end

local status_in = { running = "RUNNING", stopped = "STOPPED", error = "ERROR" }
local status_out = { STOPPED = "stopped", ERROR = "error" }

local function time_fault(text)
  if not time.parse(text) then return "a time like 2026-11-20T12:00:00Z expected" end
end

local entry_fields = {
  instanceId = { "string", required = true, pattern = "^%x%x%x%x%x%x%x%x%x%x%x%x$", hint = "12 hexadecimal digits" },
  email = { "string", required = true, max = 254, pattern = "^[^%s/@]+@[^%s/@]+$", hint = "an e-mail address" },
  serverName = { "string", required = true, check = ids.name_fault },
  serverIp = { "string", required = true, max = 45, pattern = "^[%x:.]*$", hint = "an address" },
  serverType = { "string", required = true, min = 1, max = 64, pattern = "^[%w_.-]+$", hint = "the name of a type" },
  createdAt = { "string", required = true, check = time_fault },
  expiresAt = { "string", required = true, check = time_fault },
  status = { "string", required = true, one_of = { "running", "stopped", "error" } },
}

-- ---- in

-- The id of the machine that an instanceId becomes: always the same.
local function uuid_of(short)
  local h = crypto.hex(crypto.sha256("instances.json " .. short))
  return ("%s-%s-4%s-8%s-%s"):format(h:sub(1, 8), h:sub(9, 12), h:sub(13, 15), h:sub(16, 18), short)
end

local function utc(text) return time.rfc3339(time.parse(text)) end

local function to_record(entry)
  local rec = fields.new_record({}, entry.email, { provider = "foreign", type = types.default })
  local short = entry.instanceId:lower()
  rec.id, rec.short, rec.name, rec.provider_id = uuid_of(short), short, entry.serverName, entry.serverName
  rec.type, rec.resources = entry.serverType, size_of(entry.serverType)
  rec.image, rec.network, rec.labels = "unknown", json.null, { server_ip = entry.serverIp }
  rec.created_at = utc(entry.createdAt)
  rec.last_activity_at = rec.created_at
  rec.expires_at = utc(entry.expiresAt) ~= NEVER and utc(entry.expiresAt) or json.null
  rec.desired = entry.status == "stopped" and "STOPPED" or "RUNNING"
  record.enter(rec, status_in[entry.status])
  return rec
end

-- The first fault of one entry, as a sentence, or nil.
local function entry_fault(id, entry)
  local at = "instances." .. id
  local ok, err = schema.check(entry_fields, entry, at .. ".")
  if not ok then return err.message end
  if entry.instanceId ~= id then return at .. ".instanceId: not the name of its entry" end
end

-- Pure. -> {record...} by instanceId | nil, {sentence...}
function M.read(text)
  local state, err = json.decode(text)
  if state == nil then return nil, { err.message } end
  local map = type(state) == "table" and state.instances
  if type(map) ~= "table" or json.is_array(map) then return nil, { 'instances: an object expected, as in {"instances":{}}' } end
  local records, faults, keys = {}, {}, sorted_keys(map)
  if #keys > MOST then return nil, { ("instances: at most %d entries expected"):format(MOST) } end
  for _, id in ipairs(keys) do
    local why = entry_fault(id, map[id])
    if why then faults[#faults + 1] = why else records[#records + 1] = to_record(map[id]) end
  end
  if #faults > 0 then return nil, faults end
  return records
end

local function conflict(tx, rec)
  if tx:raw("instance", rec.id) or tx:lookup("instance_short", rec.short) then
    return ("instances.%s.instanceId: there is such a machine already"):format(rec.short)
  end
  if tx:lookup("instance_name", rec.owner .. "/" .. rec.name) then
    return ("instances.%s.serverName: %s has a machine called %s already"):format(rec.short, rec.owner, rec.name)
  end
end

-- All of it in one commit, or nothing. -> how many | nil, {sentence...}
function M.import(text)
  local records, faults = M.read(text)
  if not records then return nil, faults end
  local ok, err = store.update(function(tx)
    faults = {}
    for _, rec in ipairs(records) do
      local why = conflict(tx, rec)
      if why then faults[#faults + 1] = why
      else record.save(tx, nil, rec, "imported", "operator", { reason = "imported from instances.json" }) end
    end
    if #faults > 0 then return errors.fail("exists", table.concat(faults, "; ")) end
    return true
  end)
  if not ok then return nil, #faults > 0 and faults or { err.message } end
  return #records
end

-- ---- out

-- The operator's own machines have no address; this one can come in again.
local OPERATOR = "operator@localhost"

local function email_of(owner)
  if owner == "operator" then return OPERATOR end
  local user = not owner:find("@", 1, true) and store.get("user", owner)
  return user and user.email or owner
end

local function address_of(rec)
  return type(rec.ssh) == "table" and rec.ssh.host or rec.labels.server_ip or ""
end

local function to_entry(rec)
  local at_provider = rec.provider_id ~= json.null and rec.provider_id or "cc-" .. rec.short
  return {
    instanceId = rec.short, email = email_of(rec.owner), serverName = at_provider, serverIp = address_of(rec),
    serverType = rec.type, createdAt = rec.created_at, expiresAt = rec.expires_at ~= json.null and rec.expires_at or NEVER,
    status = status_out[rec.status] or "running",
  }
end

-- -> the text of instances.json, one entry a line
function M.export()
  local lines = {}
  for row in walk.index("instance_live") do
    local rec = store.get("instance", row.key)
    if rec then lines[#lines + 1] = ('"%s":%s'):format(rec.short, json.encode(to_entry(rec))) end
  end
  return '{"instances":{\n' .. table.concat(lines, ",\n") .. "\n}}\n"
end

return M
