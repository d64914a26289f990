-- What policies of idleness cost their users and who pays, on labelled traces (examples/policies/traces.lua): each is replayed
-- in a closed loop (cchost whatif's), and judged by what is known of the traces and by no policy.
--
--   cchost examples/policies/regret.lua [--machines=120] [--days=28] [--seed=1] [--interval=300] [FILE.lua ...]
--
-- Without files: the shipped policy and its peers in this folder.
--   used      hours that a machine ran while it was in use          paid idle   hours that it ran and was not
--   agents    stops of an agent or a build that was at work         at work     stops of a person at work
--   wakes     how often somebody waited for a start                 soon        within 15 minutes of a stop

local app = require "script"
local fs = require "fs"
local generation = require "policy.generation"
local past = require "whatif.past"
local policy = require "policy"
local replay = require "whatif.replay"
local traces = require "traces"

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local USAGE = "examples/policies/regret.lua [--machines=N] [--days=N] [--seed=N] [--interval=S] [FILE.lua ...]"
local options, files = { machines = 120, days = 28, seed = 1, interval = 300 }, {}
for _, a in ipairs { ... } do
  local name, n = a:match("^%-%-(%l+)=(%d+)$")
  if a:match("^%-%-") then
    if not options[name] then app.usage(USAGE) end
    options[name] = tonumber(n)
  else
    files[#files + 1] = a
  end
end

-- ---- the policies

local function build(sources, name)
  local gen, faults = generation.build(sources)
  if not gen then
    for _, f in ipairs(faults) do io.stderr:write(name, ": ", generation.text(f), "\n") end
    app.quit(1)
  end
  return gen
end

local subjects = {}
local function subject(name, text)
  local sources = policy.shipped()
  sources["idle.lua"] = text or sources["idle.lua"]
  subjects[#subjects + 1] = {
    name = name, side = { gen = build(sources, name), threshold = 7200, prices = {},
      failed = { n = 0, limit = 0, distinct = 0, texts = {} } },
    used = 0, idle = 0, agents = 0, persons = 0, wakes = 0, early = 0, stops = 0,
  }
end

if #files == 0 then
  subject("ours")
  for _, name in ipairs { "coder", "codespaces", "daytona", "fly" } do files[#files + 1] = here .. "/" .. name .. ".lua" end
end
for _, file in ipairs(files) do subject(file:match("([^/]+)%.lua$") or file, app.must(fs.read(file, 1048576))) end

-- ---- judging

-- How much of from..to lies in what is true; `truth` is in order and apart.
local function overlap(truth, from, to)
  local sum = 0
  for _, u in ipairs(truth) do
    if u[1] >= to then break end
    sum = sum + math.max(0, math.min(to, u[2]) - math.max(from, u[1]))
  end
  return sum
end

local function doing(truth, ms)
  for _, u in ipairs(truth) do
    if u[1] <= ms and ms < u[2] then return u[3] end
  end
end

local model = { interval = options.interval * 1000, delay = 60000, near = 15 * 60000 }

local function judge(s, trace, p)
  local r = replay.machine(p, s.side, model, {
    run = function(from, to)
      local used = overlap(trace.truth, from, to)
      s.used, s.idle = s.used + used, s.idle + to - from - used
    end,
    stop = function(ms)
      local what = doing(trace.truth, ms)
      if what == "person" then s.persons = s.persons + 1 elseif what then s.agents = s.agents + 1 end
    end,
  })
  for _, plan in pairs(r.plans) do
    s.wakes, s.early, s.stops = s.wakes + plan.wakes, s.early + plan.early, s.stops + plan.stops
  end
end

local truly = 0
for i = 1, options.machines do
  app.progress("%d of %d machines", i, options.machines)
  local trace = traces.machine(options.seed, i, options.days)
  local p = past.build(trace.known)
  truly = truly + overlap(trace.truth, p.from, p.to)
  for _, s in ipairs(subjects) do judge(s, trace, p) end
end
app.end_progress()

print(("%d machines, %d days, seed %d, a decision every %d s; truly in use for %.0f hours; always on: %.0f hours"):format(
  options.machines, options.days, options.seed, options.interval, truly / 3600000, options.machines * options.days * 24))
print(("%-12s %8s %10s %8s %8s %8s %8s %8s"):format(
  "policy", "used h", "paid idle", "stops", "agents", "at work", "wakes", "soon"))
for _, s in ipairs(subjects) do
  print(("%-12s %8.0f %10.0f %8d %8d %8d %8d %8d"):format(s.name, s.used / 3600000, s.idle / 3600000,
    s.stops, s.agents, s.persons, s.wakes, s.early))
  if s.side.failed.n > 0 then print(("%-12s %d decisions failed"):format("", s.side.failed.n)) end
end
