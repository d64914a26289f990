-- What changes when money begins, or ends, to be asked for: Stripe's settings are there for the first time, or are gone. What the
-- operator has given stays: plans (without a fee then), hours of accounts, hours of machines. What users took by themselves for
-- nothing does not: such hours of machines end, and the machines go on as those of their plans. Hours that are over are left to
-- their end.
--
--   change_over.note(on)      [serve's] whether money is asked for, in meta/stripe {on =}, for whoever knows nothing of the
--                             settings -> true | nil, err
--   change_over.run() -> true | nil, err     [yields] what is left of it; done once, and after a crash gone on with; a
--                             fault in one account's books is told, and that one is for the next run
--   change_over.again(tx)     in an update: accounts and machines have come from another store (transfer.lua), where it may have
--                             been otherwise; for the next run

local accounts = require "billing.accounts"
local errors = require "errors"
local json = require "json"
local log = require "log"
local meta_record = require "billing.meta_record"
local outbox = require "outbox"
local prepaid = require "billing.prepaid"
local record = require "machines.record"
local slices = require "slices"
local store = require "store"

local M = {}

local REASON = "money is asked for now, and its hours were not paid for"

function M.note(on)
  return meta_record.change(function(meta)
    if (meta.on == true) == on then return false end
    meta.on, meta.changed_over = on, nil
  end)
end

function M.again(tx)
  local meta = tx:get("meta", "stripe")
  if not meta or not meta.changed_over then return end
  meta.changed_over = nil
  tx:put("meta", "stripe", meta)
end

local faults = 0 -- of this run

-- In an update of its own. A fault in one account's books raises: it is told, nothing of this one is written, and the others
-- go on; the next run tries it again. -> true | nil, err
local function change(fn, row)
  local ok, done, err = xpcall(store.update, debug.traceback, function(tx)
    fn(tx, row)
    return true
  end)
  if ok then return done, err end
  log.error("billing", "what follows from whether money is asked for cannot be done for one: see `cchost ledger --verify`",
    { key = row.key, traceback = tostring(done) })
  faults = faults + 1
  return true
end

-- fn(tx, row) for each of an index. -> true | nil, err
local function each(index, fn)
  local after, pause = nil, slices.new()
  repeat
    local page, err = store.scan(index, { after = after, limit = 200 })
    if not page then return nil, err end
    for _, row in ipairs(page) do
      after = row.key
      local ok
      ok, err = change(fn, row)
      if not ok then return nil, err end
      if not pause() then return nil, err end
    end
  until #page < 200
  return true
end

local function taken_for_nothing(rec)
  return rec and rec.owner ~= "operator" and prepaid.has_account(rec) and prepaid.lasts(rec) and not prepaid.counts(rec)
end

local function end_hours(tx, row)
  local old = record.get(tx, row.key)
  if not taken_for_nothing(old) then return end
  local rec = record.edit(old)
  rec.prepaid, rec.expires_at = json.null, json.null
  record.save(tx, old, rec, "hours_ended", "system", { reason = REASON })
  prepaid.shortened(tx, rec, "change_over", "system")
  local user = tx:get("user", rec.owner)
  if user and user.status == "active" then
    outbox.put(tx, { to = user.email, subject = "Hours of " .. rec.name, hours = 48,
      text = ("From now on machines are paid for here. The hours of %s were not, so it goes on as a machine of your plan: see "
        .. "GET /billing/usage.\n"):format(rec.name) })
  end
end

local function bill_otherwise(tx, row)
  local user = tx:get("user", row.value)
  if user and tx:get("ledger", user.id) then accounts.plan_changed(tx, user, "system") end
end

function M.run()
  local meta = store.get("meta", "stripe") or {}
  if meta.changed_over then return true end
  faults = 0
  local ok, err = each("user_number", bill_otherwise)
  if ok and meta.on then ok, err = each("instance_live", end_hours) end
  if ok and faults == 0 then
    ok, err = meta_record.change(function(now)
      now.changed_over = true
    end)
  end
  if ok and faults > 0 then ok, err = errors.fail("failed", faults .. " accounts are left, as their books are at fault") end
  if not ok then
    log.warn("billing", "what follows from whether money is asked for goes on at the next start", { error = tostring(err) })
  end
  return ok, err
end

return M
