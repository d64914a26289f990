-- Prepaid hours of a machine: asked for, bought, begun, given back. record.prepaid = {hours =, paid = micro-units, bought = how
-- many of the hours were paid for, counts = whether the machine is theirs and not its plan's, begun_at = RFC 3339 or null,
-- refunded = true when what was paid went back, and they ended by that}; absent, or null, where a machine has none.
--
-- Their clock starts when the machine first runs (record.begun_at, expires_at); what never began is given back when the machine
-- fails or goes. More hours begin at the end of those that there are, or now, or when it runs again.
--
--   prepaid.ask(tx, rec, hours, actor)   [in an update] why the actor may not have them, an error, or nil; notes what they cost
--   prepaid.extend(rec, hours) -> fault  the record with more hours
--   prepaid.buy(tx, rec, hours, by, id)  [in an update] posts them, with what they cost
--   prepaid.shorten(rec, ms, micro, t) -> ms   what was paid for them has gone back: in the record, and
--   prepaid.shortened(tx, rec, id, by)   [in an update] in the books, when the record is saved: as many as it says
--   prepaid.begin(rec, t)                in the record
--   prepaid.give_back(rec) -> fn(x)      in the record, and what is to be done to its account's books (metering.lua)
--   prepaid.back_prefix(machine) -> with what the id of the entry begins that has given them back
--   prepaid.has_account(rec), prepaid.is_set(v)               whether anybody pays for it; whether a field has a value
--   prepaid.begun(rec), prepaid.pending(rec), prepaid.has_hours(rec) (one of them, also when they are over)
--   prepaid.notice(rec) -> sentence or nil
--   prepaid.counts(rec), prepaid.lasts(rec), prepaid.refunded(rec), prepaid.bought_ms(rec)

local amount = require "billing.amount"
local book = require "billing.book"
local errors = require "errors"
local json = require "json"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
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

-- Hours of a record are whole milliseconds.
local function ms_of(hours) return math.floor((hours or 0) * HOUR + 0.5) end

-- Whether they have ended because what was paid for them went back.
function M.refunded(rec) return is_set(rec.prepaid) and rec.prepaid.refunded == true end

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
    add(rec, { hours = hours, begun_at = json.null, paid = has_account(rec) and 0 or nil, bought = 0 }) -- what is over is over
  end
  rec.expires_at = time.rfc3339(ends)
  rec.prepaid.refunded = nil
end

-- What its owner is to know who has given it hours.
function M.notice(rec)
  if rec.provider == "foreign" then return nil end
  local ends = M.pending(rec) and ("%g hours after it runs"):format(rec.prepaid.hours) or "at " .. rec.expires_at
  return ("%s when its hours end, %s, it is stopped, and deleted later unless it is given more"):format(M.counts(rec)
    and "it runs on prepaid hours, and is no machine of its owner's plan:" or "it has an end:", ends)
end

local function post(rec, x, type, id, hours, paid)
  local ms = ms_of(hours)
  local list = { { "granted", -ms }, { "block:" .. rec.id, ms } }
  if paid ~= 0 then
    list[3], list[4] = { "credit", -paid }, { "revenue", paid }
  end
  ledger.post_once(x, { id = id, type = type, at = x.acct.at, postings = list, machine = rec.id, hours = hours })
end

function M.buy(tx, rec, hours, by, id)
  if not has_account(rec) then return end
  local price = rec.prepaid.price or 0
  add(rec, { paid = (rec.prepaid.paid or 0) + price, bought = (rec.prepaid.bought or 0) + (price > 0 and hours or 0) })
  rec.prepaid.price = nil
  ledger.change(tx, rec.owner, steady.now(), by, function(x)
    post(rec, x, "block", ("block/%s/%s"):format(rec.id, id), hours, price)
  end)
end

-- How much of them was paid for.
function M.bought_ms(rec) return ms_of(rec.prepaid.bought or rec.prepaid.hours) end

-- When they end if nothing changes; of hours that have not begun, how much of them there is.
local function left(rec, t)
  if not is_set(rec.prepaid) then return 0 end
  if M.pending(rec) then return ms_of(rec.prepaid.hours) end
  return math.max(0, time.parse(rec.expires_at) - t)
end

-- `micro` of what was paid for them went back to who paid, and `ms` of them go with it: as many as are left. Where none are, they
-- have ended (policies/expiry.lua). -> ms that went
function M.shorten(rec, ms, micro, t)
  local p, pending, there = rec.prepaid, M.pending(rec), left(rec, t)
  local cut = math.min(ms, there)
  local bought = math.max(0, M.bought_ms(rec) - ms)
  add(rec, { hours = (ms_of(p.hours) - cut) / HOUR, bought = bought / HOUR, paid = math.max(0, (p.paid or 0) - micro) })
  if cut == 0 then return 0 end
  if cut == there then
    add(rec, { begun_at = pending and time.rfc3339(t) or p.begun_at, refunded = true })
    rec.expires_at = time.rfc3339(t)
  else
    rec.expires_at = time.rfc3339(time.parse(rec.expires_at) - cut)
  end
  return cut
end

function M.shortened(tx, rec, id, by)
  if not has_account(rec) then return end
  local block = "block:" .. rec.id
  ledger.change(tx, rec.owner, steady.now(), by, function(x)
    meter.settle(x, x.acct.at)
    local more = (x.acct.balances[block] or 0) - left(rec, x.acct.at)
    if more <= 0 then return end
    ledger.post_once(x, { id = ("block/%s/refunded/%s"):format(rec.id, id), type = "hours_refunded", at = x.acct.at,
      machine = rec.id, postings = { { block, -more }, { "granted", more } } })
  end)
end

-- The clock starts: in the record alone, the meter hears of it as of every change.
function M.begin(rec, t)
  add(rec, { begun_at = time.rfc3339(t) })
  rec.expires_at = time.rfc3339(t + ms_of(rec.prepaid.hours))
end

function M.back_prefix(machine) return ("block/%s/back/"):format(machine) end

-- It never ran: the hours are taken back, and what was paid for them is the user's again.
function M.give_back(rec)
  local p = rec.prepaid
  rec.prepaid, rec.expires_at = json.null, json.null
  if rec.desired == "RUNNING" then rec.desired = "STOPPED" end -- nobody pays for its recovery
  return function(x)
    post(rec, x, "credited_back", M.back_prefix(rec.id) .. ("%d"):format(rec.version), -p.hours, -p.paid)
  end
end

return M
