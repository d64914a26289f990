-- What requests about machines may hold, and the record that a create request becomes.

local crypto = require "crypto"
local ids = require "ids"
local json = require "json"
local vpc = require "machines.vpc"
local providers = require "providers"
local ssh_keys = require "ssh_keys"
local time = require "time"
local types = require "types"

local record = require "machines.record"
local statuses = require "statuses"
local sorted_keys = require "sorted_keys"

local M = {}

function M.type_fault(name)
  if not types.get(name) then return "no such machine type; GET /types lists them" end
end

local function path_fault(path)
  if path:find("//", 1, true) or #path > 1 and path:sub(-1) == "/" then return "a path without // and a last / expected" end
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
  if type(id) == "number" and id >= 1 and id <= 2 ^ 53 and id == math.floor(id) then return end
  if type(id) == "string" and #id <= 254 and (id:match("^[%w-]+$") or id:find("@", 2, true)) and id ~= "operator" then return end
  return "the id of a user expected (uuid, number or email address)"
end

local function key_fault(text)
  local key, err = ssh_keys.parse(text)
  if not key then return err.message end
end

-- Every version of a record keeps what it had, so there is an end to it.
local function too_large(most)
  return function(map)
    local n = 0
    for k, v in pairs(map) do n = n + #k + #v end
    if n > most then return ("at most %d bytes in all expected, not %d"):format(most, n) end
  end
end

local text_map = { "map", of = { "string", max = 4096 }, max = 100, check = too_large(65536) }
local id_text = { "string", min = 1, max = 64, pattern = "^[%w_.-]+$", hint = "an id" }

M.volume = {
  id = { "string", required = true, pattern = "^[%w][%w_-]*$", max = 64, hint = "letters, digits, '_' and '-'" },
  path = { "string", required = true, pattern = "^/[^%c]+$", max = 255, hint = "an absolute path", check = path_fault },
}

M.MAX_VOLUMES = 16

local group_id = { "string", pattern = "^%x[%x-]+$", max = 36, hint = "the id of a security group" }
local groups = { "list", max = vpc.MAX_GROUPS, of = group_id }

M.create = {
  name = { "string", check = ids.name_fault },
  image = { "string", min = 1, max = 255, pattern = "^[%w/_.:@+-]+$", hint = "the name of an image" },
  type = { "string", max = 64, check = M.type_fault },
  location = { "string", min = 1, max = 64, pattern = "^[%w_-]+$", hint = "the name of a location" },
  provider = { "string", one_of = providers.names() },
  ports = { "list", of = { "integer", min = 1, max = 65535 } },
  env = { "map", key = "^[%a_][%w_]*$", of = { "string", max = 32768 }, check = too_large(131072) },
  cmd = { "list", of = { "string", max = 32768 } },
  volumes = { "list", max = M.MAX_VOLUMES, of = { "object", fields = M.volume }, check = volumes_fault },
  vpc_id = id_text, subnet_id = id_text, security_groups = groups,
  ssh_keys = { "list", max = 64, of = { "string", max = 16384, check = key_fault } },
  labels = text_map,
  plan = { "string", min = 1, max = 64, pattern = "^[%w_-]+$", hint = "the name of a plan" },
  hours = { "integer", min = 1, max = 87600 },
  network = { "string", one_of = { "nat", "none", "host" } },
  user_id = { "any", check = user_fault },
}

M.MAX_SNAPSHOTS = 16
M.snapshot = { name = { "string", min = 1, max = 40, pattern = "^[%w_-]+$", hint = "letters, digits, '-' and '_'" } }

M.patch = { name = M.create.name, labels = text_map, env = M.create.env, security_groups = groups }

-- ---- a whole record, as an import brings it

local function is_time(v) return type(v) == "string" and time.parse(v) ~= nil end
local function is_text(v) return type(v) == "string" and v ~= "" end
local function is_table(v) return type(v) == "table" end
local function or_null(fits) return function(v) return v == json.null or fits(v) end end

local record_form = {
  id = function(v) return type(v) == "string" and ids.is_uuid(v) end,
  short = function(v) return type(v) == "string" and ids.is_short(v) end,
  name = is_text, owner = is_text, provider = is_text, image = is_text, type = is_text, network = is_text,
  status = function(v) return statuses.get(v) ~= nil end,
  desired = function(v) return v == "RUNNING" or v == "STOPPED" or v == "DELETED" end,
  created_at = is_time, updated_at = is_time, status_at = is_time, last_activity_at = is_time,
  deadline_at = or_null(is_time), expires_at = or_null(is_time),
  version = function(v) return type(v) == "number" and v >= 1 end,
  resources = is_table, ports = is_table, env = is_table, cmd = is_table, volumes = is_table, labels = is_table,
  ssh_keys = is_table, queue = is_table,
  operation = or_null(function(v) return type(v) == "string" and ids.is_uuid(v) end),
}

-- Which field of a machine's record cannot be, or nil.
function M.record_fault(rec)
  for _, name in ipairs(sorted_keys(record_form)) do
    local v = rec[name]
    if v == nil or not record_form[name](v) then return name end
  end
  if (rec.deadline_at == json.null) ~= statuses.settled(rec.status) then return "deadline_at" end
end

-- Each as one line with single blanks.
local function tidy_keys(lines)
  local out = json.array {}
  for i, line in ipairs(lines or {}) do out[i] = assert(ssh_keys.parse(line)).text end
  return out
end

-- The record of a machine that was just asked for; work on it has not begun. place: {provider =, type =, location =}
function M.new_record(spec, owner, place)
  local id, now = crypto.uuid(), time.now()
  local kind = types.get(place.type)
  local rec = {
    id = id, short = ids.short(id), name = spec.name or "cc-" .. ids.short(id), owner = owner,
    provider = place.provider, provider_id = json.null,
    image = spec.image or providers.default_image(place.provider), type = kind.name,
    resources = { vcpu = kind.vcpu, memory_mib = kind.memory_mib, disk_gib = kind.disk_gib },
    location = place.location or json.null, ports = json.array(spec.ports or {}), env = spec.env or {},
    cmd = json.array(spec.cmd or {}), volumes = json.array(spec.volumes or {}), vpc_id = spec.vpc_id or json.null,
    subnet_id = spec.subnet_id or json.null, ssh_keys = tidy_keys(spec.ssh_keys), ssh = json.null,
    labels = spec.labels or {}, plan = spec.plan or json.null, network = spec.network or "nat", desired = "RUNNING",
    created_at = time.rfc3339(now), last_activity_at = time.rfc3339(now),
    expires_at = spec.hours and time.rfc3339(now + spec.hours * 3600000) or json.null, -- until its clock starts
    prepaid = spec.hours and { hours = spec.hours, begun_at = json.null } or nil,
    operation = json.null, queue = json.array {},
  }
  record.enter(rec, statuses.first)
  return rec
end

return M
