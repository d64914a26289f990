-- From a machine's record to its account's meter: in the commit that changes the one the other changes, so that what a machine
-- costs begins and ends at the millisecond at which its status says so, whatever crashes afterwards.
--
-- The moment is that of the commit, and `metered_at` in the machine's log says it; where a machine was found dead, it is
-- record.ran_until, the last time that it was seen alive.
--
-- metering.of(rec) -> what the meter of its account is to know of a machine: {state =, type =, gib =, ends =}, or nil
-- metering.failures: how many changes of machines could not be carried into the books since this process began.

local ledger = require "billing.ledger"
local log = require "log"
local meter = require "billing.meter"
local plain = require "plain"
local prepaid = require "billing.prepaid"
local record = require "machines.record"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local time = require "time"

local M = { failures = 0 }

local is_set, has_account = prepaid.is_set, prepaid.has_account

-- What the meter of its account is to know of a machine, or nil.
local function metered(rec)
  if not rec or not has_account(rec) or rec.status == "DELETED" then return nil end
  local state = (rec.status == "RUNNING" or rec.status == "STOPPED") and rec.status
  if prepaid.begun(rec) then
    return { state = state or "OTHER", type = rec.type, gib = rec.resources.disk_gib, ends = time.parse(rec.expires_at) }
  end
  return state and { state = state, type = rec.type, gib = rec.resources.disk_gib } or nil
end

M.of = metered

-- When what is so now began, unix ms on the clock of deadlines: a wall clock that is set costs nobody anything.
local function moment(old, rec)
  local now = math.floor(steady.now())
  if not old or old.status ~= "RUNNING" or rec.status == "RUNNING" or not is_set(rec.ran_until) then return now end
  return math.min(now, time.parse(rec.ran_until))
end

-- Changes an account's books for a machine. A fault in them keeps no machine from being stopped: nothing of it is written then,
-- its bill stands still, and that is told.
local function in_books(tx, owner, machine, t, by, fn)
  local ok, x = pcall(ledger.reckon, tx, owner, t, fn)
  if ok then return ledger.write(tx, x, by) end
  M.failures = M.failures + 1
  log.error("billing", "a machine's meter could not be moved: see `cchost ledger --verify`",
    { account = owner, machine = machine, error = tostring(x) })
end

local function prepaid_change(tx, old, rec, t, by)
  if not prepaid.pending(rec) then return end
  if rec.status == "RUNNING" then return prepaid.begin(rec, t) end
  if not has_account(rec) then return end -- nobody has paid: they begin when it runs after all
  local over = rec.status == "ERROR" or rec.status == "DELETED"
  if over and old and old.status ~= rec.status then
    in_books(tx, rec.owner, rec.id, steady.now(), by, prepaid.give_back(rec))
  end
end

-- What is left of a block whose machine is deleted ends with it.
local function forfeit(x, rec)
  local left = x.acct.balances["block:" .. rec.id]
  if not left then return end
  ledger.post_once(x, { id = "block/" .. rec.id .. "/forfeited", type = "forfeited", at = x.acct.at, machine = rec.id,
    postings = { { "block:" .. rec.id, -left }, { "expired", left } } })
end

-- ---- the hook

local function tell(tx, owner, id, t, now, by, gone)
  in_books(tx, owner, id, t, by, function(x)
    meter.set(x, id, t, now)
    if gone then forfeit(x, gone) end
  end)
end

-- Called by record.save, in its update, before the record is written.
function record.before_save(tx, old, rec, by)
  local t = moment(old, rec)
  prepaid_change(tx, old, rec, t, by)
  local was, is = metered(old), metered(rec)
  if not was and not is or old and old.owner == rec.owner and plain.same(was, is) then return end
  if was and old.owner ~= rec.owner then
    tell(tx, old.owner, rec.id, t, nil, by)
    was = nil
  end
  if was or is then tell(tx, rec.owner, rec.id, t, is, by, prepaid.begun(rec) and rec.status == "DELETED" and rec or nil) end
  return time.rfc3339(t)
end

-- Machines that the books do not know as they are: of a store from before there were books. [yields] -> how many there were
function M.catch_up()
  local after, n, pause = nil, 0, slices.new()
  repeat
    local page = store.scan("instance_live", { after = after, limit = 200 })
    for _, row in ipairs(page) do
      after = row.key
      local rec = store.get("instance", row.key)
      local is = rec and metered(rec)
      local acct = is and ledger.get(rec.owner)
      if is and not (acct and acct.open[rec.id]) then
        n = n + 1
        local ok, err = store.update(function(tx)
          local now = tx:get("instance", row.key)
          if now and metered(now) then
            local t = math.floor(steady.now())
            tell(tx, now.owner, now.id, t, metered(now), "system")
            tx:log("instance", now.id, "metered", { metered_at = time.rfc3339(t) }, "system") -- its log tells since when
          end
          return true
        end)
        if not ok then return nil, err end
      end
      if not pause() then return n end
    end
  until #page < 200
  return n
end

return M
