-- What machines used, from their logs and from the books: the same to the millisecond, whatever happened to them; and a
-- proof that finds what differs. On a clock that is moved.
local moved = require "moved"
local START = 1767225600000 -- 2026-01-01T00:00:00Z
moved.begin(START)

local t = require "t"
local accounts = require "billing.accounts"
local amount = require "billing.amount"
local change_over = require "billing.change_over"
local closing = require "accounts.closing"
local instances = require "instances"
local json = require "json"
local ledger = require "billing.ledger"
local plain = require "plain"
local proof = require "billing.proof"
local record = require "machines.record"
local retention = require "retention"
local segments = require "billing.segments"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local time = require "time"
local transfer = require "transfer"
local usage = require "billing.usage"
local users = require "accounts.users"

local HOUR, DAY = 3600000, 86400000
local settings = moved.open()

local function account(name, plan) return moved.account(name, plan).id end
local function made(owner, spec) return moved.made({ user = owner }, spec or { type = "small" }).id end
local function move(id, verb) assert(instances.move(instances.operator, id, verb, 30)) end

local function now() return math.floor(steady.now()) end

local function ms_of(list, state)
  local n = 0
  for _, s in ipairs(list) do
    if not state or s.state == state then n = n + (s.to or now()) - s.from end
  end
  return n
end

local function same()
  local r = proof.verify()
  t.eq(table.concat(r.faults, "; "), "")
  r = ledger.verify()
  t.eq(table.concat(r.faults, "; "), "")
end

-- ---- pure

local function entry(type, at, changes, full)
  return { type = type, data = { metered_at = at and time.rfc3339(START + at), changes = changes, full = full } }
end

local whole = { owner = "u", provider = "mock", type = "small", status = "STARTING", resources = { disk_gib = 20 } }

local function fold(...)
  local list, from = usage.fold { ... }
  local out = {}
  for _, s in ipairs(list) do
    out[#out + 1] = ("%s %s %d-%s"):format(s.state, s.type, s.from - START, s.to and s.to - START or "")
  end
  return table.concat(out, ", "), from
end

t.test("a log says since when its machine is counted as what", function()
  t.eq(fold(entry("created", nil, whole, true)), "")
  t.eq(fold(entry("created", nil, whole, true), entry("running", 5, { status = "RUNNING" }),
    entry("changed", nil, { name = "x" }),
    entry("stopping", 9, { status = "STOPPING" }), entry("stopped", 12, { status = "STOPPED" })),
    "RUNNING small 5-9, STOPPED small 12-")
  t.eq(fold(entry("created", nil, whole, true), entry("running", 5, { status = "RUNNING" }),
    entry("resized", 9, { type = "large" }), entry("deleted", 20, { status = "DELETED" })),
    "RUNNING small 5-9, RUNNING large 9-20")
end)

t.test("a stop that was earlier than thought, and one that would be before its beginning", function()
  t.eq(fold(entry("created", nil, whole, true), entry("running", 5, { status = "RUNNING" }),
    entry("stopped", 3, { status = "STOPPED" })), "STOPPED small 5-")
end)

t.test("what came in an import is told of from then on", function()
  local text, from = fold(entry("imported", nil, { owner = "u", provider = "mock", type = "small", status = "RUNNING",
    resources = { disk_gib = 20 } }, true), entry("stopped", 7, { status = "STOPPED" }))
  t.eq(text, "STOPPED small 7-")
  t.eq(from, START + 7)
  local _, none = fold(entry("imported", nil, whole, true))
  t.eq(none, math.huge)
end)

local function free() return false end

t.test("the proof finds what is posted and did not happen, what happened and is not posted, and what is posted twice", function()
  local function s(from, to, state) return { from = from, to = to, state = state or "RUNNING", type = "small", gib = 1 } end
  local log = { s(0, 10), s(10, 20, "STOPPED"), s(20, 30) }
  t.eq(proof.compare(log, nil, { s(0, 4), s(4, 10), s(10, 20, "STOPPED"), s(20, 30) }, nil, free), nil)
  t.match(proof.compare(log, nil, { s(0, 10), s(10, 20, "STOPPED"), s(20, 31) }, nil, free),
    "030Z.*031Z is posted, and not in its log")
  t.match(proof.compare(log, nil, { s(0, 9), s(10, 20, "STOPPED"), s(20, 30) }, nil, free),
    "009Z.*010Z is in its log, and not posted")
  t.match(proof.compare(log, nil, { s(0, 10), s(0, 10), s(10, 20, "STOPPED"), s(20, 30) }, nil, free),
    "20 ms are in its log, 30")
  t.match(proof.compare(log, nil, { s(0, 10), s(20, 30) }, nil, free), "STOPPED small between")
  t.eq(proof.compare(log, nil, { s(0, 10), s(20, 30) }, nil, function() return true end), nil)
  t.eq(proof.compare(log, 25, { s(20, 30) }, nil, free), nil)
  local open = { { from = 5, state = "RUNNING", type = "small" } }
  t.eq(proof.compare(open, nil, { s(5, 8) }, { since = 5, from = 8, state = "RUNNING", type = "small" }, free), nil)
  t.match(proof.compare(open, nil, { s(5, 8) }, { since = 5, from = 9, state = "RUNNING", type = "small" }, free), "not posted")
  t.match(proof.compare(open, nil, {}, nil, free), "meter does not run")
  t.match(proof.compare({}, nil, {}, { since = 5, from = 9, state = "RUNNING", type = "small" }, free), "and its log does not")
end)

t.test("a month's record is added to and cut, and read in part", function()
  local function e(from, to, how)
    return { from = from, to = to, state = "RUNNING", machine_type = "small", rate = 7, how = how, plan = "p" }
  end
  local function text(rec, from, to)
    local out = {}
    segments.each(rec, from or 0, to or math.huge, function(s) out[#out + 1] = ("%s %d-%d"):format(s.how, s.from, s.to) end)
    return table.concat(out, ", ")
  end
  local rec = segments.add(segments.add(segments.add(nil, e(0, 10, "included")), e(10, 20, "charged")), e(25, 30, "included"))
  t.eq(#rec.kinds, 2)
  t.eq(text(rec), "included 0-10, charged 10-20, included 25-30")
  t.eq(text(rec, 5, 15), "included 5-10, charged 10-15")
  t.eq(text(segments.cut(rec, 12)), "included 0-10, charged 10-12")
  t.eq(segments.cut(rec, 30), nil)
  t.eq(text(nil), "")
  t.eq(text(json.decode(json.encode(rec))), text(rec))
end)

-- ---- on a store

local ann, bob, first

t.test("usage of machines that come and go is the same from both sides", function()
  ann, bob = account("ann", "pro"), account("bob", "starter")
  first = made(ann)
  local other = made(ann, { type = "large" })
  local his = made(bob)
  for n = 1, 5 do
    time.advance(n * 7 * HOUR + 13)
    move(first, "stop")
    time.advance(HOUR + 1)
    move(first, "start")
    if n == 3 then move(other, "delete") end
  end
  time.advance(20 * DAY) -- a month turns
  same()
  for _, id in ipairs { first, other, his } do
    t.eq(ms_of(usage.of(id, 0, now()), "RUNNING"), ms_of(usage.of_log(id), "RUNNING"))
  end
  local totals = usage.totals(ann, 0, now())
  t.eq(totals.running_ms, ms_of(usage.of_log(first), "RUNNING") + ms_of(usage.of_log(other), "RUNNING"))
  t.eq(totals.running_ms, ledger.look(ann, now()).acct.balances.used)
  t.eq(totals.ms.large, ms_of(usage.of_log(other), "RUNNING"))
end)

t.test("what a stretch costs is the sum of what its parts cost", function()
  local to = now()
  local all, parts = usage.totals(ann, 0, to), 0
  local at = START
  while at < to do
    parts = parts + usage.totals(ann, at, math.min(at + 7777777, to)).charged
    at = at + 7777777
  end
  t.eq(parts, all.charged)
  t.ok(parts > 0)
end)

t.test("a machine that was found dead is counted to when it was last seen alive", function()
  local id = made(ann)
  local seen = now() + HOUR
  time.advance(3 * HOUR)
  assert(store.update(function(tx) -- a plan that is changed meanwhile has it posted up to then
    return accounts.give_hours(tx, ann, { id = "gift/1", hours = 1, reason = "a test", by = "test" })
  end))
  assert(store.update(function(tx)
    local old = record.get(tx, id)
    local rec = record.edit(old)
    record.enter(rec, "STOPPED")
    rec.ran_until = time.rfc3339(seen)
    record.save(tx, old, rec, "stopped", "system")
    return true
  end))
  local list = usage.of_log(id)
  t.eq(list[1].to, seen)
  t.eq(ms_of(usage.of(id, 0, now()), "RUNNING"), seen - list[1].from)
  same()
  move(id, "delete")
end)

t.test("prepaid hours are counted as what they are", function()
  local id = assert(instances.create(instances.operator, { type = "small", hours = 3, user_id = bob })).id
  t.wait_until(function() return store.get("instance", id).status == "RUNNING" end)
  time.advance(5 * HOUR)
  same()
  move(id, "delete")
  same()
end)

t.test("a machine of before there were books is taken in, and its log says since when", function()
  local hook = record.before_save
  record.before_save = function() end
  local id = made(ann)
  record.before_save = hook
  time.advance(HOUR)
  t.eq(#usage.of(id, 0, now()), 0)
  t.eq(assert(require("billing.metering").catch_up()), 1)
  local since = now()
  time.advance(HOUR)
  same()
  t.eq(ms_of(usage.of_log(id)), now() - since)
  t.eq(ms_of(usage.of(id, 0, now())), now() - since)
  move(id, "delete")
  same()
end)

t.test("retention keeps of the log what money was made of, and drops the rest", function()
  retention.settings = { log_days = 30, tombstone_days = 1, operation_days = 1, conversation_days = 0, delivery_days = 14 }
  time.advance(100 * DAY)
  move(first, "stop")
  for n = 1, 70 do -- whole records, behind which what lies before may go
    assert(store.update(function(tx)
      local old = record.get(tx, first)
      local rec = record.edit(old)
      rec.labels = { n = tostring(n) }
      record.save(tx, old, rec, "changed", "system")
      return true
    end))
  end
  time.advance(400 * DAY)
  local counts = assert(retention.run(now()))
  t.ok(counts.trimmed > 30, counts.trimmed)
  t.ok(counts.purged > 0)
  same()
  local n, after = 0, 0
  repeat
    local page = assert(store.log { after = after, limit = 500 })
    for _, e in ipairs(page) do
      after = e.seq
      local money = e.kind == "ledger" or e.kind == "price_book"
      if money then n = n + 1 end
      t.ok(not (money and e.trimmed), e.kind)
      t.ok(money or e.trimmed or e.kind ~= "user", "other kinds are still forgotten")
    end
  until #page < 500
  t.ok(n > 20)
  t.eq(retention.billed("changed", { metered_at = "x", full = true, changes = {} }), true)
end)

t.test("the proof finds a record of usage that was changed, and a meter that was lost", function()
  local id = made(ann)
  time.advance(2 * HOUR)
  move(id, "stop")
  local row = store.list("usage", { prefix = id .. "/" })[1]
  local good = json.decode(row.json)
  local function put(value) assert(store.update(function(tx) tx:put("usage", row.id, value, ann) return true end)) end
  local bad = json.decode(row.json)
  bad.list[1][2] = bad.list[1][2] + 1
  put(bad)
  t.match(proof.verify().faults[1], "machine " .. id:gsub("%-", "%%-") .. ": .* is posted, and not in its log")
  put(good)
  same()
  local acct = ledger.get(ann)
  local open = acct.open[id]
  acct.open[id] = nil
  assert(store.update(function(tx) tx:put("ledger", ann, acct, ann) return true end))
  t.match(proof.verify().faults[1], "STOPPED small since .* meter does not run")
  acct.open[id] = open
  assert(store.update(function(tx) tx:put("ledger", ann, acct, ann) return true end))
  same()
  move(id, "delete")
end)

t.test("B31: usage is the same after a restart, from two processes, and in the second month begins at nothing", function()
  local total = usage.totals(ann, 0, now())
  store.close()
  assert(store.open { dir = settings.DATA_DIR, serve = true })
  t.eq(usage.totals(ann, 0, now()).running_ms, total.running_ms)
  local r = assert(sys.run { "/proc/self/exe", "ledger", "--verify", "--json", "--data-dir=" .. settings.DATA_DIR, timeout = 60 })
  t.eq(r.stderr, "")
  t.eq(r.exit, 0)
  t.eq(json.decode(r.stdout).faults[1], nil)
  local standing = require "billing.standing"
  local before = standing.of(ann, now())
  t.ok(before.period.from <= now() and before.period.to > now(), "its period is that of now")
  t.eq(usage.totals(ann, before.period.from, now()).running_ms, before.used)
end)

local function export()
  local lines = {}
  assert(transfer.export(function(text) lines[#lines + 1] = text end))
  return lines
end

local function import(lines)
  return transfer.import(function()
    local i = 0
    return function() i = i + 1 return lines[i] end
  end)
end

t.test("closing an account keeps its books, which name nobody, and its export tells them", function()
  local text = assert(closing.export(users.get(bob)))
  local told = json.decode(text)
  t.ok(#told.ledger >= 5, #told.ledger)
  t.eq(told.ledger[1].data.type or told.ledger[1].type, "period")
  assert(closing.delete(instances.operator, bob, true))
  t.wait_until(function()
    for _, row in ipairs(store.scan("instance_owner", { prefix = bob .. "/" })) do
      if row then return false end
    end
    return true
  end, "his machines to go")
  t.eq(users.get(bob).status, "deleted")
  same()
  local acct = ledger.get(bob)
  t.ok(acct.entries >= #told.ledger)
  t.eq(next(acct.open), nil)
  for _, e in ipairs(ledger.entries(bob, { limit = 1000 })) do
    local said = json.encode(e)
    t.ok(not said:find("bob", 1, true) and not said:find("example", 1, true), said)
  end
end)

t.test("an export has the books whole, and an import goes on with them", function()
  local id = made(ann)
  time.advance(HOUR)
  local before, used = ledger.get(ann), usage.totals(ann, 0, now())
  local lines = export()
  local kinds = {}
  for _, line in ipairs(lines) do
    local item = json.decode(line)
    kinds[item.kind or item.index or ""] = (kinds[item.kind or item.index or ""] or 0) + 1
  end
  for _, kind in ipairs { "ledger", "usage", "price_book", "ledger_entry", "usage_month" } do t.ok(kinds[kind], kind) end
  store.close()
  local dir = t.tmpdir()
  assert(store.open { dir = dir, serve = true })
  assert(import(lines))
  t.ok(plain.same(ledger.get(ann).balances, before.balances))
  t.eq(ledger.get(ann).entries, before.entries)
  t.eq(usage.totals(ann, 0, now()).running_ms, used.running_ms)
  same()
  t.eq(store.get("meta", "price_book").last, kinds.price_book)
  for _, line in ipairs(lines) do -- the same book once more
    if line:find('"price_book"', 1, true) then assert(import { lines[1], line, '{"end":true,"records":1,"indexes":0}' }) end
  end
  time.advance(HOUR)
  move(id, "stop")
  time.advance(HOUR)
  move(id, "start")
  time.advance(HOUR)
  move(id, "delete")
  same()
  t.eq(ledger.entries(ann, { limit = 1000 })[1].machine, id)
  -- a repeat of what was done before the export is still one
  t.eq(assert(store.update(function(tx)
    return { accounts.give_hours(tx, ann, { id = "gift/1", hours = 1, reason = "a test", by = "test" }) }
  end))[1], false)
end)

-- Bug: usage since 1970 of a thousand machines read 680 months of each, and the server stood still for seconds.
t.test("usage since ever reads of each machine the months in which it was used", function()
  local get, n = store.get, 0
  store.get = function(kind, ...)
    if kind == "usage" then n = n + 1 end
    return get(kind, ...)
  end
  local all = usage.totals(ann, 0, now())
  store.get = get
  local there = 0
  for _, row in ipairs(store.scan("usage_month", { prefix = ann .. "/" })) do there = there + (row and 1 or 0) end
  t.ok(there > 0 and n == there, ("%d of %d"):format(n, there))
  t.ok(all.running_ms > 0)
end)

-- Bug: who came in an import went on as he had been billed where he came from, until his plan changed.
t.test("who is imported into a store where money is asked for is billed as those who were there", function()
  local eve = moved.account("eve", "free").id
  local id = moved.made({ user = eve }, { type = "small", hours = 100 }).id
  assert(users.patch(instances.operator, eve, { plan = "pro", reason = "a test" }))
  t.ok(ledger.get(eve).period.fee > 0, "nobody is asked for money, and it is in the books")
  local lines = export()
  store.close()
  assert(store.open { dir = t.tmpdir(), serve = true })
  assert(change_over.note(true))
  assert(change_over.run())
  t.eq(store.get("meta", "stripe").changed_over, true)
  assert(import(lines))
  assert(change_over.run())
  local acct = ledger.get(eve)
  t.eq(acct.unbilled, true)
  t.eq(acct.period.fee, 0)
  t.eq(store.get("instance", id).prepaid, json.null)
  t.eq(acct.balances["block:" .. id], nil)
  t.eq(store.get("meta", "stripe").changed_over, true)
  same()
  assert(change_over.note(false))
  assert(change_over.run())
  move(id, "delete")
end)

t.test("a backup has the books, and they verify", function()
  local file = t.tmpdir() .. "/backup"
  assert(store.backup(file))
  local r = assert(sys.run { "/proc/self/exe", "restore", file, "--data-dir=" .. t.tmpdir() .. "/new", timeout = 60 })
  t.eq(r.exit, 0, r.stderr)
  same()
  t.ok(store.verify())
  t.eq(amount.cost(1, 0, HOUR), 1)
end)

moved.finish()
return t.done()
