-- A record as it was: the fold alone on tables, then on a store.
local t = require "t"
local history = require "history"
local json = require "json"
local store = require "store"
local time = require "time"

assert(store.open { dir = t.tmpdir(), serve = true })

-- An iterator over entries written down oldest first, as history.backwards gives them.
local function chain(list)
  local i = #list + 1
  return function()
    i = i - 1
    local e = list[i]
    return e and { at = e.at, type = e.type or "changed", trimmed = e.trimmed, data = e.data and json.encode(e.data) }
  end
end

local life = {
  { at = 10, type = "created", data = { full = true, changes = { name = "a", status = "STARTING", size = 1 } } },
  { at = 20, data = { changes = { status = "RUNNING", error = "slow" } } },
  { at = 30, data = { changes = { name = "b" }, removed = { "error" } } },
  { at = 40, data = { full = true, changes = { name = "c", status = "RUNNING" } } },
  { at = 50, data = { reason = "looked at, nothing changed" } },
  { at = 60, data = { changes = { status = "STOPPED" } } },
}

local function at(ms, list) return history.as_of(chain(list or life), ms) end

t.test("a record is the last full entry with the changes since laid over it", function()
  t.eq(json.encode(at(10)), '{"name":"a","size":1,"status":"STARTING"}')
  t.eq(json.encode(at(29)), '{"error":"slow","name":"a","size":1,"status":"RUNNING"}')
  t.eq(json.encode(at(30)), '{"name":"b","size":1,"status":"RUNNING"}')
  t.eq(json.encode(at(40)), '{"name":"c","status":"RUNNING"}')
  t.eq(json.encode(at(59)), '{"name":"c","status":"RUNNING"}')
  t.eq(json.encode(at(1e12)), '{"name":"c","status":"STOPPED"}')
end)

t.test("before the first entry there was nothing", function()
  local rec, err = at(9)
  t.eq(rec, nil); t.eq(err.code, "not_found"); t.match(err.message, "did not exist at 1970%-01%-01T00:00:00.009Z")
  rec, err = at(9, {})
  t.eq(rec, nil); t.eq(err.code, "not_found")
end)

t.test("what is trimmed is said, and only where it is needed", function()
  local cut = { { at = 10, trimmed = true, data = {} }, life[2], life[3], life[4], life[5] }
  local rec, err = at(35, cut)
  t.eq(rec, nil); t.eq(err.code, "not_found"); t.match(err.message, "trimmed")
  t.eq(at(45, cut).name, "c")
end)

t.test("a log without a whole record says so", function()
  local rec, err = at(30, { life[2], life[3] })
  t.eq(rec, nil); t.eq(err.code, "not_found"); t.match(err.message, "does not hold the whole record")
end)

t.test("a clock that was set back tears no entry out of its chain", function()
  local back = {
    { at = 100, data = { full = true, changes = { n = 1 } } },
    { at = 200, data = { changes = { n = 2, m = 2 } } },
    { at = 150, data = { changes = { n = 3 } } },
  }
  t.eq(json.encode(at(120, back)), '{"n":1}')
  t.eq(json.encode(at(160, back)), '{"m":2,"n":3}')
end)

t.test("a record's own time and its entry's were a millisecond apart", function()
  local now
  assert(store.update(function(tx)
    now = tx:now()
    while time.now() == now do end
    tx:put("thing", "one", { updated_at = tx:now() })
    tx:log("thing", "one", "made", {}, "test")
  end))
  t.eq(store.get("thing", "one").updated_at, now)
  t.eq(store.history("thing", "one", {})[1].at, now)
end)

-- One change of a machine's record, as the rules of machines write it.
local function change(id, type, changes, full)
  assert(store.update(function(tx)
    local rec = full and {} or assert(tx:get("instance", id))
    for k, v in pairs(changes) do rec[k] = v end
    tx:put("instance", id, rec, "ann")
    tx:log("instance", id, type, { changes = full and rec or changes, full = full }, "system")
  end))
end

local function id_of(n) return ("00000000-0000-4000-8000-%012x"):format(n) end

local function now_after_a_tick()
  local then_ms = time.now()
  t.wait_until(function() return time.now() > then_ms end, "the clock to move")
  return then_ms
end

t.test("a chain longer than a block is walked to its end, newest first", function()
  local id = id_of(1)
  change(id, "created", { n = 0 }, true)
  for n = 1, 150 do change(id, "changed", { n = n }) end
  local seen = {}
  for e in history.backwards("instance", id) do seen[#seen + 1] = json.decode(e.data).changes.n end
  t.eq(#seen, 151); t.eq(seen[1], 150); t.eq(seen[151], 0)
  for i = 2, #seen do t.eq(seen[i], seen[i - 1] - 1) end
  t.eq(history.instance(id, time.now()).n, 150)
end)

t.test("machines at a time: also those deleted, or whose record is gone, since", function()
  local before = now_after_a_tick()
  for n = 10, 14 do change(id_of(n), "created", { id = id_of(n), status = "RUNNING" }, true) end
  local then_ms = now_after_a_tick()
  change(id_of(10), "deleted", { status = "DELETED" })
  assert(store.update(function(tx)
    tx:del("instance", id_of(11))
    tx:index("instance_purged", id_of(11), time.rfc3339(time.now()))
    tx:log("instance", id_of(11), "purged", {}, "system")
  end))
  change(id_of(15), "created", { id = id_of(15), status = "RUNNING" }, true)

  local seen, after = {}, nil
  repeat
    local page = assert(history.instances(then_ms, after, 2))
    t.ok(#page.records <= 2)
    for _, r in ipairs(page.records) do if r.id then seen[#seen + 1] = tonumber(r.id:sub(-2), 16) end end
    after = page.after
  until not after
  t.eq(table.concat(seen, " "), "10 11 12 13 14")

  t.eq(#history.instances(before, nil, 100).records, 1)
  t.eq(history.instance(id_of(10), time.now()).status, "DELETED")
  local rec, err = history.instance(id_of(11), time.now())
  t.eq(rec, nil); t.eq(err.code, "not_found"); t.match(err.message, "removed")
end)

return t.done()
