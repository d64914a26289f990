-- Whether an account's machines may run, as far as money goes: asked when one is made or started, and again whenever what is
-- paid for ends. Machines within prepaid hours are not asked about.
--
-- decide(a, now) -> "run" | "warn" | "stop", reason
-- Where nobody is asked for money (no Stripe) a.billing is false. The reason of "stop" is what the user reads: it says what helps.

local P = { kind = "billing", name = "default", version = 1 }

local HOUR = 3600
local WARN = HOUR -- before hours and credit end
local CENT = 0.01  -- what is less nobody can be billed
local GOOD = { active = true, trialing = true }
local BILLED = { active = true, trialing = true, past_due = true, unpaid = true, paused = true } -- by Stripe, with its next invoice

local function subscription(a, now)
  if not a.needs_subscription or a.granted or GOOD[a.subscription] then return end
  if a.subscription == "past_due" then
    local ends = (a.subscription_since or now) + a.grace
    if now < ends then
      return "warn", ("the last payment failed; machines are stopped at %s %s unless it is made: see GET /billing/portal")
        :format(day(ends), clock(ends)) -- which is days ahead
    end
    return "stop", "the last payment failed; make it at GET /billing/portal"
  end
  return "stop", ("the plan %s needs a subscription, and yours is %s; take one with POST /billing/checkout")
    :format(a.plan, a.subscription)
end

function P.decide(a, now)
  if not a.billing then return "run", "nobody is asked for money here" end
  if a.owed >= CENT and not a.granted and not BILLED[a.subscription] then
    return "stop", ("%.2f is owed for what was used; pay it by buying credit, or take a plan, with POST /billing/checkout"):format(a.owed)
  end
  local verdict, reason = subscription(a, now)
  if verdict == "stop" then return verdict, reason end
  if a.subscription == "canceled" and not a.granted and a.credit <= 0 then -- what is left of the hours for trying is for who has not subscribed yet
    return "stop", "the subscription has ended; take one, or buy credit or hours, with POST /billing/checkout"
  end
  if a.hours_left <= 0 and not a.overage and a.credit <= 0 then
    return "stop", "no hours and no credit are left; buy some, or a plan, with POST /billing/checkout"
  end
  if verdict then return verdict, reason end
  if a.runs_out_at and a.runs_out_at - now <= WARN then
    return "warn", "your hours and your credit end at " .. clock(a.runs_out_at) .. "; buy some with POST /billing/checkout"
  end
  return "run", "paid for"
end

local function account(more)
  local a = { billing = true, plan = "starter", needs_subscription = true, subscription = "active", overage = true, grace = 3 * 86400,
    hours_left = 3, credit = 0, owed = 0, granted = false, running = 1 }
  for name, value in pairs(more) do a[name] = value end
  return a
end

function P.selftest(is)
  is(P.decide(account {}, 0), "run")
  is(P.decide(account { subscription = "canceled" }, 0), "stop")
  is(P.decide(account { subscription = "past_due", subscription_since = 0 }, 3 * 86400 - 1), "warn")
  is(P.decide(account { subscription = "past_due", subscription_since = 0 }, 3 * 86400), "stop")
  is(P.decide(account { plan = "free", needs_subscription = false, overage = false, subscription = "inactive", hours_left = 0 }, 0), "stop")
  is(P.decide(account { plan = "free", needs_subscription = false, overage = false, subscription = "inactive", runs_out_at = 60 }, 0), "warn")
  is(P.decide(account { plan = "free", needs_subscription = false, overage = false, subscription = "canceled" }, 0), "stop")
  is(P.decide(account { plan = "free", needs_subscription = false, overage = false, subscription = "canceled", credit = 1 }, 0), "run")
  is(P.decide(account { owed = 12.5 }, 0), "run")
  is(P.decide(account { granted = true, subscription = "inactive", owed = 12.5 }, 0), "run")
  is(P.decide(account { granted = true, subscription = "inactive", overage = false, hours_left = 0 }, 0), "stop")
  is(P.decide(account { plan = "free", needs_subscription = false, overage = false, subscription = "canceled", credit = 1, owed = 0.01 }, 0), "stop")
  is(P.decide(account { billing = false, subscription = "canceled", owed = 12.5 }, 0), "run")
end

return P
