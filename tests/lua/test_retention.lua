-- What is forgotten and what never is: the choice alone, then on a store, with the time given.
local t = require "t"
local history = require "history"
local instances = require "instances"
local json = require "json"
local record = require "machines.record"
local retention = require "retention"
local store = require "store"
local task = require "task"
local time = require "time"

local DAY = 86400000
local NEVER = 36500

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

-- A millisecond in which nothing happens, after all that has.
local function moment()
  local now = time.now()
  t.wait_until(function() return time.now() > now + 2 end, "the clock to move")
  return now + 1
end

-- Runs so much later that `ms` is the horizon of the log (or of what else is named); nothing else is old then.
local function forget_until(ms, what)
  retention.settings = { log_days = 0, tombstone_days = NEVER, operation_days = NEVER, conversation_days = 0, delivery_days = 14 }
  what = what or "log_days"
  retention.settings[what] = 1000
  return assert(retention.run(ms + 1000 * DAY))
end

local function made(name)
  local m, op = assert(instances.create(instances.operator, { name = name }))
  t.eq(assert(instances.operation(instances.operator, op, 10)).state, "done")
  return m.id
end

-- One edit of a machine, as the rules of machines make it.
local function edit(id, type, fn)
  assert(store.update(function(tx)
    local old = record.get(tx, id)
    local rec = record.edit(old)
    fn(rec)
    record.save(tx, old, rec, type, "system")
    return true
  end))
end

local function label(id, n) edit(id, "changed", function(rec) rec.labels = { n = tostring(n) } end) end

-- The entries of a machine, oldest first: type, in brackets when its data has been dropped.
local function shape(id)
  local out = {}
  for _, e in ipairs(store.history("instance", id, { limit = 0 })) do
    table.insert(out, 1, e.trimmed and "(" .. e.type .. ")" or e.type)
  end
  return table.concat(out, " ")
end

t.test("what billing needs is told by the entry", function()
  t.eq(retention.billed("running", { from = "STARTING", status = "RUNNING" }), true)
  t.eq(retention.billed("created", { full = true, changes = {} }), true)
  t.eq(retention.billed("resized", { full = true, changes = {} }), true)
  t.eq(retention.billed("changed", { changes = { plan = "pro" } }), true)
  t.eq(retention.billed("changed", { changes = { labels = {} } }), false)
  t.eq(retention.billed("changed", { full = true, changes = { type = "small", plan = "pro" } }), false)
  t.eq(retention.billed("looked_at", {}), false)
end)

t.test("beneath a whole record all may go but what billing needs", function()
  local function e(seq, type, data) return { seq = seq, type = type, data = json.encode(data) } end
  local list = {
    e(9, "changed", { changes = { labels = {} } }), e(8, "extended", { changes = { expires_at = "x" } }),
    e(7, "drift", { reason = "x" }), e(6, "noted", {}), e(5, "stopped", { status = "STOPPED" }),
    { seq = 4, type = "changed", data = "", trimmed = true }, e(3, "changed", { full = true, changes = { status = "RUNNING" } }),
  }
  t.eq(table.concat(retention.droppable(list), " "), "9 7 3")
end)

t.test("a machine deleted for long is forgotten in one commit; its chain, and time travel, still lead to it", function()
  local id, kept = made "gone", made "kept"
  local alive = moment()
  assert(instances.move(instances.operator, id, "delete"))
  t.eq(forget_until(alive, "tombstone_days").purged, 0)
  t.eq(store.get("instance", id).status, "DELETED")
  local dead = moment()
  t.eq(forget_until(dead, "tombstone_days").purged, 1)
  t.eq(store.get("instance", id), nil)
  t.eq(store.lookup("instance_short", id:sub(-12)), nil)
  t.match(shape(id), "^created .*deleted purged$")
  t.eq(history.instance(id, alive).name, "gone")
  local names = {}
  for _, r in ipairs(history.instances(alive, nil, 10).records) do names[r.name] = true end
  t.ok(names.gone and names.kept)
  t.eq(store.get("instance", kept).status, "RUNNING")
  t.eq(forget_until(dead, "tombstone_days").purged, 0)
  t.ok(store.verify())
end)

t.test("work on a deleted machine holds its removal up, for as long as it lasts", function()
  local id = made "busy"
  assert(instances.move(instances.operator, id, "delete"))
  local op = store.get("instance", id).operation
  local function set_state(state)
    assert(store.update(function(tx)
      local value = tx:get("operation", op)
      value.state = state
      tx:put("operation", op, value)
    end))
  end
  local dead = moment()
  set_state "running"
  t.eq(forget_until(dead, "tombstone_days").purged, 0)
  t.eq(forget_until(dead, "tombstone_days").purged, 0)
  set_state "done"
  t.eq(forget_until(dead, "tombstone_days").purged, 1)
end)

t.test("operations that finished long ago go, those under way stay; answers kept for a repeat go after a day", function()
  local now = time.now()
  assert(store.update(function(tx)
    tx:put("idempotency", "old", { at = time.rfc3339(now - DAY - 1) })
    tx:put("idempotency", "young", { at = time.rfc3339(now - DAY + 60000) })
    tx:put("operation", "under way", { state = "running", finished_at = json.null })
  end))
  retention.settings = { log_days = 0, tombstone_days = NEVER, operation_days = 1, conversation_days = 0, delivery_days = 14 }
  local counts = assert(retention.run(now))
  t.eq(counts.answers, 1); t.eq(counts.operations, 0)
  t.eq(store.get("idempotency", "old"), nil)
  t.ok(store.get("idempotency", "young"))
  t.eq(forget_until(moment(), "operation_days").operations, 5)
  t.eq(#store.list("operation", {}), 1)
  t.ok(store.get("operation", "under way"))
end)

t.test("conversations that nobody adds to go with their messages, and what a crash left of such a removal", function()
  local function talk(id, written)
    return {
      id = id, project_path = "/p/" .. id, title = json.null, created_at = time.rfc3339(0), updated_at = time.rfc3339(written),
      last = 1, bytes = 300,
    }
  end
  local now = time.now()
  assert(store.update(function(tx)
    tx:put("conversations", "u", { count = 2, bytes = 600 }, "u")
    for id, written in pairs { old = now - DAY - 1, young = now - DAY + 60000 } do
      tx:put("conversation", id, talk(id, written), "u")
      tx:put("conversation_message", id .. "/000000001", { id = 1 }, "u")
    end
    for i = 1, 1200 do tx:put("conversation_message", ("left/%09d"):format(i), { id = i }, "u") end
    tx:index("conversation_ending", "left", "")
    return true
  end))
  retention.settings = { log_days = 0, tombstone_days = NEVER, operation_days = NEVER, conversation_days = 0, delivery_days = 14 }
  t.eq(assert(retention.run(now)).conversations, 0)
  t.eq(#store.list("conversation_message", {}), 2)
  retention.settings.conversation_days = 1
  t.eq(assert(retention.run(now)).conversations, 1)
  t.eq(store.list("conversation_message", {})[1].id, "young/000000001")
  t.eq(#store.list("conversation_message", {}), 1)
  t.eq(#store.list("conversation", {}), 1)
  t.eq(store.get("conversations", "u").bytes, 300)
  t.eq(#store.scan("conversation_ending", {}), 0)
end)

t.test("tries of webhooks that are old go, and those of webhooks that are gone", function()
  local now = time.now()
  assert(store.update(function(tx)
    tx:put("webhook", "here", { id = "here" })
    for n = 1, 450 do
      for _, id in ipairs { "gone", "here", "there" } do
        local at = time.rfc3339(n <= 300 and now - 15 * DAY or now - 13 * DAY)
        tx:put("webhook_delivery", ("%s/%012d"):format(id, n), { webhook = id, number = n, at = at })
      end
    end
    tx:put("webhook", "there", { id = "there" })
  end))
  t.eq(assert(retention.run(now)).deliveries, 450 + 2 * 300)
  local left = store.list("webhook_delivery", {})
  t.eq(#left, 2 * 150)
  t.eq(left[1].id, "here/000000000301"); t.eq(left[300].id, "there/000000000450")
end)

t.test("a store of more than a page of each is gone through to its end", function()
  assert(store.update(function(tx)
    for n = 1, 450 do tx:put("idempotency", ("%03d"):format(n), { at = time.rfc3339(n % 3 == 0 and time.now() or 1000) }) end
  end))
  t.eq(retention.run(time.now()).answers, 300)
  t.eq(#store.list("idempotency", {}), 150)
end)

assert(forget_until(moment()).trimmed > 0) -- the entry that says which policies are in force

t.test("old entries lose their data, but not what time travel within the horizon or billing needs", function()
  local id = made "long"
  local first = moment()
  for n = 1, 70 do label(id, n) end          -- versions 3 to 72: whole at 32 and 64
  edit(id, "extended", function(rec) rec.expires_at = time.rfc3339(2e12) end)
  local middle = moment()
  for n = 71, 110 do label(id, n) end        -- versions 74 to 113: whole at 96
  local last = moment()

  t.eq(forget_until(first).trimmed, 0)
  -- the whole records of versions 32 and 64 have passed this horizon, so what is beneath 64 goes: 3 to 63
  t.eq(forget_until(middle).trimmed, 61)
  local s = shape(id)
  t.eq(s:sub(1, 16), "created running ")
  t.eq(select(2, s:gsub("%(changed%)", "")), 61)
  t.match(s, "%) changed changed [^(]*extended ")
  t.eq(history.instance(id, middle).labels.n, "70")
  t.eq(history.instance(id, last).labels.n, "110")
  t.ok(store.verify())
  t.eq(forget_until(middle).trimmed, 0)

  -- and now version 96, too: 64 to 95 go but for the one that says until when it is paid
  t.eq(forget_until(last).trimmed, 31)
  t.match(shape(id), " extended ")
  t.eq(history.instance(id, last).labels.n, "110")
  local rec, err = history.instance(id, middle)
  t.eq(rec, nil); t.match(err.message, "trimmed")
  rec, err = history.instances(middle, nil, 10)
  t.eq(rec, nil); t.eq(err.code, "not_found"); t.match(err.message, "^the log of before .* has been trimmed$")
  t.ok(history.instances(last, nil, 10))
  t.ok(store.verify())
end)

t.test("a machine that was forgotten before the horizon is forgotten by time travel, too; its bill can be told", function()
  local id = made "brief"
  for n = 1, 5 do label(id, n) end
  assert(instances.move(instances.operator, id, "delete"))
  t.eq(forget_until(moment(), "tombstone_days").purged, 1)
  t.ok(store.lookup("instance_purged", id))
  t.eq(forget_until(moment()).trimmed, 5)
  t.eq(store.lookup("instance_purged", id), nil)
  t.eq(shape(id), "created running (changed) (changed) (changed) (changed) (changed) deleting deleted purged")
  t.ok(store.verify())
end)

t.test("events of other objects lose their data as they get old", function()
  local before = moment()
  assert(store.update(function(tx)
    tx:put("provider", "mock", { id = "mock" })
    tx:log("provider", "mock", "orphans_found", { orphans = { "a" } }, "system")
  end))
  t.eq(forget_until(before).trimmed, 0)
  t.ok(not store.history("provider", "mock", { limit = 1 })[1].trimmed)
  t.eq(forget_until(moment()).trimmed, 1)
  t.eq(store.history("provider", "mock", { limit = 1 })[1].trimmed, true)
end)

t.test("a run that is cut off goes on where it was", function()
  local id = made "cut"
  for n = 1, 300 do label(id, n) end
  local h = task.spawn(function()
    retention.settings = { log_days = 1, tombstone_days = NEVER, operation_days = NEVER, conversation_days = 0,
      delivery_days = 14 }
    return retention.run(time.now() + DAY)
  end)
  t.wait_until(function() return store.history("instance", id, { limit = 0 })[200].trimmed or h:done() end, "a first page")
  h:cancel("cut off")
  h:join()
  forget_until(moment())
  -- whole at every 32nd version: versions 3 to 287 are beneath the one of version 288
  t.eq(select(2, shape(id):gsub("%(changed%)", "")), 285)
  t.eq(history.instance(id, time.now()).labels.n, "300")
  t.ok(store.verify())
end)

return t.done()
