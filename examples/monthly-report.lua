-- What a month came to, account by account: hours, what was used, fees and blocks, what was paid, and the balance.
--
--   cchost examples/monthly-report.lua [--csv] [MONTH]
--   cchost examples/monthly-report.lua 2026-11
--
-- Without a month the running one. Works beside a running `cchost serve` or without one, and changes nothing.

local app = require "script"
local amount = require "billing.amount"
local invoice = require "billing.invoice"
local json = require "json"
local months = require "billing.months"
local steady = require "steady"
local store = require "store"
local task = require "task"
local users = require "accounts.users"

local args = { ... }
local csv = args[1] == "--csv"
if csv then table.remove(args, 1) end

app.open { existing = true }

local now = math.floor(steady.now())
local from, to = months.from(now), months.after(now)
if args[1] then from, to = months.parse(args[1]) end
if not from then app.usage("examples/monthly-report.lua [--csv] [MONTH]   (a month like 2026-11)") end

local function name_of(owner)
  local user = users.get(owner)
  return user and user.email ~= json.null and user.email or owner
end

local function row_of(owner)
  local inv = invoice.of(owner, from, to, now)
  local row = { name = name_of(owner), plan = inv.plan, ms = 0, usage = 0, total = inv.charged, paid = inv.paid }
  row.balance = inv.closing
  for _, ms in pairs(inv.used) do row.ms = row.ms + ms end
  for _, line in ipairs(inv.lines) do
    if line.kind == "usage" or line.kind == "storage" then row.usage = row.usage + line.micro end
  end
  return row
end

local FORMAT = csv and "%s,%s,%s,%s,%s,%s,%s,%s" or "%-36s %-10s %12s %14s %14s %14s %14s %14s"

local function say(r)
  print(FORMAT:format(r.name, r.plan, ("%.2f"):format(r.ms / amount.HOUR), amount.text(r.usage), amount.text(r.total - r.usage),
    amount.text(r.total), amount.text(r.paid), amount.text(r.balance)))
end

if #app.must(store.list("ledger", { limit = 1 })) == 0 then return print("no account has books yet: nothing was used") end
print(FORMAT:format("account", "plan", "hours", "usage", "fees+blocks", "total", "paid", "balance"))
local sum = { name = "all", plan = months.name(from), ms = 0, usage = 0, total = 0, paid = 0, balance = 0 }
local n, after = 0, nil
local page
repeat
  page = app.must(store.list("ledger", { after = after, limit = 200 }))
  for _, found in ipairs(page) do
    after = found.id
    n = n + 1
    app.progress("%d accounts", n)
    local row = row_of(found.id)
    say(row)
    for _, field in ipairs { "ms", "usage", "total", "paid", "balance" } do sum[field] = sum[field] + row[field] end
  end
  task.sleep(0)
until #page < 200
say(sum)
