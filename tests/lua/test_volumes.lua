-- Volumes as things of their own: their life, who may, what is refused when, and what a machine has to do with it. On the mock.
local t = require "t"
local fs = require "fs"
local instances = require "instances"
local json = require "json"
local providers = require "providers"
local runner = require "runner"
local store = require "store"
local volumes = require "volumes"

local dir = t.tmpdir()
local ledger = dir .. "/ledger"

assert(require("setup").open({
  DATA_DIR = dir, STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, PROVIDER = "mock",
  MOCK = { ledger = ledger }, POLICIES_DIR = "tests/lib/policies", QUOTA_INSTANCES = 100, ORPHANS = "report", SWEEP_SECONDS = 30,
  ORPHAN_GRACE_SECONDS = 0, TOMBSTONE_DAYS = 1, LOG_DAYS = 0, OPERATION_DAYS = 1, CONVERSATION_DAYS = 0, WEBHOOK_LOG_DAYS = 14,
}, { serve = true }))

local ann, bob = { user = "ann" }, { user = "bob" }

local function done(actor, rec, op)
  assert(rec, op and tostring(op))
  t.eq(assert(instances.operation(actor, op, 10)).state, "done")
  return assert(volumes.get(actor, rec.id))
end

local function vol(actor, spec) return done(actor, volumes.create(actor, spec)) end

local function machine(actor, spec)
  local m, op = assert(instances.create(actor, spec))
  t.eq(assert(instances.operation(actor, op, 10)).state, "done")
  return assert(instances.get(actor, m.id))
end

local function refused(code, pattern, rec, err)
  t.eq(rec, nil, "refused")
  t.eq(err.code, code, err.message)
  t.match(err.message, pattern)
  return err
end

-- What was done at the provider, changes alone: "op op ..."
local function did(from)
  local out = {}
  for line in assert(fs.read(ledger, 16777216)):sub(from + 1):gmatch("[^\n]+") do
    local o = json.decode(line)
    if o.changed then out[#out + 1] = o.op .. (o.purge and "!" or "") end
  end
  return table.concat(out, " ")
end

local function mark() return #(fs.read(ledger, 16777216) or "") end

local function at_provider()
  local out = {}
  for _, v in ipairs(assert(assert(providers.get("mock")):volume_list())) do out[v.id] = v.size_gib end
  return out
end

local function log_of(id)
  local types = {}
  for _, e in ipairs(store.history("volume", id, {})) do table.insert(types, 1, e.type) end
  return table.concat(types, " ")
end

t.test("a volume is made, found, listed, and deleted", function()
  local v = vol(ann, { name = "data", size_gib = 7 })
  t.eq(v.status, "AVAILABLE"); t.eq(v.size_gib, 7); t.eq(v.attached_to, json.null); t.eq(v.owner, "ann")
  t.eq(at_provider()[v.provider_id], 7)
  t.eq(volumes.get(ann, "data").id, v.id)
  refused("exists", "a volume called 'data' already", volumes.create(ann, { name = "data" }))
  t.eq(#volumes.list(ann, nil, 10).texts, 1)
  t.eq(store.get("account", "ann").volumes_gib, 7)
  local gone, is_done = volumes.delete(ann, "data")
  t.ok(is_done); t.eq(gone.status, "DELETED"); t.eq(at_provider()[v.provider_id], nil)
  t.eq(volumes.delete(ann, v.id).status, "DELETED") -- again
  refused("not_found", "no such volume", volumes.get(ann, "data"))
  t.eq(#volumes.list(ann, nil, 10).texts, 0)
  t.eq(store.get("account", "ann").volumes_gib, 0); t.eq(store.get("account", "ann").volumes, 0)
  t.eq(log_of(v.id), "created available deleting deleted")
end)

t.test("what is another's is not there", function()
  local v = vol(ann, { name = "mine" })
  for _, key in ipairs { v.id, "mine" } do
    for _, verb in ipairs { "get", "delete", "snapshot", "detach" } do
      refused("not_found", "no such volume", volumes[verb](bob, key))
    end
    refused("not_found", "no such volume", volumes.restore(bob, key, "s"))
    refused("not_found", "no such volume", volumes.clone(bob, key, {}))
    refused("not_found", "no such volume", volumes.attach(bob, key, { machine = "m", path = "/d" }))
  end
  t.eq(#volumes.list(bob, nil, 10).texts, 0)
  local his = vol(bob, { name = "mine" }) -- a name is its owner's
  t.ok(his.provider_id ~= v.provider_id)
  local m = machine(bob, {})
  refused("not_found", "no such machine", volumes.attach(ann, v.id, { machine = m.id, path = "/d" }))
  refused("not_found", "no such machine", volumes.attach(instances.operator, v.id, { machine = m.id, path = "/d" }))
  refused("denied", "only the operator", volumes.create(ann, { user_id = "bob" }))
  for _, spec in ipairs { { name = "../x" }, { name = "cc-0123456789ab" }, { size_gib = 0 }, { size = 1 } } do
    t.eq(select(2, volumes.create(ann, spec)).code, "invalid")
  end
end)

t.test("it is attached and detached, also by way of the machine, and both records say so", function()
  local m, v = machine(ann, { name = "host" }), vol(ann, { name = "work" })
  local now, is_done = volumes.attach(ann, "work", { machine = "host", path = "/work" })
  t.ok(is_done); t.eq(now.attached_to, m.id); t.eq(now.path, "/work")
  t.eq(instances.get(ann, m.id).volumes[1].id, "work")
  refused("state", "attached to the machine host", volumes.delete(ann, "work"))
  local other = machine(ann, {})
  refused("conflict", "attached to the machine host", volumes.attach(ann, "work", { machine = other.id, path = "/w" }))
  local both = json.array { { id = "work", path = "/w" } }
  refused("conflict", "attached to the machine host", instances.create(ann, { volumes = both }))
  now = volumes.detach(ann, "work")
  t.eq(now.attached_to, json.null); t.eq(#instances.get(ann, m.id).volumes, 0)
  t.eq(select(2, volumes.detach(ann, "work")), true) -- again
  assert(instances.attach(ann, m.id, { id = "work", path = "/else" }))
  t.eq(volumes.get(ann, "work").path, "/else")
  assert(instances.move(ann, m.id, "delete"))
  t.eq(volumes.get(ann, "work").attached_to, json.null)
  t.eq(at_provider()[v.provider_id], 20)
  t.eq(log_of(v.id), "created available attached detached attached detached")
end)

t.test("a volume that a machine names is made with it, and outlives it", function()
  local from = mark()
  local m = machine(ann, { volumes = json.array { { id = "fresh", path = "/f" } }, type = "tiny" })
  t.match(did(from), "^volume_create create")
  local v = volumes.get(ann, "fresh")
  t.eq(v.status, "AVAILABLE"); t.eq(v.attached_to, m.id); t.eq(v.path, "/f"); t.eq(v.size_gib, 5)
  assert(instances.attach(ann, m.id, { id = "second", path = "/s" }))
  t.eq(volumes.get(ann, "second").attached_to, m.id)
  from = mark()
  assert(instances.move(ann, m.id, "delete"))
  t.eq(did(from), "destroy!") -- with what was made for it alone
  t.eq(volumes.get(ann, "fresh").attached_to, json.null)
  local n = machine(ann, { volumes = json.array { { id = "fresh", path = "/g" } } })
  t.eq(volumes.get(ann, "fresh").attached_to, n.id); t.eq(volumes.get(ann, "fresh").size_gib, 5)
  assert(instances.move(ann, n.id, "delete"))
end)

t.test("snapshots are taken, restored any number of times, cloned, and deleted", function()
  local v = vol(ann, { name = "base", size_gib = 3 })
  local now = volumes.snapshot(ann, "base", "one")
  t.eq(now.snapshots[1].name, "one"); t.eq(now.snapshots[1].size_gib, 3); t.match(now.snapshots[1].created_at, "^20")
  refused("exists", "a snapshot of that name", volumes.snapshot(ann, "base", "one"))
  t.match(volumes.snapshot(ann, "base").snapshots[2].name, "^s%-%d+%-%d+$")
  for _ = 1, 2 do t.eq(volumes.restore(ann, "base", "one").status, "AVAILABLE") end
  refused("not_found", "no such snapshot", volumes.restore(ann, "base", "nine"))
  refused("not_found", "no such snapshot", volumes.drop_snapshot(ann, "base", "nine"))
  refused("not_found", "no such snapshot", volumes.clone(ann, "base", { snapshot = "nine" }))
  local c = done(ann, volumes.clone(ann, "base", { name = "copy", snapshot = "one" }))
  t.eq(c.size_gib, 3); t.eq(c.from.volume, v.id); t.eq(c.from.snapshot, "one"); t.eq(at_provider()[c.provider_id], 3)
  refused("exists", "called 'copy' already", volumes.clone(ann, "base", { name = "copy" }))
  t.eq(#volumes.drop_snapshot(ann, "base", "one").snapshots, 1)
  assert(volumes.delete(ann, "base"))
  local m = machine(ann, { volumes = json.array { { id = "copy", path = "/c" } } }) -- by its own name at the provider
  t.eq(volumes.get(ann, "copy").attached_to, m.id)
  t.eq(log_of(v.id), "created available snapshotting snapshot_created snapshotting snapshot_created restoring restored "
    .. "restoring restored clone_asked snapshotting snapshot_deleted deleting deleted")
  t.eq(#assert(providers.get("mock")):snapshot_list(c.provider_id), 0)
end)

t.test("data must stand still while they are copied or restored, and no machine starts on them meanwhile", function()
  local m = machine(ann, { name = "runs", volumes = json.array { { id = "busy", path = "/b" } } })
  refused("state", "attached to the machine runs, which is RUNNING: stop it first", volumes.snapshot(ann, "busy", "s"))
  refused("state", "stop it first", volumes.clone(ann, "busy", {}))
  assert(instances.move(ann, m.id, "stop"))
  assert(volumes.snapshot(ann, "busy", "s"))
  assert(instances.move(ann, m.id, "start"))
  refused("state", "cannot be restored", volumes.restore(ann, "busy", "s"))
  assert(instances.move(ann, m.id, "stop"))
  -- while it goes on: as one that has just been asked for
  for status, pattern in pairs { RESTORING = "it is being restored", SNAPSHOTTING = "a snapshot", ERROR = "has failed" } do
    local id = volumes.get(ann, "busy").id
    local before
    assert(store.update(function(tx)
      before = tx:get("volume", id)
      local rec = require("volumes.record").edit(before)
      rec.status = status
      tx:put("volume", id, rec, "ann")
      return true
    end))
    refused("state", "volume busy: .*" .. pattern, instances.move(ann, m.id, "start"))
    refused("state", "cannot be snapshotted: restore it first", volumes.snapshot(ann, "busy", "t"))
    refused("state", "cannot be cloned: restore it first", volumes.clone(ann, "busy", {}))
    assert(store.update(function(tx) tx:put("volume", id, before, "ann") return true end))
  end
  assert(volumes.restore(ann, "busy", "s"))
  assert(instances.move(ann, m.id, "start"))
end)

t.test("what failed at the provider says so, and can be done again", function()
  local p = assert(providers.get("mock"))
  local v = vol(ann, { name = "frail" })
  assert(volumes.snapshot(ann, "frail", "s"))
  assert(p:snapshot_delete(v.provider_id, "s")) -- behind our back
  refused("failed", "has no snapshot s", volumes.restore(ann, "frail", "s"))
  local now = volumes.get(ann, "frail")
  t.eq(now.status, "AVAILABLE"); t.match(now.error, "has no snapshot s")
  assert(p:volume_delete(v.provider_id))
  refused("failed", "no volume frail", volumes.snapshot(ann, "frail", "t"))
  t.match(log_of(v.id), "volume_restore_failed snapshotting volume_snapshot_undone$")
  assert(volumes.delete(ann, "frail"))
  t.eq(volumes.get(ann, v.id).status, "DELETED")
end)

t.test("one of a name is asked for by its id where there are two", function()
  local v = vol(ann, { name = "twin" })
  assert(store.update(function(tx) -- as one at another provider
    local rec = require("volumes.record").edit(v)
    rec.id, rec.provider = v.id:gsub("^........", "00000000"), "docker"
    require("volumes.record").save(tx, nil, rec, "created", "test")
    return true
  end))
  refused("conflict", "at more than one provider", volumes.get(ann, "twin"))
  t.eq(volumes.get(ann, v.id).provider, "mock")
end)

t.test("tombstones go when their time is over", function()
  local v = vol(bob, { name = "old" })
  assert(volumes.delete(bob, "old"))
  local now = require("time").now()
  assert(require("retention").run(now + 3600000))
  t.eq(volumes.get(bob, v.id).status, "DELETED")
  t.ok(assert(require("retention").run(now + 2 * 86400000)).volumes >= 1)
  refused("not_found", "no such volume", volumes.get(bob, v.id))
end)

t.test("the books of volumes agree with the records, and the log holds", function()
  local n, gib = 0, 0
  for _, row in ipairs(store.list("volume")) do
    local rec = json.decode(row.json)
    if rec.owner == "ann" and rec.status ~= "DELETED" then n, gib = n + 1, gib + rec.size_gib end
  end
  t.eq(store.get("account", "ann").volumes, n); t.eq(store.get("account", "ann").volumes_gib, gib)
  assert(volumes.delete(ann, "fresh"))
  local held = store.list("volume_hold")
  t.ok(#held > 0)
  for _, row in ipairs(held) do t.ok(store.get("volume", row.id).status ~= "DELETED", "what is kept for a machine is there") end
  t.ok(store.verify())
  t.ok(not runner.busy("volume", "x"))
end)

return t.done()
