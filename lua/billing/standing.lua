-- How an account stands, as far as money goes, and what the policy (policies/billing.lua) makes of it. Pure but for what it
-- reads; [in an update] where a tx is given, so that "may it run?" is decided in the commit that makes it run.
--
--   standing.on = true when money is asked for (Stripe is set up)
--   standing.of(owner, t [, tx]) -> {plan =, hours_left = ms, credit = micro, owed = micro (positive), rate = micro an hour now,
--       runs_out_at = unix ms or nil, running =, used = ms of this period, overage =, needs_subscription =, period =, currency =}
--   standing.decide(owner, t [, tx]) -> verdict, reason, the decision as it is kept (policy/kept.lua), standing
--   standing.refusal(tx, owner [, asked]) -> why no machine of his may be started now, an error "payment", or nil
--       asked: a list that the decision is put into

local amount = require "billing.amount"
local book = require "billing.book"
local errors = require "errors"
local kept = require "policy.kept"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
local plain = require "plain"
local policy = require "policy"
local steady = require "steady"
local store = require "store"
local time = require "time"

local M = { on = false }

local HOUR = amount.HOUR
local FAR = 10 * 366 * 86400000

-- ---- figures

-- Runs with nothing left to pay for it. Hours that were bought end by themselves; the disk of a stopped machine, which hours
-- do not pay for, is no end of them.
local function over(m) return m.how == "overrun" and m.state == "RUNNING" and not m.ends end

-- When hours and credit are over if the machines of now go on: the meter is run ahead on a copy, up to `FAR`.
local function runs_out(x, t)
  local open, rated = x.acct.open, false
  for _, m in pairs(open) do
    if over(m) then return t end
    rated = rated or m.state == "RUNNING" and m.how ~= "block" and m.how ~= "free"
  end
  if not rated then return nil end
  while true do
    local at = meter.next(x)
    if not at or at > t + FAR then return nil end
    meter.advance(x, at)
    for _, m in pairs(x.acct.open) do
      if over(m) then return at end
    end
    if x.acct.period and x.acct.period.from > t + 400 * 86400000 then return nil end -- goes on by itself
  end
end

local function read(owner, t, tx)
  if tx then
    local acct = tx:get("ledger", owner)
    return acct and ledger.view(acct, t, tx)
  end
  return ledger.look(owner, t)
end

function M.of(owner, t, tx)
  t = math.floor(t)
  local x = read(owner, t, tx) or ledger.fresh(owner, t, tx)
  local b = x.acct.balances
  local current = book.get(x.acct.book, tx)
  local plan = book.plan(current, x.acct.plan)
  local out = {
    plan = x.acct.plan, hours_left = (b.included or 0) + (b.bonus or 0), credit = b.credit or 0, owed = -(b.owed or 0),
    used = (b.used or 0) - (x.acct.period and x.acct.period.used or 0),
    overage = meter.goes_on(x.acct, plan), rate = 0, running = 0,
    needs_subscription = book.fee(plan, t) > 0, grace = plan.grace or 0, period = x.acct.period,
    currency = current.currency, balances = plain.copy(b), open = plain.copy(x.acct.open), -- runs_out goes on with x
  }
  for _, m in pairs(x.acct.open) do
    if m.how == "charged" or m.how == "overrun" then out.rate = out.rate + m.rate end
    if m.state == "RUNNING" and m.how ~= "block" then out.running = out.running + 1 end
  end
  if not out.overage then out.runs_out_at = runs_out(x, t) end
  return out
end

-- ---- the decision

local function input_of(owner, user, s, t)
  return {
    owner = owner, plan = s.plan, billing = M.on, needs_subscription = s.needs_subscription,
    granted = user ~= nil and user.granted ~= nil,
    subscription = user and user.subscription_status or "inactive",
    subscription_since = user and user.subscription_since and math.floor(time.parse(user.subscription_since) / 1000) or nil,
    overage = s.overage, grace = s.grace, hours_left = s.hours_left / HOUR, credit = s.credit / 1e6, owed = s.owed / 1e6,
    runs_out_at = s.runs_out_at and math.floor(s.runs_out_at / 1000) or nil, running = s.running,
  }, math.floor(t / 1000)
end

function M.decide(owner, t, tx)
  local user = tx and tx:get("user", owner) or not tx and store.get("user", owner) or nil
  local s = M.of(owner, t, tx)
  local input, now = input_of(owner, user, s, t)
  local gen, verdict, reason = policy.ask_for(owner, "billing.decide", input, now)
  return verdict, reason, kept.decision("billing.decide", gen, input, verdict, reason, t), s
end

function M.refusal(tx, owner, asked)
  if not M.on or owner == "operator" then return nil end
  local verdict, reason, decision = M.decide(owner, steady.now(), tx)
  if asked then asked[#asked + 1] = decision end
  if verdict == "stop" then return errors.new("payment", reason) end
  if verdict == "hold" then return errors.new("unavailable", "what is paid for cannot be decided now; the operator is told") end
end

return M
