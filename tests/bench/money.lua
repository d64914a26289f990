-- Money: entries of the ledger a second, each durable; one month's invoices of many users; a year of one machine, read.
--
--   cchost tests/bench/money.lua DIR [USERS]      fills a store in DIR

local accounts = require "billing.accounts"
local book = require "billing.book"
local invoice = require "billing.invoice"
local json = require "json"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
local months = require "billing.months"
local policy = require "policy"
local reading = require "billing.reading"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local usage = require "billing.usage"

local dir, users = (...), tonumber((select(2, ...))) or 10000
local SESSIONS = 10 -- of each user's machine in the month

assert(store.open { dir = dir, serve = true })
assert(book.note(policy.data("plans")))

local now = math.floor(steady.now())
local function update(fn) return assert(store.update(function(tx) fn(tx) return true end)) end
local function user(tx, id) tx:put("user", id, { id = id, email = id .. "@example.com", plan = "pro", status = "active" }, id) end
local function say(...) sys.stdout((...):format(select(2, ...)) .. "\n") end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)], list[1], list[#list]
end

-- ---- a machine that starts and stops, as the meter hears of it

local function run(x, machine, from, to, sessions)
  local each = math.floor((to - from) / sessions)
  for i = 0, sessions - 1 do
    local t = from + i * each
    meter.advance(x, t)
    meter.set(x, machine, t, { state = "RUNNING", type = "small", gib = 20 })
    meter.advance(x, t + math.floor(each / 3))
    meter.set(x, machine, t + math.floor(each / 3), { state = "STOPPED", type = "small", gib = 20 })
  end
end

-- ---- 1. entries a second

local function entries(workers, seconds)
  local n, signal, left = 0, task.signal(), workers
  local began = time.mono()
  for w = 1, workers do
    local owner = ("payer-%d-%d"):format(workers, w)
    task.spawn(function()
      local i = 0
      while time.mono() - began < seconds * 1000 do
        i = i + 1
        update(function(tx) accounts.pay(tx, owner, { id = ("pay/%s/%d"):format(owner, i), micro = 1, by = "bench" }) end)
        n = n + 1
      end
      left = left - 1
      if left == 0 then signal:fire() end
    end)
  end
  signal:wait(seconds + 60)
  return n / ((time.mono() - began) / 1000)
end

for _, workers in ipairs { 1, 64 } do
  local list = {}
  for _ = 1, 3 do list[#list + 1] = entries(workers, 3) end
  say("money.entries.%d: %.0f entries/s, each durable before the next of its account (%.0f-%.0f, n=3)", workers, median(list))
end

-- ---- 2. a year of one machine

local YEAR = "00000000-0000-4000-8000-000000000001"
local last = months.from(now)
local first = months.later(last, -12, 1)
update(function(tx) user(tx, "year") end)
local at = first
while at < last do -- a day of four sessions in an update
  local to = at + 86400000
  update(function(tx)
    ledger.change(tx, "year", at, "bench", function(x) run(x, YEAR, at, to, 4) end)
  end)
  at = to
end

local list, walls, intervals = {}, {}, 0
for i = 1, 20 do -- ten at a time, as the clock counts whole milliseconds; CPU time, as the machine is shared
  local cpu, began = sys.cpu_ms(), time.mono()
  for _ = 1, 10 do intervals = #usage.of(YEAR, first, last) end
  list[i], walls[i] = (sys.cpu_ms() - cpu) / 10, (time.mono() - began) / 10
  task.sleep(0)
end
say("money.year: %.2f ms CPU (%.2f-%.2f, n=20x10) to read a year of a machine of %d intervals; %.2f ms by the clock",
  (median(list)), list[1], list[#list], intervals, (median(walls)))

-- ---- 3. one month's invoices

local from, to = months.later(last, -1, 1), last
local began, n = time.mono(), 0
while n < users do
  update(function(tx)
    for _ = 1, math.min(100, users - n) do
      n = n + 1
      local owner = ("user-%06d"):format(n)
      user(tx, owner)
      ledger.change(tx, owner, from, "bench", function(x)
        run(x, ("00000000-0000-4000-9000-%012d"):format(n), from, to, SESSIONS)
      end)
    end
  end)
end
say("money.fill: %.1f s for %d entries of %d users", (time.mono() - began) / 1000, store.stats().log_seq, users)

local cpu, total, bytes = sys.cpu_ms(), 0, 0
began = time.mono()
for i = 1, users do
  local inv = invoice.of(("user-%06d"):format(i), from, to, now)
  total, bytes = total + inv.charged, bytes + #json.encode(reading.invoice(inv))
  if i % 200 == 0 then task.sleep(0) end
end
say("money.invoices: %.1f s CPU (%.1f s) for the month's invoices of %d users, %d entries each, as JSON; %.2f charged",
  (sys.cpu_ms() - cpu) / 1000, (time.mono() - began) / 1000, users, 2 * SESSIONS + 1, total / 1e6)
