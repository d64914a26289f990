-- What machines cost, on a clock that is moved: the account of each is reckoned in the commit that changes its status.
local time = require "time"
local START = 1767225600000 -- 2026-01-01T00:00:00Z
time.virtual(START)

local t = require "t"
local instances = require "instances"
local json = require "json"
local months = require "billing.months"
local amount = require "billing.amount"
local ledger = require "billing.ledger"
local standing = require "billing.standing"
local steady = require "steady"
local store = require "store"
local task = require "task"

local HOUR = 3600000
local running = true
task.spawn(function()
  local fs = require "fs"
  while running do
    assert(fs.stat("/"))
    time.advance(0)
  end
end)
t.turn = function()
  assert(require("fs").stat("/"))
  time.advance(1)
end

assert(require("setup").open({
  DATA_DIR = t.tmpdir(), STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))

local function made(actor, spec)
  local m, op = assert(instances.create(actor, spec))
  t.eq(assert(instances.operation(actor, op, 10)).state, "done")
  return assert(instances.get(actor, m.id))
end

-- An account whose plan has no limit of machines.
local function account(name, plan)
  return assert(store.update(function(tx)
    return require("accounts.users").create(tx, { email = name .. "@example.com", plan = plan }, "test")
  end))
end

local function balances(owner) return ledger.look(owner, steady.now()).acct.balances end

t.test("an hour of a trial is an hour, to the millisecond", function()
  local m = made({ user = "ann" }, { type = "small" })
  local from = time.parse(m.status_at)
  time.advance(HOUR - 1)
  t.eq(balances("ann").bonus, 5 * HOUR - (math.floor(steady.now()) - from))
  assert(instances.move({ user = "ann" }, m.id, "stop"))
  local stopped = instances.get({ user = "ann" }, m.id)
  local log = {}
  for _, e in ipairs(store.history("instance", m.id, {})) do table.insert(log, 1, json.decode(e.data)) end
  local ran_to
  for _, e in ipairs(log) do
    if e.status == "STOPPING" then ran_to = time.parse(e.metered_at) end
  end
  t.eq(ledger.get("ann").balances.used, ran_to - from)
  t.eq(stopped.status, "STOPPED")
end)

t.test("what a plan gives ends between two machines, and goes on as it says", function()
  local bob = account("bob", "pro")
  local begun
  local actor = { user = bob.id }
  local a, b = made(actor, { type = "small" }), made(actor, { type = "large" })
  local from = time.parse(a.status_at) + time.parse(b.status_at)
  begun = time.parse(a.status_at)
  time.advance(20 * HOUR)
  local s = standing.of(bob.id, steady.now())
  t.eq(s.used, 2 * math.floor(steady.now()) - from)
  t.ok(s.hours_left > 0 and s.hours_left < 20 * HOUR)
  time.advance(20 * HOUR)
  local now = math.floor(steady.now())
  s = standing.of(bob.id, now)
  t.eq(s.hours_left, 0)
  local fee = amount.share(29000000, months.from(START), months.after(START), begun, months.after(START))
  local granted = -balances(bob.id).granted
  local ended = math.ceil((granted + from) / 2)
  t.eq(s.owed - fee, amount.cost(40000, ended, now) + amount.cost(160000, ended, now))
  assert(instances.move(actor, a.id, "delete"))
end)

t.test("the books balance", function()
  local r = ledger.verify()
  t.eq(table.concat(r.faults, "; "), "")
  t.eq(r.accounts, 2)
  t.ok(r.entries > 3)
  t.ok(store.verify())
end)

running = false
return t.done()
