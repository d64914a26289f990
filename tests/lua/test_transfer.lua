-- Exports and imports: whole or not at all, faults named by line, entry and field.
local t = require "t"
local fields = require "machines.fields"
local history = require "history"
local instances = require "instances"
local json = require "json"
local record = require "machines.record"
local store = require "store"
local time = require "time"
local transfer = require "transfer"
local transfer_state = require "transfer_state"

local settings = {
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  POLICIES_DIR = "tests/lib/policies",
  QUOTA_INSTANCES = 10, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}

-- An empty store in the place of the one that is open.
local function fresh()
  store.close()
  assert(store.open { dir = t.tmpdir(), serve = true })
end

local function export()
  local lines = {}
  local n = assert(transfer.export(function(text) lines[#lines + 1] = text end))
  return lines, n
end

local function import(lines)
  return transfer.import(function()
    local i = 0
    return function() i = i + 1 return lines[i] end
  end)
end

local function is_empty()
  t.eq(#store.kinds(), 0); t.eq(#store.indexes(), 0); t.eq(store.stats().log_seq, 0)
end

local lines

assert(require("setup").open(settings, { serve = true }))

t.test("an export of a store is imported into an empty one, whole", function()
  for n = 1, 5 do
    local owner = { user = n % 2 == 0 and "ann" or "bob" }
    local _, op = assert(instances.create(owner, { name = "m" .. n, labels = { n = "ä" .. n } }))
    t.eq(assert(instances.operation(instances.operator, op, 10)).state, "done")
  end
  assert(instances.move(instances.operator, store.scan("instance_live", { limit = 1 })[1].key, "delete"))
  local n
  lines, n = export()
  t.eq(n.records + n.indexes, #lines - 2)
  t.eq(json.decode(lines[1]).format, "cchost export")
  local live = #store.scan("instance_live", {})

  fresh()
  local done = assert(import(lines))
  t.eq(done.lines, #lines - 2); t.eq(done.commits, 1)
  local again = export()
  t.eq(#again, #lines)
  for i = 2, #lines do t.eq(again[i], lines[i]) end
  t.eq(#store.scan("instance_live", {}), live)
  t.eq(#instances.list({ user = "ann" }, nil, 10).texts + #instances.list({ user = "bob" }, nil, 10).texts, live)
  local id = store.lookup("instance_name", "ann/m2") or store.lookup("instance_name", "ann/m4")
  t.eq(json.encode(history.instance(id, time.now())), (store.raw("instance", id)))
  t.eq(store.history("instance", id, {})[1].type, "imported")
  t.ok(store.verify())
end)

t.test("an import into a store that has one of the records changes nothing, and names the line", function()
  local head = store.stats().log_seq
  local done, err = import(lines)
  t.eq(done, nil); t.eq(err.code, "invalid"); t.match(err.message, "^line 2: the record .* is in the store already")
  t.eq(store.stats().log_seq, head)
end)

t.test("more lines than one commit takes go in several", function()
  fresh()
  transfer.commit_lines = 7
  local done = assert(import(lines))
  transfer.commit_lines = 200000
  t.eq(done.commits, math.ceil((#lines - 2) / 7))
  t.eq(#export(), #lines)
end)

t.test("a broken file is refused by line, whatever is wrong with it", function()
  local function with(n, text)
    local copy = { unpack(lines) }
    if text then copy[n] = text else table.remove(copy, n) end
    return copy
  end
  local last = #lines
  local cases = {
    { {}, "^line 1: this is no export" },
    { with(1, "{"), "^line 1: this is no export" },
    { with(1, '{"format":"cchost export","version":9,"records":2}'), "^line 1: version 9" },
    { with(1, '{"format":"cchost export","version":1,"records":99,"at":""}'), "^line 1: .*newer" },
    { with(1, '{"format":"cchost export","version":1,"records":2}'), "^line 1: records and at expected" },
    { with(3, "x"), "^line 3: bad JSON" },
    { with(3, ""), "^line 3: bad JSON" },
    { with(3, "[]"), "^line 3: a JSON object" },
    { with(3, '{"kind":"a b","id":"x","owner":"","value":{}}'), "^line 3: kind" },
    { with(3, '{"kind":"a","id":"","owner":"","value":{}}'), "^line 3: id" },
    { with(3, '{"kind":"a","id":"x","owner":7,"value":{}}'), "^line 3: owner" },
    { with(3, '{"kind":"a","id":"x","owner":"","value":[]}'), "^line 3: value" },
    { with(3, '{"kind":"a","id":"x","owner":"","value":{},"more":1}'), "^line 3: unknown member 'more'" },
    { with(3, '{"kind":"meta","id":"schema","owner":"","value":{}}'), "^line 3: a record of kind meta" },
    { with(3, '{"kind":"instance","id":"x","owner":"","value":{"id":"y"}}'), "^line 3: value.id" },
    { with(3, '{"index":"a","key":"k","value":7}'), "^line 3: value" },
    { with(4, lines[3]), "^line 4: .* is there already, in line 3" },
    { with(3), ("^line %d: lines are missing above"):format(last - 1) },
    { with(last), ("^line %d: the end is missing"):format(last) },
    { with(last + 1, lines[2]), ("^line %d: something follows the end"):format(last + 1) },
  }
  fresh()
  for i, case in ipairs(cases) do
    local done, err = import(case[1])
    t.eq(done, nil, "case " .. i); t.eq(err.code, "invalid"); t.match(err.message, case[2])
    is_empty()
  end
end)

t.test("records of another version than the store's are refused", function()
  assert(store.update(function(tx) tx:put("meta", "schema", { version = 1 }) end))
  local done, err = import(lines)
  t.eq(done, nil); t.match(err.message, "^line 1: its records are of version %d+, the store's of 1")
end)

local function entry(id, over)
  local e = {
    instanceId = id, email = "ann@example.org", serverName = "cc-" .. id, serverIp = "192.0.2.7", serverType = "cpx21",
    createdAt = "2026-01-02T03:04:05+01:00", expiresAt = "2026-02-02T03:04:05Z", status = "running",
  }
  for k, v in pairs(over or {}) do e[k] = v end
  return e
end

local function state(map) return json.encode { instances = map } end

t.test("instances.json becomes machines that nothing drives, and comes out as it went in", function()
  fresh()
  t.eq(transfer_state.import(state { a1b2c3d4e5f6 = entry "a1b2c3d4e5f6", b1b2c3d4e5f6 = entry("b1b2c3d4e5f6", {
    status = "stopped", serverType = "cx99", serverIp = "", expiresAt = "9999-12-31T23:59:59Z" }) }), 2)
  local rec = instances.get(instances.operator, "a1b2c3d4e5f6")
  t.eq(rec.provider, "foreign"); t.eq(rec.provider_id, "cc-a1b2c3d4e5f6"); t.eq(rec.owner, "ann@example.org")
  t.eq(rec.status, "RUNNING"); t.eq(rec.type, "cpx21"); t.eq(rec.resources.memory_mib, 4096)
  t.eq(rec.created_at, "2026-01-02T02:04:05.000Z"); t.eq(rec.expires_at, "2026-02-02T03:04:05.000Z")
  t.eq(rec.labels.server_ip, "192.0.2.7")
  t.eq(#instances.list({ user = "ann@example.org" }, nil, 10).texts, 2)
  t.eq(instances.get(instances.operator, "b1b2c3d4e5f6").expires_at, json.null)
  t.eq(json.encode(history.instance(rec.id, time.now())), (store.raw("instance", rec.id)))

  local out = json.decode(transfer_state.export()).instances
  t.eq(json.encode(out.a1b2c3d4e5f6), json.encode(entry("a1b2c3d4e5f6", {
    createdAt = "2026-01-02T02:04:05.000Z", expiresAt = "2026-02-02T03:04:05.000Z" })))
  t.eq(out.b1b2c3d4e5f6.status, "stopped"); t.eq(out.b1b2c3d4e5f6.expiresAt, "9999-12-31T23:59:59.000Z")
  local text = transfer_state.export()
  fresh()
  t.eq(transfer_state.import(text), 2)
  t.eq(instances.get(instances.operator, "a1b2c3d4e5f6").id, rec.id)
  t.eq(transfer_state.export(), text)
end)

t.test("a foreign machine is not started and not stopped; its deletion is that of its record", function()
  local stopped = assert(instances.get(instances.operator, "b1b2c3d4e5f6"))
  local rec, err = instances.move(instances.operator, stopped.id, "start", 10)
  t.eq(rec, nil); t.match(err.message, "not driven by cchost")
  assert(instances.move(instances.operator, stopped.id, "delete", 10))
  t.eq(instances.get(instances.operator, stopped.id).status, "DELETED")
  t.eq(instances.get(instances.operator, "a1b2c3d4e5f6").status, "RUNNING")
  t.eq(table.concat(require("reconcile").in_use("mock"), " "), "mock") -- no sweep ever looks at it
end)

t.test("faults of instances.json name entry and field, and nothing is imported", function()
  fresh()
  local id = "a1b2c3d4e5f6"
  local cases = {
    { { instanceId = "c1b2c3d4e5f6" }, "^instances." .. id .. ".instanceId: not the name of its entry" },
    { { instanceId = "zz" }, "^instances." .. id .. ".instanceId: 12 hexadecimal digits" },
    { { email = "ann" }, ".email: an e%-mail address" }, { { email = json.null }, ".email: a string expected" },
    { { serverName = "a b" }, ".serverName: letters" }, { { serverIp = "here" }, ".serverIp: an address" },
    { { serverType = "" }, ".serverType: at least" }, { { createdAt = "yesterday" }, ".createdAt: a time like" },
    { { expiresAt = "2026-02-31T00:00:00Z" }, ".expiresAt: a time like" }, { { status = "gone" }, ".status: one of running" },
    { { more = 1 }, ".more: unknown field" },
  }
  for _, case in ipairs(cases) do
    local n, faults = transfer_state.import(state { [id] = entry(id, case[1]), b1b2c3d4e5f6 = entry "b1b2c3d4e5f6" })
    t.eq(n, nil); t.eq(#faults, 1); t.match(faults[1], case[2])
    is_empty()
  end
  for _, text in ipairs { "", "[]", "{}", '{"instances":[]}' } do t.eq(transfer_state.import(text), nil, text) end
  local two = { [id] = entry(id, { status = "x" }), b1b2c3d4e5f6 = entry("b1b2c3d4e5f6", { email = "y" }) }
  local _, faults = transfer_state.import(state(two))
  t.eq(#faults, 2)
  t.eq(transfer_state.import(state { [id] = entry(id) }), 1)
  two = { [id] = entry(id), b1b2c3d4e5f6 = entry("b1b2c3d4e5f6", { serverName = "cc-" .. id }) }
  _, faults = transfer_state.import(state(two))
  t.eq(#faults, 2); t.match(faults[1], "instanceId: there is such a machine"); t.match(faults[2], "serverName: .* already")
  t.eq(#store.scan("instance_live", {}), 1)
end)

t.test("a machine without an end of its time comes out with one that no script takes for past", function()
  local rec = fields.new_record({}, "operator", { provider = "mock", type = "small" })
  assert(store.update(function(tx)
    record.enter(rec, "RUNNING")
    record.save(tx, nil, rec, "created", "operator")
    return true
  end))
  local e = json.decode(transfer_state.export()).instances[rec.short]
  t.eq(e.expiresAt, "9999-12-31T23:59:59.000Z"); t.eq(e.status, "running"); t.eq(e.serverName, "cc-" .. rec.short)
end)

return t.done()
