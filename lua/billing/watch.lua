-- Watches the accounts whose machines run: posts what happens by itself at its time, asks policies/billing.lua, warns, and stops
-- machines that nobody pays for, within a second. How late it does so changes no total (meter.lua): what a machine ran on
-- meanwhile is stated as overrun, and not charged.
--
--   watch.serve()     [serve's]
--   watch.counts -> {checked =, warned =, stopped =}
--
-- An account is looked at when its books change, when something ends (hours, credit, a month, a price's day), an hour before
-- they run out, and at least every five minutes. What was last said of it stands in its ledger record: `standing`.

local ledger = require "billing.ledger"
local prepaid = require "billing.prepaid"
local standing = require "billing.standing"
local due = require "due"
local instances = require "instances"
local json = require "json"
local log = require "log"
local changes = require "machines.changes"
local outbox = require "outbox"
local policy = require "policy"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local walk = require "walk"

local M = { counts = { checked = 0, warned = 0, stopped = 0 } }

local EVERY, BEFORE = 300000, 3600000 -- ms

local function runs(acct)
  for _, m in pairs(acct.open) do
    if m.state == "RUNNING" or m.how == "block" then return true end
  end
  return false
end

-- ---- a verdict

local function mail(tx, owner, text)
  local user = tx:get("user", owner)
  if not user or user.status ~= "active" then return end
  outbox.put(tx, { to = user.email, subject = "Your machines are about to stop", text = text .. "\n", hours = 24 })
end

-- What is told of a verdict that is another than before. "hold" is the operator's matter: nothing changes for the user.
local EVENT = { warn = "billing_warning", stop = "billing_stop", hold = "billing_hold" }

local function note(owner, decision)
  local verdict, reason = decision.verdict, decision.reason
  return store.update(function(tx)
    local acct = tx:get("ledger", owner)
    if not acct then return true end
    local was = acct.standing and acct.standing.verdict
    acct.standing = { verdict = verdict, reason = reason, generation = decision.generation }
    tx:put("ledger", owner, acct, owner)
    if verdict == was or not EVENT[verdict] then return true end
    if verdict ~= "hold" then mail(tx, owner, (reason:gsub("^%l", string.upper))) end
    if tx:get("user", owner) then
      tx:log("user", owner, EVENT[verdict], { reason = reason, decision = decision }, "policy")
    end
    return true
  end)
end

-- Stops his machines that run and have no hours of their own (whose end is expiry.lua's). -> true | nil, err
local function stop_all(owner)
  local failed
  local verdict, reason, decision = standing.decide(owner, steady.now())
  if verdict ~= "stop" then return true end -- he has paid meanwhile
  for _, row in ipairs(store.scan("instance_owner", { prefix = owner .. "/" })) do
    local rec = store.get("instance", row.key:sub(#owner + 2))
    if rec and (rec.status == "RUNNING" or rec.status == "STARTING") and not prepaid.has_hours(rec) then
      local ok, err = instances.move({
        admin = true, by = "policy", reason = reason, expects = rec.version, decision = decision,
      }, rec.id, "stop", 0)
      if ok == nil then failed = err else M.counts.stopped = M.counts.stopped + 1 end
    end
  end
  if failed then return nil, failed end
  return true
end

local function act(owner, decision)
  local verdict, reason = decision.verdict, decision.reason
  local acct = ledger.get(owner)
  local known = acct.standing
  if not known or known.verdict ~= verdict or known.reason ~= reason then
    local ok, err = note(owner, decision)
    if not ok then return nil, err end
    if verdict == "warn" then M.counts.warned = M.counts.warned + 1 end
    if verdict == "hold" then
      log.error("billing", "what an account may run is not decided; all stays as it is", { account = owner, reason = reason })
    end
  end
  if verdict == "stop" then return stop_all(owner) end
  return true
end

-- ---- looking

local function advance(owner, now)
  return store.update(function(tx)
    ledger.change(tx, owner, now, "system", function() end)
    return true
  end)
end

local function next_look(acct, s, now)
  local at = math.min(ledger.next(acct) or math.huge, now + EVERY)
  local soon = s.runs_out_at and s.runs_out_at - BEFORE
  if soon and soon > now then at = math.min(at, soon) end
  return math.max(at, now + 1)
end

local decide

local accounts = due.new("billing", function(owner) return decide(owner) end)

-- -> unix ms of the next look, what carries this one out (due.lua)
function decide(owner)
  local now = math.floor(steady.now())
  local acct = ledger.get(owner)
  if not acct or not runs(acct) then return nil end
  if (ledger.next(acct) or math.huge) <= now then -- posted first, and then decided
    return now + EVERY, function()
      local ok, err = advance(owner, now)
      if ok then accounts:soon(owner) end
      return ok, err
    end
  end
  M.counts.checked = M.counts.checked + 1
  local _, _, decision, s = standing.decide(owner, now)
  return next_look(acct, s, now), function() return act(owner, decision) end
end

local function all()
  local pause = slices.new()
  for row in walk.kind("ledger", { limit = 100 }) do
    if runs(json.decode(row.json)) then accounts:soon(row.id) end
    if not pause() then return end
  end
end

function M.serve()
  changes.on("ledger", function(owner) accounts:soon(owner) end)
  changes.on("user", function(id, type)
    if type:sub(1, 8) ~= "billing_" then accounts:soon(id) end -- who has no books is forgotten again
  end)
  policy.on_change(function() accounts:anew() end)
  all()
  accounts:serve()
end

return M
