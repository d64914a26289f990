-- Tests of policies/health.lua: they run whenever a policy is saved, and a set whose tests fail is not taken.

local health = use "health"

local T = {}

local HOUR = 3600

local function machine(more)
  local m = {
    labels = {}, source = "agent", widespread = false, connections = 0, restarts = 0, restarts_hour = 0, most = 4,
    failing_since = 0, started_at = -86400, failures = 20,
  }
  for name, value in pairs(more or {}) do m[name] = value end
  return m
end

T["what runs on a machine that is held or used is not ended"] = function(is)
  is(health.decide(machine { lease_until = 2 * HOUR, lease_reason = "make" }, HOUR), "keep")
  is(health.decide(machine { lease_until = 2 * HOUR }, 2 * HOUR), "restart")
  is(health.decide(machine { connections = 1 }, HOUR), "keep")
  is(health.decide(machine { busy_at = 0 }, HOUR), "keep")
  is(health.decide(machine { busy_at = 0 }, 2 * HOUR), "restart")
end

T["a label keeps it, and so does an agent that answers"] = function(is)
  is(health.decide(machine { labels = { restart = "never" } }, HOUR), "keep")
  is(health.decide(machine { source = "provider" }, HOUR), "keep")
end

T["many that fail at once are not the machines' fault"] = function(is)
  is(health.decide(machine { widespread = true }, HOUR), "keep")
  is(health.decide(machine { widespread = false }, HOUR), "restart")
end

T["each restart waits twice as long, and there is an end"] = function(is)
  local m = machine { restarts = 1, restarts_hour = 1, started_at = 600 }
  is(health.decide(m, 600 + 1199), "keep")
  is(health.decide(m, 600 + 1200), "restart")
  is(health.decide(machine { restarts = 3 }, 9 * HOUR), "keep")
  is(health.decide(machine { restarts = 2, restarts_hour = 4 }, 9 * HOUR), "keep")
end

T["a start has its time"] = function(is)
  is(health.decide(machine { started_at = HOUR }, HOUR + 599), "keep")
end

return T
