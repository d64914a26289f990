-- What somebody has paid and is to get: credit, prepaid hours, or the machine of his plan. Durable: tried until it is there, or
-- the money is his credit and the operator is told.
--
--   orders.offer(tx, id, rec)            in an update: what a checkout session is about, before it is paid
--   orders.withdraw(tx, id)              it will not be
--   orders.amount_of(session, currency) -> micro-units | nil, err
--   orders.paid(tx, session, user, micro) -> true, or false when it was before      in an update
--   orders.is_booked(tx, metadata)       whether what a charge with these metadata paid is in the books, if it paid an order
--   orders.refunded(tx, metadata, back) -> block, worth    in an update: money of an order goes back, and its hours with it.
--       back = {id = what names it, of = what was paid, from = what had gone back, to = what has now, micro = the difference}:
--       how much of that was for the hours of a machine, and how much for hours of it that had not been used
--   orders.unpaid(tx, user, back) -> micro    likewise, of credit that is gone: hours that it has bought and that have not begun
--   orders.machine(tx, session, user)    in an update: a subscription began; he gets a machine if he has none
--   orders.queue
--
-- Records: "stripe_offer" (id: by chance) and "stripe_order" (id: the session's): {user =, what = "credit" | "block" | "machine",
-- micro = paid, hours =, type =, machine = of which the hours are, spec = of a new machine}. The index "order_machine" has which
-- machine an order has become, from the commit that made it: so it makes no second one.

local accounts = require "billing.accounts"
local amount = require "billing.amount"
local errors = require "errors"
local instances = require "instances"
local log = require "log"
local objects = require "stripe.objects"
local outbox = require "outbox"
local prepaid = require "billing.prepaid"
local queue = require "stripe.queue"
local record = require "machines.record"
local steady = require "steady"
local store = require "store"
local users = require "accounts.users"

local M = {}

local LOOK_SECONDS = 2 -- at a machine that is being made

-- ---- offered and paid

function M.offer(tx, id, rec) tx:put("stripe_offer", id, rec, rec.user) end

function M.withdraw(tx, id) tx:del("stripe_offer", id) end

-- What the metadata alone say, where the offer is gone: of a store that was brought back from a backup.
local function from_metadata(m)
  local hours = objects.text(m.hours)
  if m.what ~= "block" or not (hours and hours:match("^%d+$") and #hours < 6) then return { what = "credit" } end
  return { what = "block", hours = tonumber(hours), type = objects.text(m.type), machine = objects.text(m.machine) }
end

-- Micro-units that a session was paid with; in the currency of the books. -> micro | nil, err
local function amount_of(session, currency)
  local paid, in_currency = objects.number(session.amount_total), objects.text(session.currency)
  if not paid or paid < 0 or not in_currency then return errors.fail("failed", "a paid session without an amount") end
  if in_currency:lower() ~= currency:lower() then
    return errors.fail("failed", ("paid in %s, and the books are in %s"):format(in_currency, currency))
  end
  return paid * objects.unit(in_currency)
end
M.amount_of = amount_of

local function offer_id(metadata)
  local id = objects.text(objects.table(metadata).order)
  return id and #id <= 64 and id or nil
end

-- Money that goes back is booked after the money that came: else it would find no credit to take.
function M.is_booked(tx, metadata)
  local id = offer_id(metadata)
  local session = id and tx:lookup("order_paid", id)
  return not id or session ~= nil and tx:lookup("ledger_entry", "stripe/session/" .. session) ~= nil
end

-- The id of the machine whose hours an order is.
local function machine_of(tx, metadata)
  local id = offer_id(metadata)
  local session = id and tx:lookup("order_paid", id)
  return session and tx:lookup("order_machine", session)
end

-- Whether hours of a machine whose record is gone (retention.lua) were credit again, as they never began: the books say it.
local function were_given_back(machine)
  return #store.scan("ledger_entry", { prefix = prepaid.back_prefix(machine), limit = 1 }) > 0
end

-- Why a machine's hours end is told: in its log, in the verdict that stops it (policies/expiry.lua), and by mail.
local function shorten(tx, old, ms, back, micro)
  local rec = record.edit(old)
  local cut = prepaid.shorten(rec, ms, micro, math.floor(steady.now()))
  record.save(tx, old, rec, "refunded", "stripe", { micro = micro, ms = cut })
  prepaid.shortened(tx, rec, back.id, "stripe")
  local user = tx:get("user", rec.owner)
  if cut > 0 and user and user.status == "active" then
    outbox.put(tx, { to = user.email, subject = "Hours of " .. rec.name, hours = 48, text = prepaid.refunded(rec)
      and ("What you paid for the hours of %s went back to you, and so they have ended.\n"):format(rec.name)
      or ("Of what you paid for the hours of %s a part went back to you; they end at %s.\n"):format(rec.name, rec.expires_at) })
  end
  return cut
end

local function part(total, of, to) return of > 0 and amount.share(total, 0, of, 0, math.min(to, of)) or 0 end

function M.refunded(tx, metadata, back)
  local machine = machine_of(tx, metadata)
  local old = machine and record.get(tx, machine)
  local bought = from_metadata(objects.table(metadata)).hours
  if machine and bought and not old then return were_given_back(machine) and 0 or back.micro, 0 end
  if not old or not prepaid.has_hours(old) or not bought then return 0, 0 end
  if old.status == "DELETED" then return back.micro, 0 end -- with what was left of them
  local ms = part(bought * amount.HOUR, back.of, back.to) - part(bought * amount.HOUR, back.of, back.from)
  local cut = shorten(tx, old, ms, back, back.micro)
  return back.micro, part(back.micro, ms, cut)
end

function M.unpaid(tx, user, back)
  local taken = 0
  for _, row in ipairs(store.scan("instance_owner", { prefix = user .. "/" })) do
    local rec = tx:get("instance", row.key:sub(#user + 2))
    local paid = rec and prepaid.pending(rec) and rec.prepaid.paid or 0
    local micro = math.min(paid, back.micro - taken)
    if micro > 0 then
      shorten(tx, rec, part(prepaid.bought_ms(rec), paid, micro), back, micro)
      taken = taken + micro
    end
  end
  return taken
end

function M.paid(tx, session, user, micro)
  local metadata = objects.table(session.metadata)
  local id = offer_id(metadata)
  local offer = id and tx:get("stripe_offer", id)
  if id then tx:index("order_paid", id, objects.id(session)) end
  if offer and offer.user ~= user then offer = nil end
  local rec = offer or from_metadata(metadata)
  rec.user, rec.micro, rec.lane = user, micro, user
  if offer then tx:del("stripe_offer", id) end
  return M.queue:put(tx, objects.id(session), rec)
end

function M.machine(tx, session, user)
  return M.queue:put(tx, objects.id(session), { user = user, what = "machine", lane = user })
end

-- ---- telling

-- The operator, once for each order, and the user.
local function tell(id, rec, what, text)
  if rec.told then return true end
  log.error("stripe", "what was paid could not be done: " .. text, { order = id, user = rec.user, what = rec.what })
  return store.update(function(tx)
    local now = tx:get("stripe_order", id)
    if not now or now.told then return true end
    now.told = true
    tx:put("stripe_order", id, now)
    local user = tx:get("user", rec.user)
    if not user then return true end
    users.note(tx, rec.user, "order_failed", { order = id, what = rec.what, reason = text }, "stripe")
    if user.status == "active" then
      outbox.put(tx, { to = user.email, subject = "Your order", text = what .. "\n", hours = 48 })
    end
    return true
  end)
end

-- ---- money

local function payment(id, rec, credit_only)
  return function(tx)
    if rec.micro == 0 then return end
    accounts.pay(tx, rec.user, {
      id = "stripe/session/" .. id, micro = rec.micro, by = "stripe", session = id, credit_only = credit_only,
    })
  end
end

local function as_credit(id, rec)
  local pay = payment(id, rec, rec.what == "block")
  return store.update(function(tx)
    pay(tx)
    return true
  end)
end

local function actor_for(id, rec, before)
  return {
    user = rec.user, by = "stripe", before = before,
    idempotent = { claim = function(_, tx, machine) tx:index("order_machine", id, machine.id) end },
  }
end

-- ---- credit

local run = {}

function run.credit(id, rec)
  local ok, err = as_credit(id, rec)
  if not ok then return nil, err end
  return true, "credit"
end

-- ---- hours

local function buy_hours(id, rec)
  local actor = actor_for(id, rec, payment(id, rec, true))
  if rec.machine then return instances.extend(actor, rec.machine, rec.hours) end
  local spec = {}
  for k, v in pairs(rec.spec or {}) do spec[k] = v end
  spec.hours, spec.type = rec.hours, rec.type
  return instances.create(actor, spec)
end

-- The hours' machine: until it runs, or its user has it off. One that fails has given its price back by itself
-- (billing/prepaid.lua).
local function see_block(id, rec, machine)
  if rec.machine then return true, "extended " .. machine end
  local m = store.get("instance", machine)
  if not m or m.status == "DELETED" then return true, "it was deleted" end
  if prepaid.begun(m) then return true, "the machine " .. machine .. " runs" end
  if prepaid.pending(m) then
    if m.status == "STOPPED" and m.desired == "STOPPED" then return true, "it is off; its hours begin when it runs" end
    return false, LOOK_SECONDS
  end
  local ok, err = tell(id, rec, "The machine that you bought hours for could not be made. What you paid is your credit.",
    ("the machine %s failed; its price is the user's credit"):format(machine))
  if not ok then return nil, err end
  return true, "credited back"
end

-- Paid and bought in one commit: what runs meanwhile must not take from this money. What cannot be bought is credit.
function run.block(id, rec)
  local machine = store.lookup("order_machine", id)
  if machine then return see_block(id, rec, machine) end
  local made, err = buy_hours(id, rec)
  if made then return see_block(id, rec, made.id) end
  if err.code == "cancelled" then return nil, err end
  local ok, why = as_credit(id, rec)
  if not ok then return nil, why end
  if err.retryable or err.code == "unavailable" then return nil, errors.new(err.code, err.message, { retryable = true }) end
  ok, why = tell(id, rec, "The hours that you bought could not be begun: " .. err.message .. ". What you paid is your credit.",
    err.message .. "; what was paid is the user's credit")
  if not ok then return nil, why end
  return true, "credit: " .. err.message
end

-- ---- the machine of a plan

local RUNS = { active = true, trialing = true }

local function has_machine(user)
  for _, row in ipairs(store.scan("instance_owner", { prefix = user .. "/" })) do
    local rec = store.get("instance", row.key:sub(#user + 2))
    if rec and rec.desired ~= "DELETED" and not prepaid.counts(rec) then return true end
  end
  return false
end

-- Failed, and tried again; the operator hears of it the first time.
local function try_again(id, rec, err)
  if err.code == "cancelled" then return nil, err end
  local ok, why = tell(id, rec, "Your machine could not be made yet: " .. err.message .. ". It is tried again.", err.message)
  if not ok then return nil, why end
  return nil, errors.new(err.code, err.message, { retryable = true })
end

local function see_machine(id, rec, machine)
  local m = store.get("instance", machine)
  if not m or m.desired == "DELETED" then return true, "it was deleted" end
  if m.status == "RUNNING" or m.desired == "STOPPED" then return true, "the machine " .. machine end
  if m.status ~= "ERROR" then return false, LOOK_SECONDS end
  local why = errors.new("failed", ("the machine %s failed"):format(machine))
  local ok, err = instances.move(actor_for(id, rec), machine, "start", 0)
  return try_again(id, rec, ok and why or err)
end

function run.machine(id, rec)
  local user = users.get(rec.user)
  if not user or user.status == "deleted" then return true, "the account is gone" end
  if not RUNS[user.subscription_status] then return true, "the subscription is " .. tostring(user.subscription_status) end
  local machine = store.lookup("order_machine", id)
  if machine then return see_machine(id, rec, machine) end
  if has_machine(rec.user) then return true, "there is a machine" end
  local made, err = instances.create(actor_for(id, rec), { labels = { made_by = "checkout" } })
  if not made then return try_again(id, rec, err) end
  return false, LOOK_SECONDS
end

M.queue = queue.new("stripe_order", { what = "an order that is paid", run = function(id, rec) return run[rec.what](id, rec) end })

return M
