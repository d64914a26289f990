-- cchost tests/bench/hetzner.lua DIR URL TOKEN COUNT: a host whose records are the machines that the double of Hetzner was
-- seeded with (tests/lib/hetzner/world.js: seed) sweeps them, again and again, until its budget says that users come first. A
-- line for each sweep: its ms; then what the counters say: sweeps, machines whose record and list disagreed, orphans.
local fields = require "machines.fields"
local ids = require "ids"
local reconcile = require "reconcile"
local record = require "machines.record"
local store = require "store"
local time = require "time"

local dir, url, token, count = ...
assert(require("setup").open({
  DATA_DIR = dir, PROVIDER = "hetzner", HCLOUD_ENDPOINT = url, HCLOUD_TOKEN = token, STOP_GRACE_SECONDS = 1,
  PROVIDER_THREADS = 4, PROVIDER_SECONDS = 20, MOCK = {}, POLICIES_DIR = "tests/lib/policies", QUOTA_INSTANCES = 0,
  ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 600,
}, { serve = true }))

local function machine(i)
  local short = ("%012x"):format(0xabc000000000 + i)
  local rec = fields.new_record({ name = ("box-%05d"):format(i) }, "operator", { provider = "hetzner", type = "small" })
  rec.id = "00000000-0000-4000-8000-" .. short
  rec.short, rec.provider_id = ids.short(rec.id), "cc-" .. short
  record.enter(rec, i % 10 == 0 and "STOPPED" or "RUNNING")
  rec.desired = rec.status
  return rec
end

for from = 0, tonumber(count) - 1, 500 do
  assert(store.update(function(tx)
    for i = from, math.min(from + 499, count - 1) do record.save(tx, nil, machine(i), "created", "bench") end
    return true
  end))
end

while reconcile.counters.deferred == 0 do
  local from = time.mono()
  if reconcile.sweep("hetzner") then
    print("sweep", time.mono() - from)
  else
    assert(reconcile.counters.deferred > 0, "it failed")
  end
end
local known = store.get("provider", "hetzner")
print("told", reconcile.counters.sweeps, reconcile.counters.drift, next(known.orphans or {}) and "orphans" or "none")
