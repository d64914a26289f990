-- What an account owes beyond its plan, reported to Stripe, which puts it on the subscription's next invoice. One report for each
-- entry of the ledger that makes him owe more, put in the very commit that writes the entry, and sent until it is taken.
--
--   usage.report(on) -> true | nil, err    [yields] serve's: whether anything is reported (STRIPE_PRICE_USAGE is set). It stands
--       in the store, meta/stripe {reports =}, for whoever else writes entries knows nothing of the settings
--   usage.on_entry(tx, account, entry, managed)    for each entry that is written, in its update, before the account is, which it
--       may change (ledger.write). managed: the account's when it was posted
--   usage.settle(tx, owner)   in an update: posts what is open of an account that Stripe bills
--   usage.waits(owner) -> whether a report of his is still to be sent
--   usage.settle_all(before) -> true | nil   [yields] of all accounts; with `before` (unix ms), where something is open from
--       before then. nil: not all could be done
--   usage.serve()             [serve's] posts what is open of each account once a day, to be reported; the last day (since
--       1970) that was done is in meta/stripe {posted =}, for one that ends at midnight must leave none out
--   usage.queue
--
-- Stripe counts in the currency's smallest unit. What an entry leaves of a unit is carried to the next one, in the account:
-- ledger.reported = {micro = owed and seen here, sent = units reported}: micro - sent * unit is what is carried, 0 <= it < unit,
-- but for what is taken back: that makes it less than 0, and nothing is reported until it is above again. So sent is exact.
-- What a subscription that ended early has left owed is reported with the next one, as the entry "owed_before" (accounts.lua).
--
-- The record "stripe_report" (id: by hash of the entry's): {entry =, user =, customer =, subscription =, quantity =,
-- at = unix s}. Stripe takes an identifier once within a day; we remember what was sent as long as queue.lua keeps it, and a
-- ledger's entry is written once.

local accounts = require "billing.accounts"
local book = require "billing.book"
local ledger = require "billing.ledger"
local meta_record = require "billing.meta_record"
local meter = require "billing.meter"
local crypto = require "crypto"
local errors = require "errors"
local json = require "json"
local log = require "log"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local stripe = require "stripe"
local objects = require "stripe.objects"
local prices = require "stripe.prices"
local queue = require "stripe.queue"
local task = require "task"
local time = require "time"
local walk = require "walk"

local M = {}

local OLDEST = 34 * 86400 -- seconds: Stripe takes what is at most 35 days old
local DAY, LOOK_SECONDS = 86400000, 600

-- ---- what an entry is worth

-- How much more is owed by it; negative: less.
local function owed_by(e)
  if e.type == "owed_before" then return e.owed end
  if e.type ~= "usage" and e.type ~= "return" then return 0 end
  local sum = 0
  for _, p in ipairs(e.postings) do
    if p[1] == "owed" then sum = sum - p[2] end
  end
  return sum
end

-- The account carries what is less than a unit, the rest is to be reported.
function M.on_entry(tx, acct, e, managed)
  local micro = managed == "stripe" and owed_by(e) or 0
  if micro == 0 or not (tx:get("meta", "stripe") or {}).reports then return end
  local unit = objects.unit(book.get(acct.book, tx).currency)
  local seen = e.type ~= "owed_before" and acct.reported or { micro = 0, sent = 0 } -- which has what was carried, too
  local now = { micro = seen.micro + micro, sent = seen.sent }
  local quantity = math.max(0, math.floor((now.micro - now.sent * unit) / unit))
  if quantity > 0 then
    now.sent = now.sent + quantity
    local user = tx:get("user", acct.owner)
    M.queue:put(tx, crypto.hex(crypto.sha256("cchost usage " .. e.id)):sub(1, 64), {
      entry = e.id, user = acct.owner, customer = user and user.stripe_customer_id, subscription = acct.subscription or nil,
      quantity = quantity, at = math.floor((e.to or e.at) / 1000),
    })
  end
  acct.reported = now
end

function M.report(on)
  return meta_record.change(function(meta)
    if (meta.reports == true) == on then return false end
    meta.reports = on
  end)
end

-- ---- sent

-- Stripe says that it has this one: what was sent before a crash, and not noted.
local function was_sent(err)
  return err.stripe and err.stripe.status == 400 and err.message:find("already exists", 1, true) ~= nil
end

-- What a report by usage records is about: the item of the metered price. -> id | false: it has ended | nil, err
local function item_of(subscription)
  if not subscription then return errors.fail("failed", "the account has no subscription") end
  local sub, err = stripe.subscription(subscription)
  if not sub and err.code ~= "not_found" then return nil, err end
  if not sub or not accounts.lives(sub.status) then return false end
  local item = objects.item(sub, prices.usage)
  if item then return item end
  return errors.fail("failed", ("the subscription %s has no item of the price STRIPE_PRICE_USAGE"):format(subscription))
end

-- When it was, as Stripe takes it: entries are on the clock of deadlines, which may be ahead of Stripe's. What is brought within
-- Stripe's bounds is kept before it is sent, for a second try must say the same under the same key. -> unix s | nil, err
local function dated(id, rec)
  local now = math.floor(time.now() / 1000)
  local at = math.min(math.max(rec.at, now - OLDEST), now)
  if at == rec.at then return at end
  local ok, err = store.update(function(tx)
    local kept = tx:get("stripe_report", id)
    kept.at = at
    tx:put("stripe_report", id, kept, kept.user)
    return true
  end)
  if not ok then return nil, err end
  return at
end

local function send(id, rec)
  local user = store.get("user", rec.user)
  local customer = user and user.stripe_customer_id or rec.customer
  if not customer then return true, "nobody to be billed: it stays owed" end
  local item, err
  if stripe.usage_by_records() then
    item, err = item_of(rec.subscription or user and user.stripe_subscription_id)
    if item == false then return true, "the subscription has ended: it stays owed" end
    if not item then return nil, err end
  end
  local at, ok
  at, err = dated(id, rec)
  if not at then return nil, err end
  ok, err = stripe.report_usage { id = id, customer = customer, item = item, quantity = rec.quantity, at = at }
  if ok then return true, "sent" end
  if was_sent(err) then return true, "sent before" end
  return nil, err
end

M.queue = queue.new("stripe_report", { what = "a report of usage", days = 400, run = send })

-- ---- once a day

-- What the plan's hours pay may be beyond them by now. `before`: or nil; not what is open since then or later.
local function has_open(acct, before)
  if acct.managed ~= "stripe" then return false end
  for _, m in pairs(acct.open) do
    if m.how ~= "free" and m.how ~= "block" and (not before or m.from < before) then return true end
  end
  return false
end

function M.settle(tx, owner)
  local acct = tx:get("ledger", owner)
  if not acct or not has_open(acct) then return end
  ledger.change(tx, owner, steady.now(), "system", function(x) meter.settle(x, x.acct.at) end)
end

function M.waits(owner)
  local pause = slices.new()
  for row in walk.index("stripe_report_pending") do
    local rec = store.get("stripe_report", row.key:match("/(.*)$"))
    if rec and rec.user == owner or not pause() then return true end
  end
  return false
end

-- A fault in the books of one account raises, and is no matter of the others. -> whether it needs no second try
local function settle(owner)
  local ok, done, err = xpcall(store.update, debug.traceback, function(tx)
    M.settle(tx, owner)
    return true
  end)
  if not ok then
    log.error("stripe", "usage cannot be posted: see `cchost ledger --verify`", { user = owner, traceback = tostring(done) })
  elseif not done then
    log.warn("stripe", "usage could not be posted; tried again", { user = owner, error = tostring(err) })
  end
  return not ok or done
end

-- Posts what is open of all accounts that Stripe bills. Entries are then a day long at most.
function M.settle_all(before)
  local pause, all = slices.new(), true
  for row in walk.kind("ledger") do
    if has_open(json.decode(row.json), before) then all = settle(row.id) and all end
    if not pause() then return nil end
  end
  return all or nil
end

local function note_day(day)
  return meta_record.change(function(meta)
    if meta.posted == day then return false end
    meta.posted = day
  end)
end

-- What could not be done of a day is tried again at the next look; a day to come is what a clock that was ahead has left.
local function look(first)
  local today, meta = math.floor(steady.now() / DAY), store.get("meta", "stripe") or {}
  if first and not meta.posted then return note_day(today) end
  if meta.posted ~= today and M.settle_all(today * DAY) then note_day(today) end
end

function M.serve()
  task.spawn(function()
    local first = true
    repeat
      local ok, why = xpcall(look, debug.traceback, first)
      if not ok then log.error("stripe", "posting usage raised", { traceback = why }) end
      first = false
    until not task.sleep(LOOK_SECONDS)
  end)
end

return M
