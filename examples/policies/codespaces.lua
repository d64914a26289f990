-- The idle rule of GitHub Codespaces, in ours: thirty minutes without typing, and without output of a terminal. A program that
-- runs where nobody has a terminal open prints nowhere, so it does not count.
-- Not the same: we do not see output; a program in the foreground of an open terminal is taken to print.

local P = { kind = "idle", name = "codespaces", version = 1 }

local TIMEOUT = 30 * 60

function P.decide(m, now)
  if m.connections > 0 and m.foreground then return "keep", m.foreground .. " prints to its terminal" end
  local used = math.max(m.started_at, m.input_at or 0)
  if now - used >= TIMEOUT then return "stop", "no interaction since " .. clock(used) end
  return "keep", "used at " .. clock(used)
end

function P.lease() return 0, "there are no leases" end

function P.selftest(is)
  is(P.decide({ connections = 0, started_at = 0, input_at = 60 }, TIMEOUT), "keep")
  is(P.decide({ connections = 1, started_at = 0, input_at = 60 }, TIMEOUT + 60), "stop")
  is(P.decide({ connections = 1, started_at = 0, foreground = "make" }, 9 * TIMEOUT), "keep")
end

return P
