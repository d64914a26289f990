-- The policy fence: decisions a second, inputs and results carried both ways; the same in a sweep; the longest time that a
-- hostile policy (tests/lib/hostile.lua) holds the loop. Figures are CPU time of this process.
--
--   cchost tests/bench/fence.lua [DECISIONS]

package.path = "tests/lib/?.lua"
local fence = require "fence"
local hostile = require "hostile"
local sys = require "sys"

local N = tonumber((...)) or 2000000

local source = [[
local HOUR = 3600
local P = { kind = "idle" }
function P.decide(m, now)
  if m.protected then return "keep", "protected" end
  if m.lease_until and m.lease_until > now then return "keep", "busy: " .. m.lease_reason end
  if m.connections > 0 and m.load >= 0.1 then return "keep", "in use" end
  local idle = now - m.last_activity_at
  if idle >= 2 * HOUR then return "stop", "unused for two hours" end
  if idle >= 1.5 * HOUR then return "warn", "stops after two hours unused" end
  return "keep", "in use"
end
return P
]]
local function facts(i)
  return {
    id = "0f8fad5b-d9cb-469f-a165-70867728950e", name = "box", owner = "7c9e6679-7425-40de-944b-e07fc1f90ae7", plan = "pro",
    type = "small", provider = "local", status = "RUNNING", created_at = 1700000000, started_at = 1700000000,
    last_activity_at = 1700000000 + i, connections = 1, load = 0.05,
  }
end

local function cpu(fn)
  local before = sys.cpu_ms()
  fn()
  return sys.cpu_ms() - before
end

local f = fence.new {}
f:pin { "id", "name", "owner", "plan", "type", "provider", "status", "created_at", "started_at", "last_activity_at",
  "connections", "load", "RUNNING", "keep", "warn", "stop", "pro", "small", "local" }
assert(f:load("policies/idle.lua", source))
local decide = f:find("policies/idle.lua", "decide")

local inputs = {}
for i = 1, 1000 do inputs[i] = facts(i) end
local ms = cpu(function()
  for i = 1, N do
    local ok, verdict = f:call(decide, inputs[i % 1000 + 1], 1700000000 + i % 9000)
    if not ok then error(verdict) end
  end
end)
print(("call    %9.0f decisions/s  %6.0f ns each"):format(N / ms * 1000, ms / N * 1e6))

ms = cpu(function()
  local left = N
  while left > 0 do
    local k = assert(f:sweep(decide, inputs[1], "keep", 1700000000, 1, math.min(left, 5000), { "last_activity_at" }))
    left = left - k
  end
end)
print(("sweep   %9.0f decisions/s  %6.0f ns each"):format(N / ms * 1000, ms / N * 1e6))

local worst, which = 0, ""
for _, case in ipairs(hostile) do
  local spent = cpu(function()
    local g = fence.new {}
    if g:load("p", case.source) then g:call(g:find("p", "decide"), inputs[1], 1700000000) end
    g:close()
  end)
  if not case.load and spent > worst then worst, which = spent, case.name end
end
print(("hostile %.1f ms of the loop at most (%s)"):format(worst, which))
