-- The idle rule of Coder, in ours: it counts open connections (an editor or a terminal that nobody looks at is one; a build is
-- none) and AI agents that say they work. A workspace stops so long after its start as its template says (here eight hours), or
-- an hour after the last of those.
-- Not the same: web applications do not extend there; our connections do not say which they are.

local P = { kind = "idle", name = "coder", version = 1 }

local HOUR = 3600
local STOP, BUMP = 8 * HOUR, HOUR

function P.decide(m, now)
  if m.connections > 0 or (m.ssh_sessions or 0) > 0 then return "keep", "connected" end
  if m.turn and now - (m.report_at or now) < HOUR / 2 then return "keep", "its agent is working" end
  local ends = math.max(m.started_at + STOP, (m.disconnected_at or 0) + BUMP)
  if now >= ends then return "stop", "its time ended at " .. clock(ends) end
  return "keep", "until " .. clock(ends)
end

function P.lease() return 0, "there are no leases; agents report that they work" end

function P.selftest(is)
  is(P.decide({ connections = 1, started_at = 0 }, 99 * HOUR), "keep")
  is(P.decide({ connections = 0, started_at = 0, disconnected_at = 9 * HOUR }, 10 * HOUR), "stop")
end

return P
