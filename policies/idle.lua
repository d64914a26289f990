-- Stop a machine that nobody and nothing has used for its threshold (two hours, unless its plan says otherwise).
--
-- decide(m, now) -> "keep" | "warn" | "stop", reason
-- lease(r) -> seconds that a busy lease is granted (0: refused), reason
-- What counts as use: what its user typed or ran, a busy lease, a turn of Claude, a login over ssh, half a processor's work.
-- What does not: an open terminal through us, or a program that waits in it.

local P = { kind = "idle", name = "unused", version = 1 }

local WARN = 15 * 60     -- seconds before the stop
local TURN = 30 * 60     -- a turn of Claude is believed after the agent's last report: while one lasts it reports again and again
local LEASE = 4 * 3600   -- a busy lease is granted for so long at a time,
local HELD = 24 * 3600   -- and may be prolonged until it was held for so long

function P.decide(m, now)
  if m.labels.idle == "never" then return "keep", "its label idle says never" end
  if m.lease_until and m.lease_until > now then
    return "keep", "busy until " .. clock(m.lease_until) .. ": " .. (m.lease_reason or "a lease")
  end
  if m.turn and now - (m.report_at or now) < TURN then return "keep", "Claude is working" end

  local used, what = m.last_activity_at, "no input since "
  if m.busy_at and m.busy_at > used then used, what = m.busy_at, "no work since " end
  local idle = now - used
  if idle >= m.threshold then return "stop", what .. clock(used) end
  if idle >= m.threshold - WARN then return "warn", what .. clock(used) end
  if idle < 120 then return "keep", "in use" end
  return "keep", what .. clock(used)
end

function P.lease(r)
  local left = HELD - r.held
  if left <= 0 then return 0, "a lease may be held for " .. duration(HELD) .. " at most" end
  local most = math.min(LEASE, left)
  return math.min(r.ttl, most), "at most " .. duration(most) .. " are granted now"
end

function P.selftest(is)
  is(P.lease { ttl = 60, held = 0 }, 60)
  is(P.lease { ttl = 90000, held = 0 }, LEASE)
  is(P.lease { ttl = 60, held = HELD }, 0)
  local m = { labels = {}, threshold = 7200, last_activity_at = 0 }
  is(P.decide(m, 6299), "keep")
  is(P.decide(m, 6300), "warn")
  is(P.decide(m, 7200), "stop")
  m.turn, m.report_at, m.busy_at = true, 90000, 90000 -- and then its agent has died
  is(P.decide(m, 90000 + TURN - 1), "keep")
  is(P.decide(m, 97200), "stop")
end

return P
