-- The idle rule of Daytona, in ours: fifteen minutes without a call through its API, a preview or an ssh session; what runs
-- inside does not count, unless it asks for more time itself (a lease here).

local P = { kind = "idle", name = "daytona", version = 1 }

local TIMEOUT = 15 * 60

function P.decide(m, now)
  if m.connections > 0 or (m.ssh_sessions or 0) > 0 then return "keep", "connected" end
  if m.lease_until then return "keep", "its activity is refreshed until " .. clock(m.lease_until) end
  local used = math.max(m.last_activity_at, m.disconnected_at or 0)
  if now - used >= TIMEOUT then return "stop", "unused since " .. clock(used) end
  return "keep", "used at " .. clock(used)
end

function P.lease(r) return math.min(r.ttl, TIMEOUT), "until the next refresh" end

function P.selftest(is)
  is(P.decide({ connections = 0, last_activity_at = 0, turn = true, load = 4 }, TIMEOUT), "stop")
  is(P.decide({ connections = 0, last_activity_at = 0, lease_until = 2 * TIMEOUT }, TIMEOUT), "keep")
end

return P
