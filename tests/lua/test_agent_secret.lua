-- The secret of a machine's agent: made with the machine, sealed, ended with each run, and never the machine's own.
local t = require "t"
local agent_secret = require "machines.agent_secret"
local crypto = require "crypto"
local instances = require "instances"
local store = require "store"
local vault = require "vault"

local first, second = ("k"):rep(32), ("n"):rep(32)

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  POLICIES_DIR = "tests/lib/policies",
  QUOTA_INSTANCES = 10, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))
vault.setup { current = first }

local function settled(op, state) t.eq(assert(instances.operation(instances.operator, op, 10)).state, state or "done") end

local function made()
  local m, op = assert(instances.create(instances.operator, {}))
  settled(op)
  return m
end

local function move(m, verb) t.eq(select(2, assert(instances.move(instances.operator, m.id, verb, 10))), true) end

t.test("a machine has one from its first commit to its stop, another at each start, none when it is gone", function()
  local m = assert(instances.create(instances.operator, {}))
  local header = agent_secret.header(m)
  t.match(header, "^Bearer %x+$")
  t.eq(#header, 7 + 64)
  t.eq(agent_secret.key(m), crypto.hex(crypto.sha256(header:sub(8))))
  settled(m.operation)
  t.eq(agent_secret.header(m), header)
  move(m, "stop")
  t.eq(agent_secret.header(m), nil)
  t.eq(agent_secret.key(m), nil)
  move(m, "start")
  local next_header = agent_secret.header(m)
  t.ok(next_header and next_header ~= header)
  t.ok(next_header ~= agent_secret.header(made()))
  move(m, "delete")
  t.eq(store.get("secret", "agent/" .. m.id), nil)
end)

t.test("a machine from before there were any has none until it starts again", function()
  local m = made()
  t.ok(store.update(function(tx) agent_secret.forget(tx, m.id) return true end))
  t.eq(agent_secret.header(m), nil)
  move(m, "stop")
  move(m, "start")
  t.ok(agent_secret.header(m))
end)

t.test("a change of the master key takes them along; one that cannot be read ends with the run", function()
  local m = made()
  local header = agent_secret.header(m)
  vault.setup { current = second, previous = { first } }
  t.eq(agent_secret.header(m), header)
  t.ok(assert(vault.rekey()) > 0)
  vault.setup { current = second }
  t.eq(agent_secret.header(m), header)
  vault.setup { current = first }
  t.eq(agent_secret.header(m), nil)
  move(m, "stop")
  move(m, "start")
  local now = agent_secret.header(m)
  t.ok(now and now ~= header)
end)

t.test("no record and no event says one", function()
  local m = made()
  local secret = agent_secret.get(m)
  for _, kind in ipairs(store.kinds()) do
    for _, row in ipairs(store.list(kind)) do t.eq(row.json:find(secret, 1, true), nil, kind) end
  end
  for _, e in ipairs(store.log { limit = 1000 }) do t.eq((e.data or ""):find(secret, 1, true), nil, e.type) end
end)

return t.done()
