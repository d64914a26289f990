-- A store whose machines have labelled traces as their history (examples/policies/traces.lua): for figures and tests.
--
--   cchost tests/bench/fill_traces.lua DIR MACHINES DAYS [SEED]

package.path = "examples/policies/?.lua;" .. package.path
local chunk = require "idle.chunk"
local json = require "json"
local record = require "machines.record"
local store = require "store"
local time = require "time"
local traces = require "traces"

local dir, machines, days, seed = ...
assert(days, "DIR MACHINES DAYS [SEED] expected")
assert(store.open { dir = dir, serve = true })
time.virtual(traces.from)
require("steady").adopt(time.now() - time.mono())

local function machine(tx, known)
  local static = known.statics[1][2]
  local now = time.rfc3339(traces.from)
  local rec = {
    id = known.id, short = known.id:gsub("-", ""):sub(-12), name = static.name, owner = known.owner, provider = "mock",
    provider_id = "x", image = "host", type = static.type, labels = {}, plan = "free",
    desired = "RUNNING", created_at = now, expires_at = json.null,
    last_activity_at = now, operation = json.null, queue = json.array {}, error = json.null, reason = json.null,
    ports = json.array {}, env = {}, volumes = json.array {}, cmd = json.array {}, ssh_keys = json.array {}, network = "nat",
    location = json.null, vpc_id = json.null, subnet_id = json.null, ssh = json.null, security_groups = json.array {},
    resources = { vcpu = 1, memory_mib = 2048, disk_gib = 20 },
  }
  record.enter(rec, "STARTING")
  record.save(tx, nil, rec, "created", known.owner)
  local running = record.edit(rec)
  record.enter(running, "RUNNING")
  record.save(tx, rec, running, "running", "system")
  for _, day in ipairs(known.days) do tx:put("activity", chunk.key(known.id, day.day), day, known.owner) end
end

for i = 1, tonumber(machines) do
  local known = traces.machine(tonumber(seed) or 1, i, tonumber(days)).known
  assert(store.update(function(tx)
    machine(tx, known)
    return true
  end))
end
print(("%d machines from %s to %s"):format(machines, time.rfc3339(traces.from), time.rfc3339(traces.from + days * 86400000)))
