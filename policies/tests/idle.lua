-- Tests of policies/idle.lua: they run whenever a policy is saved, and a set whose tests fail is not taken.

local idle = use "idle"

local T = {}

local function machine(more)
  local m = { labels = {}, threshold = 7200, last_activity_at = 0, started_at = 0, connections = 0 }
  for name, value in pairs(more or {}) do m[name] = value end
  return m
end

T["an open terminal is no use"] = function(is)
  is(idle.decide(machine { connections = 3 }, 7200), "stop")
end

T["a busy lease keeps it, and ends"] = function(is)
  local m = machine { lease_until = 10000, lease_reason = "make test" }
  is(idle.decide(m, 9999), "keep")
  m.last_activity_at = 10000 -- the end of a lease is activity
  is(idle.decide(m, 10000), "keep")
  is(idle.decide(m, 17200), "stop")
end

T["a build that runs is work"] = function(is)
  is(idle.decide(machine { busy_at = 7000 }, 7200), "keep")
  is(idle.decide(machine { busy_at = 7000 }, 14200), "stop")
end

T["a turn of Claude keeps it"] = function(is)
  is(idle.decide(machine { turn = true, report_at = 89700, busy_at = 89700 }, 90000), "keep")
end

T["a turn of Claude is over with its agent"] = function(is)
  local m = machine { turn = true, report_at = 90000, busy_at = 90000 }
  is(idle.decide(m, 91799), "keep")
  is(idle.decide(m, 97199), "warn")
  is(idle.decide(m, 97200), "stop")
end

T["waking begins anew"] = function(is)
  is(idle.decide(machine { started_at = 90000, last_activity_at = 90000 }, 91000), "keep")
end

return T
