-- Watches the accounts whose machines run: posts what happens by itself at its time, asks policies/billing.lua, warns, and stops
-- machines that nobody pays for, within a second. How late it does so changes no total (meter.lua): what a machine ran on
-- meanwhile is stated as overrun, and not charged.
--
--   watch.serve()     [serve's]
--   watch.counts -> {checked =, warned =, stopped =}
--
-- An account is looked at when its books change, when something ends (hours, credit, a month, a price's day), an hour before
-- they run out, and at least every five minutes. What was last said of it stands in its ledger record: `standing`.

local changes = require "machines.changes"
local instances = require "instances"
local json = require "json"
local ledger = require "billing.ledger"
local log = require "log"
local outbox = require "outbox"
local policy = require "policy"
local prepaid = require "billing.prepaid"
local standing = require "billing.standing"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"

local M = { counts = { checked = 0, warned = 0, stopped = 0 } }

local EVERY, BEFORE, AGAIN = 300000, 3600000, 30000 -- ms
local SLICE_MS = 2
local due = {}     -- [owner] = unix ms of the next look
local working = {} -- [owner] = true while a verdict is carried out

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

local function note(owner, verdict, reason, generation)
  return store.update(function(tx)
    local acct = tx:get("ledger", owner)
    if not acct then return true end
    local was = acct.standing and acct.standing.verdict
    acct.standing = { verdict = verdict, reason = reason, generation = generation }
    tx:put("ledger", owner, acct, owner)
    if verdict == was or verdict == "run" then return true end
    mail(tx, owner, reason:gsub("^%l", string.upper))
    if tx:get("user", owner) then
      tx:log("user", owner, verdict == "warn" and "billing_warning" or "billing_stop", {
        reason = reason, decision = { kind = "billing", verdict = verdict, generation = generation },
      }, "policy")
    end
    return true
  end)
end

-- Stops his machines that run and are not within hours bought for them. -> true when all were asked
local function stop_all(owner, reason, generation)
  local done = true
  for _, row in ipairs(store.scan("instance_owner", { prefix = owner .. "/" })) do
    local rec = store.get("instance", row.key:sub(#owner + 2))
    if rec and (rec.status == "RUNNING" or rec.status == "STARTING") and not prepaid.lasts(rec) and not prepaid.begun(rec) then
      local ok, err = instances.move({ admin = true, by = "policy", reason = reason, expects = rec.version, decision = {
        kind = "billing", verdict = "stop", generation = generation, at = time.rfc3339(steady.now()),
      } }, rec.id, "stop", 0)
      if ok == nil then
        done = false
        log.warn("billing", "a machine could not be stopped; tried again", { machine = rec.id, error = tostring(err) })
      else
        M.counts.stopped = M.counts.stopped + 1
      end
    end
  end
  return done
end

local function act(owner, verdict, reason, generation)
  local acct = ledger.get(owner)
  local known = acct.standing
  if not known or known.verdict ~= verdict or known.reason ~= reason then
    local ok, err = note(owner, verdict, reason, generation)
    if not ok then return nil, err end
    if verdict == "warn" then M.counts.warned = M.counts.warned + 1 end
  end
  if verdict == "stop" then return stop_all(owner, reason, generation) end
  return true
end

-- ---- looking

local function advance(owner, now)
  return store.update(function(tx)
    ledger.change(tx, owner, now, "system", function() end)
    return true
  end)
end

local function next_look(owner, s, now)
  local at = math.min(ledger.next(ledger.get(owner)) or math.huge, now + EVERY)
  local soon = s.runs_out_at and s.runs_out_at - BEFORE
  if soon and soon > now then at = math.min(at, soon) end
  return math.max(at, now + 1)
end

local function check(owner)
  local now = math.floor(steady.now())
  local acct = ledger.get(owner)
  if not acct or not runs(acct) then
    due[owner] = nil
    return true
  end
  if (ledger.next(acct) or math.huge) <= now then
    local ok, err = advance(owner, now)
    if not ok then return nil, err end
  end
  M.counts.checked = M.counts.checked + 1
  local verdict, reason, gen, s = standing.decide(owner, now)
  due[owner] = next_look(owner, s, now)
  return act(owner, verdict, reason, gen.number)
end

local function begin(owner)
  working[owner] = true
  task.spawn(function()
    local ok, done, err = xpcall(check, debug.traceback, owner)
    working[owner] = nil
    if ok and done then return end
    log.warn("billing", "an account could not be looked at; tried again",
      { account = owner, error = tostring(ok and err or done) })
    due[owner] = steady.now() + AGAIN
  end)
end

local function look()
  local now = steady.now()
  local ripe, begun = {}, sys.cpu_ms()
  for owner, at in pairs(due) do
    if at <= now and not working[owner] then ripe[#ripe + 1] = owner end
  end
  for _, owner in ipairs(ripe) do
    begin(owner)
    if sys.cpu_ms() - begun > SLICE_MS then
      if not task.sleep(0) then return end
      begun = sys.cpu_ms()
    end
  end
end

local function all()
  local after
  repeat
    local page = store.list("ledger", { after = after, limit = 500 })
    for _, row in ipairs(page) do
      after = row.id
      if runs(json.decode(row.json)) then due[row.id] = 0 end
    end
    task.sleep(0)
  until #page < 500
end

function M.serve()
  due = {}
  local function soon(owner) due[owner] = 0 end
  changes.on("ledger", soon)
  changes.on("user", function(id, type)
    if type ~= "billing_warning" and type ~= "billing_stop" and store.get("ledger", id) then soon(id) end
  end)
  policy.on_change(function()
    for owner in pairs(due) do due[owner] = 0 end
  end)
  all()
  task.spawn(function()
    repeat
      local ok, why = xpcall(look, debug.traceback)
      if not ok then log.error("billing", "looking for what is due raised", { traceback = why }) end
    until not task.sleep(0.2)
  end)
end

return M
