-- Two processes at one machine: what the other one, here played by this one, does while a step is under way.
local t = require "t"
local agent_secret = require "machines.agent_secret"
local fs = require "fs"
local instances = require "instances"
local json = require "json"
local providers = require "providers"
local runner = require "runner"
local workflow = require "workflow"

local dir = t.tmpdir()
local ledger = dir .. "/ledger"

assert(require("setup").open({
  DATA_DIR = dir .. "/data", STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, PROVIDER = "mock",
  MOCK = { state = dir .. "/world", ledger = ledger }, POLICIES_DIR = "tests/lib/policies",
  QUOTA_INSTANCES = 10, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

-- Runs fn as a process that has ended by the time this one looks, and knows nothing of what this one has under way.
local function by_another(fn)
  local me, interrupt = workflow.me, runner.interrupt
  workflow.me, runner.interrupt = "none", function() end
  fn()
  workflow.me, runner.interrupt = me, interrupt
end

-- What was really changed at the provider, in order.
local function done(id)
  local out = {}
  for line in assert(fs.read(ledger)):gmatch("[^\n]+") do
    local entry = json.decode(line)
    if entry.id == id and entry.changed then out[#out + 1] = entry.op end
  end
  return table.concat(out, " ")
end

t.test("a machine that another process deletes while it starts is not made anew", function()
  local ann = { user = "ann" }
  local m, op = assert(instances.create(ann, {}))
  t.eq(assert(instances.operation(ann, op, 10)).state, "done")
  assert(instances.move(ann, m.id, "stop", 10))
  local provider = assert(providers.get("mock"))
  local ensure = agent_secret.ensure
  agent_secret.ensure = function(rec) -- the last moment before the start
    agent_secret.ensure = ensure
    by_another(function()
      assert(instances.move(ann, rec.id, "delete", 0))
      assert(provider:destroy(rec.provider_id, { purge = true }))
    end)
    return ensure(rec)
  end
  assert(instances.move(ann, m.id, "start", 0))
  t.wait_until(function()
    local now = instances.text(ann, m.id)
    return not now or json.decode(now).status == "DELETED"
  end, "it is deleted")
  t.eq(done(m.id), "create stop destroy")
end)

return t.done()
