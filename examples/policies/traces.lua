-- Labelled traces: machines whose people are made up, and of which it is known when they were really in use. For measuring
-- policies (examples/policies/regret.lua), and for tests and figures. The same seed gives the same traces.
--
--   local traces = require "traces"
--   t = traces.machine(seed, i, days [, from])     the i-th machine; from: unix ms of a midnight
--     t.kind    who has it: one of traces.kinds
--     t.known   its history as whatif/past.lua takes it: days as the host keeps them (idle/chunk.lua), and a machine that was
--               never stopped, so that everything that its people wanted to do is in it
--     t.truth   {{from, to, what}, ...} in order, apart from each other: in use from (ms) to. what: "person", or work that goes
--               on alone: "agent", "build"

local chunk = require "idle.chunk"
local random = require "policy.random"
local timeline = require "idle.timeline"

local M = {}

local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local POLL = 5 * MINUTE -- how often the host asks a machine's agent

M.from = 1780272000000 -- 2026-06-01, a Monday

-- ---- what a person does, on a machine `t`

local function between(t, low, high) return low + t.chance:below(high - low + 1) end

local function note(t, ms, ...) t.events[#t.events + 1] = { math.floor(ms), ... } end
local function used(t, from, to, what) t.truth[#t.truth + 1] = { math.floor(from), math.floor(to), what } end

-- Types from `from` to `to`: runs of one to twenty minutes, with pauses of up to `pause` between them.
local function types(t, from, to, pause)
  local ms = from
  while ms < to do
    local last = math.min(ms + between(t, MINUTE, 20 * MINUTE), to)
    t.runs[#t.runs + 1] = { math.floor(ms), math.floor(last) }
    ms = last + between(t, 61000, pause or 8 * MINUTE)
  end
  used(t, from, to, "person")
end

local function connects(t, from, to)
  note(t, from, "c", 1)
  note(t, to, "c", 0)
end

-- What the agent tells from `from` to `to`; while something is busy, at every poll.
local function works(t, from, to, load, foreground, turn)
  for ms = from, to - 1, POLL do note(t, ms, "r", load, foreground, turn, 0) end
  note(t, to, "r", 0, false, false, 0)
end

local function weekday(day) return (math.floor(day / DAY) + 3) % 7 < 5 end -- 1970 began on a Thursday

local kinds = {}

-- Nine to six on weekdays, an hour's lunch; the terminal is closed in the evening.
function kinds.typist(t, day)
  if not weekday(day) then return end
  local from = day + 9 * HOUR + between(t, -40, 40) * MINUTE
  local lunch = day + 12 * HOUR + between(t, -20, 40) * MINUTE
  local back = lunch + between(t, 35, 80) * MINUTE
  local to = day + 18 * HOUR + between(t, -60, 60) * MINUTE
  note(t, from, "c", 1)
  types(t, from + 5000, lunch)
  types(t, back, to - 5000, 25 * MINUTE)
  note(t, to, "c", 0)
end

-- Half an hour in the evening, then a build that runs alone for hours.
function kinds.builder(t, day)
  if not weekday(day) then return end
  local from = day + 18 * HOUR + between(t, 0, 90) * MINUTE
  local to = from + between(t, 20, 40) * MINUTE
  connects(t, from, to)
  types(t, from + 5000, to - 5000)
  local ends = to + between(t, 3, 9) * HOUR + between(t, 0, 59) * MINUTE
  works(t, to, ends, 3.5, "make", false)
  used(t, to, ends, "build")
end

-- A few prompts a day, after each an agent that works alone. `how`: "turns" are told, "leases" are held too, or "unseen": a
-- program in the foreground that waits for its model most of the time, and nothing else.
local function agent(how)
  return function(t, day)
    local ms = day + 8 * HOUR + between(t, 0, 120) * MINUTE
    for _ = 1, between(t, 1, 3) do
      local to = ms + between(t, 4, 15) * MINUTE
      connects(t, ms, to + 20000)
      types(t, ms + 5000, to, 3 * MINUTE)
      local ends = to + between(t, 20, 360) * MINUTE
      works(t, to + 30000, ends, how == "unseen" and 0.15 or 0.3, "claude", how ~= "unseen")
      for at = to + 30000, how == "leases" and ends - 1 or 0, 10 * MINUTE do
        note(t, at, "l", "agent/1", math.min(at + 15 * MINUTE, ends), "a task of claude")
      end
      used(t, to, ends, "agent")
      ms = ends + between(t, 20, 150) * MINUTE
      if ms > day + 22 * HOUR then return end
    end
  end
end
kinds.agent, kinds.agent_leases, kinds.agent_unseen = agent "turns", agent "leases", agent "unseen"

-- An hour on Monday and on Thursday; the terminal stays open.
function kinds.leaver(t, day, n)
  if n % 7 ~= 0 and n % 7 ~= 3 then return end
  local from = day + between(t, 9, 15) * HOUR
  note(t, from, "c", 1)
  types(t, from + 5000, from + between(t, 40, 90) * MINUTE)
end

-- Tried once, never again.
function kinds.forgetter(t, day, n)
  if n ~= 0 then return end
  local from = day + 10 * HOUR
  connects(t, from, from + HOUR)
  types(t, from + 5000, from + HOUR - 5000)
end

-- Looks at a page that the machine serves, and types nothing.
function kinds.viewer(t, day)
  local ms = day + between(t, 9, 12) * HOUR
  for _ = 1, between(t, 1, 3) do
    local to = ms + between(t, 20, 180) * MINUTE
    connects(t, ms, to)
    used(t, ms, to, "person")
    ms = to + between(t, 30, 150) * MINUTE
  end
end

-- Nine in the evening to four in the morning, every day but two.
function kinds.owl(t, day, n)
  if n % 7 == 2 or n % 7 == 5 then return end
  local from = day + 21 * HOUR + between(t, -60, 60) * MINUTE
  local to = from + between(t, 4, 7) * HOUR
  connects(t, from, to)
  types(t, from + 5000, to - 5000, 30 * MINUTE)
end

-- Of twelve machines; the order does not matter.
M.kinds = {
  "typist", "agent", "leaver", "viewer", "typist", "agent_leases", "owl", "builder", "typist", "agent_unseen", "leaver",
  "forgetter",
}

-- ---- days, as they are kept

-- Runs end with their day.
local function cut(runs)
  local out = {}
  for _, r in ipairs(runs) do
    local first, last = r[1], r[2]
    while math.floor(first / DAY) < math.floor(last / DAY) do
      local midnight = (math.floor(first / DAY) + 1) * DAY
      out[#out + 1] = { first, math.max(first, midnight - 500) }
      first = midnight + 500
      last = math.max(last, first)
    end
    out[#out + 1] = { first, last }
  end
  return out
end

local function in_order(list)
  for i, e in ipairs(list) do e.order = i end
  table.sort(list, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a.order < b.order
  end)
  for _, e in ipairs(list) do e.order = nil end
  return list
end

local function days_of(t, from, days)
  local out = {}
  local s = timeline.new()
  local list = {}
  for _, r in ipairs(cut(t.runs)) do list[#list + 1] = { r[1], "i", r[2] } end
  for _, e in ipairs(t.events) do list[#list + 1] = e end
  list[#list + 1] = { from, "b", true }
  in_order(list)
  local i = 1
  for n = 0, days - 1 do
    local begins = from + n * DAY
    local c = chunk.new(chunk.day(begins), s)
    while list[i] and list[i][1] < begins + DAY do
      local e = list[i]
      if e[2] == "i" then
        c.i[#c.i + 1], c.i[#c.i + 2] = e[1], e[3]
        s.before_first, s.before_last, s.first, s.last = s.first, s.last, e[1], e[3]
      else
        c.e[#c.e + 1] = e
        timeline.apply(s, e)
      end
      i = i + 1
    end
    out[#out + 1] = c
  end
  return out
end

-- ---- a machine

local PLANS, TYPES = { "free", "starter", "pro" }, { "small", "medium", "large" }

local function uuid(chance)
  local hex = {}
  for i = 1, 32 do hex[i] = ("%x"):format(chance:below(16)) end
  return table.concat(hex):gsub("^(........)(....)(....)(....)", "%1-%2-%3-%4-")
end

-- In order, and apart: what a person does while his agent works is work of both.
local function apart(truth)
  table.sort(truth, function(a, b) return a[1] < b[1] end)
  local out = {}
  for _, u in ipairs(truth) do
    local last = out[#out]
    local from = last and math.max(u[1], last[2]) or u[1]
    if from < u[2] then out[#out + 1] = { from, u[2], u[3] } end
  end
  return out
end

function M.machine(seed, i, days, from)
  from = from or M.from
  local kind = M.kinds[(i - 1) % #M.kinds + 1]
  local t = { kind = kind, chance = random.new(seed * 100003 + i), events = {}, runs = {}, truth = {} }
  local id, owner = uuid(t.chance), uuid(t.chance)
  for n = 0, days - 1 do kinds[kind](t, from + n * DAY, n) end
  local name = ("%s-%d"):format(kind, i)
  return {
    kind = kind, truth = apart(t.truth),
    known = {
      id = id, owner = owner, from = from, to = from + days * DAY, days = days_of(t, from, days),
      spans = { { from = from, ms = math.huge, idle = false, asked = from } }, offs = {},
      statics = { { from, {
        id = id, name = name, owner = owner, plan = PLANS[t.chance:below(3) + 1], type = TYPES[t.chance:below(3) + 1],
        provider = "mock", labels = {}, created_at = from / 1000,
      } } },
    },
  }
end

return M
