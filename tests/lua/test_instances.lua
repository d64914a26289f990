-- Rules of machines that no route shows yet: what an actor who is not the operator may do and see.
local t = require "t"
local instances = require "instances"
local store = require "store"
local access = require "machines.access"

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  POLICIES_DIR = "tests/lib/policies",
  QUOTA_INSTANCES = 10, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

local function made(actor, spec)
  local m, op = assert(instances.create(actor, spec))
  t.eq(assert(instances.operation(actor, op, 10)).state, "done")
  return m
end

local ann, bob = { user = "ann" }, { user = "bob" }

t.test("what is another's is not there", function()
  local m = made(ann, { name = "box" })
  for _, key in ipairs { m.id, m.short, "box" } do
    local text, err = instances.text(bob, key)
    t.eq(text, nil, key); t.eq(err.code, "not_found", key)
    t.eq(select(2, instances.move(bob, key, "delete")).code, "not_found")
    t.eq(select(2, instances.patch(bob, key, {})).code, "not_found")
    t.eq(select(2, instances.resize(bob, key, "large")).code, "not_found")
    t.eq(select(2, instances.extend(bob, key, 1)).code, "not_found")
    t.eq(select(2, access.exec(bob, key, { "id" })).code, "not_found")
  end
  t.ok(instances.text(ann, m.id))
  t.ok(instances.text(ann, "box"))
  t.ok(instances.text(instances.operator, m.id))
  t.eq(#instances.list(bob, nil, 10).texts, 0)
  t.eq(#instances.list(ann, nil, 10).texts, 1)
  t.eq(made(bob, { name = "box" }).owner, "bob")
end)

t.test("only the operator names a user, a path of the host, or the host's network", function()
  for _, spec in ipairs { { user_id = "bob" }, { image = "/etc" }, { network = "host" } } do
    t.eq(select(2, instances.create(ann, spec)).code, "denied")
  end
end)

t.test("the log of a machine tells its life, and holds", function()
  local m = made(ann, {})
  assert(instances.move(ann, m.id, "stop"))
  assert(instances.move(ann, m.id, "delete"))
  local kinds = {}
  for _, e in ipairs(store.history("instance", m.id, {})) do table.insert(kinds, 1, e.type) end
  t.eq(table.concat(kinds, " "), "created running stopping stopped deleting deleted")
  t.ok(store.verify())
end)

return t.done()
