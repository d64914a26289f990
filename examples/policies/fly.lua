-- The idle rule of Fly's proxy (autostop), in ours: every few minutes a machine that has no traffic from outside is stopped. It
-- does not look inside, and nothing inside can say that it is busy.

local P = { kind = "idle", name = "fly", version = 1 }

local PASS = 5 * 60 -- "every few minutes"

function P.decide(m, now)
  if m.connections > 0 then return "keep", "it has traffic" end
  local used = math.max(m.started_at, m.input_at or 0, m.disconnected_at or 0)
  if now - used >= PASS then return "stop", "no traffic since " .. clock(used) end
  return "keep", "traffic until " .. clock(used)
end

function P.lease() return 0, "the proxy cannot be told" end

function P.selftest(is)
  is(P.decide({ connections = 0, started_at = 0, turn = true, lease_until = 9 * PASS }, PASS), "stop")
  is(P.decide({ connections = 0, started_at = 0, disconnected_at = PASS }, PASS + 60), "keep")
end

return P
