-- Credits back what everybody's machines cost while there was an outage: money as credit, hours as hours that do not end with
-- the month.
--
--   cchost examples/refund-outage.lua [--dry-run] FROM TO REASON [ID]
--   cchost examples/refund-outage.lua --dry-run 2026-11-20T12:00:00Z 2026-11-20T14:30:00Z "no network"
--
-- An outage is named by ID, or by its times: run again, whole or after it was cut off, it gives nobody anything twice. Fees of
-- plans are not given back, and blocks of prepaid hours are told and not prolonged (cchost: POST /instances/ID/extend).

local app = require "script"
local accounts = require "billing.accounts"
local amount = require "billing.amount"
local json = require "json"
local store = require "store"
local task = require "task"
local time = require "time"
local usage = require "billing.usage"
local users = require "accounts.users"
local when = require "when"

local args = { ... }
local dry = args[1] == "--dry-run"
if dry then table.remove(args, 1) end

local from, to = when.parse(args[1] or "", time.now()), when.parse(args[2] or "", time.now())
local reason = args[3]
if not (from and to and from < to and to <= time.now() and reason) then
  app.usage("examples/refund-outage.lua [--dry-run] FROM TO REASON [ID]   (an outage that is over)")
end
local id = args[4] or time.rfc3339(from) .. "-" .. time.rfc3339(to)

app.open { existing = true }

-- What an account's machines cost in it: micro-units, ms of the plan's and given hours, ms of blocks.
local function cost_of(owner)
  local totals = usage.totals(owner, from, to)
  return totals.charged, (totals.by_how.included or 0) + (totals.by_how.bonus or 0), totals.by_how.block or 0
end

-- -> whether anything was given now
local function give(owner, micro, ms)
  return app.must(store.update(function(tx)
    local done = false
    if micro > 0 then
      done = accounts.adjust(tx, owner, { id = ("outage/%s/%s/money"):format(id, owner), micro = micro, reason = reason,
        by = "operator" })
    end
    if ms > 0 then
      done = accounts.give_hours(tx, owner, { id = ("outage/%s/%s/hours"):format(id, owner), hours = ms / amount.HOUR,
        reason = reason, by = "operator" }) or done
    end
    return { done }
  end))[1]
end

local function name_of(owner)
  local user = users.get(owner)
  return user and user.email ~= json.null and user.email or owner
end

local n, given, micro_sum, ms_sum, after = 0, 0, 0, 0, nil
local page
repeat
  page = app.must(store.list("ledger", { after = after, limit = 200 }))
  for _, row in ipairs(page) do
    after = row.id
    n = n + 1
    app.progress("%d accounts looked at, %d given something", n, given)
    local micro, ms, block = cost_of(row.id)
    if micro > 0 or ms > 0 then
      local done = dry or give(row.id, micro, ms)
      print(("%-36s %14s and %.6f h%s"):format(name_of(row.id), amount.text(micro), ms / amount.HOUR,
        dry and " (would be given)" or done and "" or " (was given before)"))
      if done then given, micro_sum, ms_sum = given + 1, micro_sum + micro, ms_sum + ms end
    end
    if block > 0 then print(("%-36s had %.6f prepaid hours in it"):format(name_of(row.id), block / amount.HOUR)) end
  end
  task.sleep(0)
until #page < 200
if n == 0 then return print("no account has books yet: there is nothing to give back") end
print(("%d of %d accounts %s %s and %.6f h"):format(given, n, dry and "would be given" or "were given", amount.text(micro_sum),
  ms_sum / amount.HOUR))
