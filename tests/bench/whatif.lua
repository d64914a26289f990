-- What-if: labelled traces of many machines replayed in one process, decided each minute. CPU time of this process, as the
-- machine is shared; making the traces is not in it.
--
--   cchost tests/bench/whatif.lua [MACHINES [DAYS [INTERVAL]]]

package.path = "examples/policies/?.lua;" .. package.path
local generation = require "policy.generation"
local past = require "whatif.past"
local policy = require "policy"
local prices = require "whatif.prices"
local replay = require "whatif.replay"
local sys = require "sys"
local time = require "time"
local traces = require "traces"

local machines, days, interval = tonumber((...)) or 1000, tonumber((select(2, ...))) or 30, tonumber((select(3, ...))) or 60
local model = { interval = interval * 1000, delay = 60000, near = 15 * 60000 }

local function side_of(change)
  local sources = policy.shipped()
  sources["idle.lua"] = change(sources["idle.lua"])
  local gen, faults = generation.build(sources)
  if not gen then error(generation.text(faults[1])) end
  return { gen = gen, threshold = 7200, prices = prices.periods(gen:data("plans").price),
    failed = { n = 0, limit = 0, distinct = 0, texts = {} }, cpu = 0, wall = 0, decisions = 0, ms = 0 }
end

local sides = {
  { "every machine up all the time", side_of(function(text)
    text = text:gsub('return "stop", what', 'return "warn", what')
    return (text:gsub('is%(P%.decide%(m, 7200%), "stop"%)', 'is(P.decide(m, 7200), "warn")'))
  end) },
  { "the shipped policies", side_of(function(text) return text end) },
}

local building = 0
for i = 1, machines do
  local known = traces.machine(1, i, days).known
  for _, s in ipairs(sides) do
    local side = s[2]
    local cpu, wall = sys.cpu_ms(), time.mono()
    local p = past.build(known)
    building = building + sys.cpu_ms() - cpu
    local r = replay.machine(p, side, model)
    side.cpu, side.wall = side.cpu + sys.cpu_ms() - cpu, side.wall + time.mono() - wall
    side.decisions = side.decisions + r.decisions
    for _, plan in pairs(r.plans) do side.ms = side.ms + plan.ms end
  end
end
for _, s in ipairs(sides) do
  local side = s[2]
  print(("whatif: %-30s %11d decisions of %d machines x %d days: %.1f s CPU (%.1f s wall), %.0f a second; up %.0f hours"):format(
    s[1], side.decisions, machines, days, side.cpu / 1000, side.wall / 1000, side.decisions / side.cpu * 1000, side.ms / 3600000))
end
print(("whatif: %.1f s of each is putting the days in order"):format(building / 2000))
