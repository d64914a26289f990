-- What an account may have of volumes, by the policies that are shipped; a provider without snapshots; where a machine goes whose
-- volumes are there.
local t = require "t"
local instances = require "instances"
local json = require "json"
local store = require "store"
local volumes = require "volumes"

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, PROVIDER = "mock",
  MOCK = { snapshots = "false", volume_create = { fail = 1, code = "full" } }, POLICIES_DIR = "policies", QUOTA_INSTANCES = 0,
  ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

local ann, eve = { user = "ann" }, { user = "eve" }

local function vol(actor, spec)
  local rec, op = assert(volumes.create(actor, spec))
  return volumes.settled(actor, rec, op, 10), assert(instances.operation(actor, op, 10))
end

local function refused(code, pattern, rec, err)
  t.eq(rec, nil, "refused")
  t.eq(err.code, code, err.message)
  t.match(err.message, pattern)
  return err
end

t.test("what could not be made says why, holds its name and its place, and is deleted or made later", function()
  local v, op = vol(ann, { name = "first", size_gib = 20 })
  t.eq(v.status, "ERROR"); t.eq(op.state, "failed"); t.match(v.error, "scripted failure"); t.eq(v.made_at, json.null)
  refused("exists", "already", volumes.create(ann, { name = "first" }))
  local m, mop = assert(instances.create(ann, { volumes = json.array { { id = "first", path = "/f" } }, type = "tiny" }))
  t.eq(assert(instances.operation(ann, mop, 10)).state, "done")
  v = volumes.get(ann, "first")
  t.eq(v.status, "AVAILABLE"); t.eq(v.attached_to, m.id); t.eq(v.size_gib, 20)
  t.ok(v.made_at ~= json.null)
end)

t.test("a plan's GiB of volumes are all, however they are asked for", function()
  refused("quota", "^50 GiB of volumes are all that you may have in the plan free, and you have 20",
    volumes.create(ann, { size_gib = 31 }))
  t.eq(vol(ann, { name = "rest", size_gib = 28 }).status, "AVAILABLE")
  local m = instances.list(ann, nil, 10)
  local id = json.decode(m.texts[1]).id
  refused("quota", "^50 GiB", instances.attach(ann, id, { id = "more", path = "/more" }))
  t.eq(store.lookup("volume_name", "ann/more/mock"), nil)
  assert(instances.move(ann, id, "delete"))
  refused("quota", "^50 GiB", instances.create(ann, { volumes = json.array { { id = "more", path = "/m" } }, type = "tiny" }))
  assert(volumes.delete(ann, "rest"))
  t.eq(vol(ann, { size_gib = 30 }).status, "AVAILABLE")
  t.eq(vol(instances.operator, { size_gib = 3000 }).status, "AVAILABLE") -- nobody's plan
  local denied = 0
  for _, e in ipairs(store.history("policy", "denied", {})) do
    if json.decode(e.data).decision.name == "access.volume" then denied = denied + 1 end
  end
  t.ok(denied >= 1)
end)

t.test("a provider without snapshots says so, and does nothing", function()
  local v = vol(instances.operator, { name = "plain" })
  for _, err in ipairs { select(2, volumes.snapshot(instances.operator, "plain", "s")),
    select(2, volumes.clone(instances.operator, "plain", {})), select(2, volumes.restore(instances.operator, "plain", "s")) } do
    t.eq(err.code, "unsupported"); t.eq(err.http_status, 422)
    t.match(err.message, "the provider mock has no snapshots, restore or clones of volumes")
  end
  t.eq(volumes.get(instances.operator, v.id).version, v.version)
end)

t.test("a machine goes where its volumes are", function()
  local v = vol(eve, { name = "far", size_gib = 1 })
  assert(store.update(function(tx) -- as one at another provider
    local record = require "volumes.record"
    local rec = record.edit(v)
    record.enter(rec, "DELETED")
    record.save(tx, v, rec, "deleted", "test")
    local there = record.edit(v)
    there.id, there.provider = v.id:gsub("^........", "00000000"), "local"
    record.save(tx, nil, there, "created", "test")
    return true
  end))
  local attached = require "volumes.machines"
  t.eq(attached.provider_of("eve", { { id = "far" } }), "local")
  t.eq(attached.provider_of("eve", { { id = "nowhere" } }), nil)
  local spec = { volumes = json.array { { id = "far", path = "/f" } }, type = "tiny", provider = "mock" }
  local m = assert(instances.create(eve, spec))
  t.eq(m.provider, "mock") -- said, so another volume of that name is made there
  t.ok(not attached.bound(m))
end)

return t.done()
