-- Who spends most: accounts by what their machines were charged since a given time, and by their hours.
--
--   cchost examples/top-spenders.lua [SINCE [N]]
--   cchost examples/top-spenders.lua 7d 5
--
-- Without a time 30 days; without a number ten. Changes nothing.

local app = require "script"
local amount = require "billing.amount"
local json = require "json"
local steady = require "steady"
local store = require "store"
local task = require "task"
local usage = require "billing.usage"
local users = require "accounts.users"
local when = require "when"

local since_text, most = ...
app.open { existing = true }

local now = math.floor(steady.now())
local since, n = when.parse(since_text or "30d", now), tonumber(most or 10)
if not since or since >= now or not n then app.usage("examples/top-spenders.lua [SINCE [N]]") end

local list, after = {}, nil
local page
repeat
  page = app.must(store.list("ledger", { after = after, limit = 200 }))
  for _, row in ipairs(page) do
    after = row.id
    app.progress("%d accounts", #list)
    local totals = usage.totals(row.id, since, now)
    list[#list + 1] = { owner = row.id, micro = totals.charged, ms = totals.running_ms }
  end
  task.sleep(0)
until #page < 200

table.sort(list, function(a, b)
  if a.micro ~= b.micro then return a.micro > b.micro end
  if a.ms ~= b.ms then return a.ms > b.ms end
  return a.owner < b.owner
end)

if #list == 0 then return print("no account has books yet: nothing was used") end
print(("%4s %-36s %14s %12s"):format("", "account", "charged", "hours"))
for i = 1, math.min(n, #list) do
  local r = list[i]
  local user = users.get(r.owner)
  local name = user and user.email ~= json.null and user.email or r.owner
  print(("%4d %-36s %14s %12.2f"):format(i, name, amount.text(r.micro), r.ms / amount.HOUR))
end
