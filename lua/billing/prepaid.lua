-- Prepaid hours of a machine: asked for, bought, begun, given back. record.prepaid = {hours =, paid = micro-units, counts =
-- whether the machine is theirs and not its plan's, begun_at = RFC 3339 or null}; absent, or null, where a machine has none.
--
-- Their clock starts when the machine first runs (record.begun_at, expires_at); what never began is given back when the machine
-- fails or goes. More hours begin at the end of those that there are, or now, or when it runs again.
--
--   prepaid.ask(tx, rec, hours, actor)   [in an update] why the actor may not have them, an error, or nil; notes what they cost
--   prepaid.extend(rec, hours) -> fault  the record with more hours
--   prepaid.buy(tx, rec, hours, by, id)  [in an update] posts them, with what they cost
--   prepaid.refunded(rec, micro) -> part what was paid for them has gone back
--   prepaid.begin(rec, t)                in the record
--   prepaid.give_back(rec) -> fn(x)      in the record, and what is to be done to its account's books (metering.lua)
--   prepaid.has_account(rec), prepaid.is_set(v)               whether anybody pays for it; whether a field has a value
--   prepaid.begun(rec), prepaid.pending(rec), prepaid.has_hours(rec) (one of them, also when they are over)
--   prepaid.counts(rec), prepaid.lasts(rec)

local amount = require "billing.amount"
local book = require "billing.book"
local errors = require "errors"
local json = require "json"
local ledger = require "billing.ledger"
local standing = require "billing.standing"
local steady = require "steady"
local time = require "time"

local M = {}

local HOUR = amount.HOUR
local LAST_TIME = 253402300799000 -- the last millisecond that RFC 3339 can write, less one second

local function is_set(v) return v ~= nil and v ~= json.null end
local function has_account(rec) return rec.owner ~= "operator" and rec.provider ~= "foreign" end
M.is_set, M.has_account = is_set, has_account

function M.begun(rec) return is_set(rec.prepaid) and is_set(rec.prepaid.begun_at) end
function M.pending(rec) return is_set(rec.prepaid) and rec.prepaid.hours ~= nil and not is_set(rec.prepaid.begun_at) end
function M.has_hours(rec) return M.pending(rec) or M.begun(rec) end
function M.counts(rec) return is_set(rec.prepaid) and rec.prepaid.counts == true end

-- Whether it may run on its hours alone.
function M.lasts(rec) return M.pending(rec) or M.begun(rec) and time.parse(rec.expires_at) > steady.now() end

local function add(rec, more)
  local p = {}
  for k, v in pairs(is_set(rec.prepaid) and rec.prepaid or {}) do p[k] = v end
  for k, v in pairs(more) do p[k] = v end
  rec.prepaid = p
end

-- Whose hours are a gift of the operator's cost nothing, and so do all where nobody is asked for money.
function M.ask(tx, rec, hours, actor)
  if not hours or not has_account(rec) then return nil end
  local free = actor.admin or not standing.on
  local t = math.floor(steady.now())
  local cost = free and 0 or book.block_rate(book.get(book.at(tx, t), tx), rec.type, t) * hours
  local credit = cost > 0 and standing.of(rec.owner, t, tx).credit or 0
  if credit < cost then
    return errors.new("payment", ("%d hours of %s cost %s and your credit is %s; buy some with POST /billing/checkout")
      :format(hours, rec.type, amount.text(cost), amount.text(credit)))
  end
  add(rec, { price = cost, counts = M.counts(rec) or actor.admin == true or standing.on })
end

-- Those that there are go on; others begin now where it runs, and else when it runs.
function M.extend(rec, hours)
  local now = math.floor(steady.now())
  local goes_on = M.pending(rec) or is_set(rec.expires_at) and time.parse(rec.expires_at) > now or rec.provider == "foreign"
  local ends = is_set(rec.expires_at) and time.parse(rec.expires_at) or now
  ends = (M.pending(rec) and ends or math.max(now, ends)) + hours * HOUR
  if ends > LAST_TIME then
    return errors.new("invalid", "hours: that is beyond the year 9999", { field = "hours" })
  end
  if goes_on or rec.status == "RUNNING" then
    local had = is_set(rec.prepaid) and rec.prepaid.hours
    add(rec, { hours = (had or 0) + hours, begun_at = had and rec.prepaid.begun_at or time.rfc3339(now) })
  else
    add(rec, { hours = hours, begun_at = json.null, paid = has_account(rec) and 0 or nil }) -- what is over is over
  end
  rec.expires_at = time.rfc3339(ends)
end

local function post(rec, x, type, id, hours, paid)
  local list = { { "granted", -hours * HOUR }, { "block:" .. rec.id, hours * HOUR } }
  if paid ~= 0 then
    list[3], list[4] = { "credit", -paid }, { "revenue", paid }
  end
  ledger.post_once(x, { id = id, type = type, at = x.acct.at, postings = list, machine = rec.id, hours = hours })
end

function M.buy(tx, rec, hours, by, id)
  if not has_account(rec) then return end
  local price = rec.prepaid.price or 0
  add(rec, { paid = (rec.prepaid.paid or 0) + price })
  rec.prepaid.price = nil
  ledger.change(tx, rec.owner, steady.now(), by, function(x)
    post(rec, x, "block", ("block/%s/%s"):format(rec.id, id), hours, price)
  end)
end

-- `micro` of what was paid for hours that have not begun went back to who paid (negative: came again): what is left is all that
-- give_back gives. -> how much of it they take
function M.refunded(rec, micro)
  if not M.pending(rec) then return 0 end
  local part = math.min(micro, rec.prepaid.paid or 0)
  add(rec, { paid = (rec.prepaid.paid or 0) - part })
  return part
end

-- The clock starts: in the record alone, the meter hears of it as of every change.
function M.begin(rec, t)
  add(rec, { begun_at = time.rfc3339(t) })
  rec.expires_at = time.rfc3339(t + rec.prepaid.hours * HOUR)
end

-- It never ran: the hours are taken back, and what was paid for them is the user's again.
function M.give_back(rec)
  local p = rec.prepaid
  rec.prepaid, rec.expires_at = json.null, json.null
  if rec.desired == "RUNNING" then rec.desired = "STOPPED" end -- nobody pays for its recovery
  return function(x)
    post(rec, x, "credited_back", ("block/%s/back/%d"):format(rec.id, rec.version), -p.hours, -p.paid)
  end
end

return M
