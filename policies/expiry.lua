-- What becomes of a machine whose hours are over (POST /instances with hours, or /extend).
--
-- decide(m, now) -> "keep" | "warn" | "stop" | "delete", reason
-- It is asked at once when something falls due, and told again after every change of the machine. "stop" of what is
-- stopped, and "warn" of what was warned for the same reason, do nothing.

local P = { kind = "expiry", name = "default", version = 1 }

local HOUR = 3600
local WARN = { 24 * HOUR, HOUR } -- before its end
local GRACE = 24 * HOUR          -- after it: stopped, and its data kept

local function left(seconds) return "its hours end at " .. clock(seconds) end -- within a day

function P.decide(m, now)
  local over = now - m.expires_at
  local why = m.refunded and ", as what was paid for them went back" or ""
  if over >= GRACE then return "delete", "its hours ended " .. duration(GRACE) .. " ago, at " .. clock(m.expires_at) .. why end
  if over >= 0 then
    return "stop", "its hours ended at " .. clock(m.expires_at) .. why .. "; its data is kept for " .. duration(GRACE)
  end
  for i = #WARN, 1, -1 do
    if over >= -WARN[i] then return "warn", left(m.expires_at) .. ", in less than " .. duration(WARN[i]) end
  end
  return "keep", "its hours end at " .. day(m.expires_at) .. " " .. clock(m.expires_at)
end

function P.selftest(is)
  local m = { expires_at = 1000000, status = "RUNNING", labels = {} }
  is(P.decide(m, 1000000 - 24 * HOUR - 1), "keep")
  is(select(2, P.decide(m, 0)), "its hours end at 1970-01-12 13:46 UTC")
  is(P.decide(m, 1000000 - 24 * HOUR), "warn")
  is(P.decide(m, 1000000 - 1), "warn")
  is(P.decide(m, 1000000), "stop")
  is(P.decide(m, 1000000 + GRACE), "delete")
end

return P
