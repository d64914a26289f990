-- One machine's past, lived again under other policies, in a closed loop: what they decide changes what follows. Pure, but for
-- the policies that it asks.
--
-- Decisions are made when the live host makes them (idle/turns.lua), on what it would have known then (idle/timeline.lua).
--
-- The model, where the two pasts part:
--   * a stop takes effect at once; at the moment at which it did, when history stopped the machine for the same decision
--   * input, another connection, or a lease taken from outside, at a machine that is stopped here and ran there, is a wake:
--     the machine runs `delay` later, and only then its policy sees them. What its own agent did meanwhile did not happen
--   * a machine that history stopped for idleness and that is kept here runs on, and nothing happens on it, until it is
--     stopped here, or ended there otherwise. That its user starts it there changes nothing here
--   * stops, starts and deletions that somebody asked for are as they were
--   * while no host watched, nothing is decided
--   * a decision that fails is "keep"
--
--   r = replay.machine(past, side, model [, hooks])
--     past: whatif/past.lua      model: {interval =, delay =, near =} in ms
--     side: {gen = a generation, threshold = seconds, prices = prices.periods(...), failed = {n = 0, limit = 0, texts = {}}}
--     hooks: decision(ms, verdict, reason), stop(ms, agent), run(from, to); with `decision` every one is asked for by itself
--     r: {decisions =, undone = stops of history that did not come, days = {[day] = ms}, plans = {[plan] = {ms =, micro =,
--         stops =, at_work = stops with input or a start within `near`, agents = stops of a turn, a lease or a load, wakes =,
--         early = wakes within `near` of a stop}}}
--
-- Between two events a stretch of decisions is one call of the fence (fence:sweep).

local book = require "billing.book"
local kinds = require "policy.kinds"
local plain = require "plain"
local prices = require "whatif.prices"
local timeline = require "idle.timeline"
local turns = require "idle.turns"

local M = {}

local NAME = "idle.decide"
local DECIDE = kinds.find(NAME)
local DAY = 86400000
local LINGER = 120000  -- how long after its decision history may have needed to stop a machine
local SECOND = 60000   -- how long it may have looked once more before it did
local MOST_SPENT = 100 -- decisions beyond their budget, until a replay is given up
local TIED = { "input_at", "last_activity_at" }
local NEVER = math.huge
local floor, min, max = math.floor, math.min, math.max

-- ---- what it comes to

local function of_plan(x)
  local plan = x.static.plan
  local p = x.plans[plan]
  if not p then
    p = { ms = 0, stops = 0, at_work = 0, agents = 0, wakes = 0, early = 0, billed = {} }
    x.plans[plan] = p
  end
  return p
end

local function charge(x, from, to)
  from, to = max(from, x.past.from), min(to, x.past.to)
  if to <= from then return end
  local p = of_plan(x)
  p.ms = p.ms + to - from
  prices.note(p.billed, x.side.prices, x.static.type, from, to)
  while from < to do
    local day = floor(from / DAY)
    local ends = min(to, (day + 1) * DAY)
    x.days[day] = (x.days[day] or 0) + ends - from
    from = ends
  end
end

-- ---- asking

local function failed(x, why, before)
  local f = x.side.failed
  f.n = f.n + 1
  local text = why:sub(1, 300)
  if f.texts[text] or f.distinct < 20 then
    if not f.texts[text] then f.distinct = f.distinct + 1 end
    f.texts[text] = (f.texts[text] or 0) + 1
  end
  if x.gen.fence ~= before then
    f.limit = f.limit + 1
    if f.limit >= MOST_SPENT then error({ given_up = why }, 0) end
  end
end

-- The verdict of `ms` if nothing happens; nil when it fails.
local function looker(x)
  return function(ms, last)
    local before = x.gen.fence
    x.look_m = timeline.facts(x.s, x.static, ms, x.look_m, last)
    local ok, verdict = x.gen:ask(NAME, x.look_m, floor(ms / 1000))
    if ok then return verdict end
    if x.gen.fence ~= before then failed(x, verdict, before) end
  end
end

-- ---- running and not

local function started(x, seconds) x.static.started_at = seconds end

local function facts(x, ms)
  x.m = timeline.facts(x.s, x.static, ms, x.m)
  return x.m
end

local function begin(x, ms)
  x.on, x.since, x.stopping = true, ms, nil
  started(x, floor(ms / 1000))
  x.verdict = nil
  x.next_at = turns.next(x.phase, x.interval, ms)
end

local function halt(x, ms)
  charge(x, x.since, ms)
  if x.hooks.run then x.hooks.run(x.since, ms) end
  x.on, x.stopping, x.next_at = false, nil, NEVER
end

-- Somebody wants a machine that its policy has stopped.
local function wanted(x, asked, works)
  local p = of_plan(x)
  if works and not x.hit and asked - x.stopped_at <= x.model.near then
    x.hit = true
    p.at_work = p.at_work + 1
  end
end

local function count_wake(x, asked)
  local p = of_plan(x)
  p.wakes = p.wakes + 1
  if asked - x.stopped_at <= x.model.near then p.early = p.early + 1 end
end

local function wake(x, asked)
  x.waking = asked + x.model.delay
  count_wake(x, asked)
end

local function set_run(s, first, last)
  s.before_first, s.before_last = s.first, s.last
  s.first, s.last = first, last
end

local function woken(x)
  local ms, s = x.waking, x.s
  x.waking, x.synced, x.idle = nil, false, false
  timeline.apply(s, { ms, "b", true })
  s.connections = x.there and x.connections or 0
  if x.input_until then set_run(s, ms, max(ms, x.input_until)) end
  x.input_until = nil
  begin(x, ms)
end

-- Whether something works on a machine, by what is known of it at ms.
local function works(m, ms)
  return m.turn or (m.lease_until or 0) > ms / 1000 or (m.load or 0) >= timeline.BUSY_LOAD or false
end

local function stopped(x, ms, agent)
  local p = of_plan(x)
  p.stops = p.stops + 1
  if agent then p.agents = p.agents + 1 end
  halt(x, ms)
  if x.hooks.stop then x.hooks.stop(ms, agent) end
  x.stopped_at, x.hit, x.idle = ms, false, true
  if x.there and x.input_last and x.input_last > ms then -- in the middle of a run: the next input is a minute away at most
    local asked = min(ms + timeline.RUN, x.input_last)
    wanted(x, asked, true)
    wake(x, asked)
    x.input_until = x.input_last
  end
end

-- A verdict "stop" at ms. Where history decided the same at that time, what came of it there comes here, too.
local function stop(x, ms, m)
  local agent = works(m, ms)
  local recorded = x.past.recorded
  if x.there and recorded.at(ms) == "stop" then
    local again, ends = recorded.behind(ms), x.there
    if ends.idle and ends.ms - ms <= LINGER or ms + LINGER > x.past.to then
      x.stopping = { agent = agent }
      x.next_at = again and again <= ends.ms and again or NEVER
      return
    end
    if again and again - ms < SECOND then x.next_at = again end
    return -- it was looked at once more, or could not be stopped, and is decided again
  end
  stopped(x, ms, agent)
end

-- ---- deciding

local function one(x, ms)
  local m = facts(x, ms)
  local before = x.gen.fence
  local ok, verdict, reason = x.gen:ask(NAME, m, floor(ms / 1000))
  if not ok then
    failed(x, verdict, before)
    verdict, reason = DECIDE.safe(m, "the policy failed: " .. verdict)
  end
  x.decisions = x.decisions + 1
  if x.hooks.decision then x.hooks.decision(ms, verdict, reason) end
  local turn = turns.next(x.phase, x.interval, ms)
  x.next_at = turn
  if verdict == "stop" then return stop(x, ms, m) end
  x.verdict, x.stopping = verdict, nil
  x.next_at = turns.after(x.look, x.s, ms, turn, verdict)
end

local function lapse(s, ms)
  local first
  for _, lease in pairs(s.leases) do
    if lease.ends > ms and (not first or lease.ends < first) then first = lease.ends end
  end
  return first
end

-- How many calls, `step` apart from `ms` on, have a verdict that is `quiet`; then the first other one, nil when it failed.
local function sweep(x, m, quiet, ms, n, tied, behind)
  local k, verdict, reason = x.gen:sweep(NAME, m, quiet, ms / 1000, x.interval / 1000, n, tied, behind)
  if not k then return reason, nil end
  if k < n and kinds.fault(DECIDE, verdict, reason) then verdict = nil end
  return k, verdict
end

-- `n` turns from ms on, with the last input at most a minute before each.
local function stretch_in_run(x, ms, n, ends)
  local step = x.interval
  if ends then n = min(n, floor((ends - 1 - turns.PATIENCE - step - ms) / step) + 1) end -- no lease ends in what is looked at
  if n < 1 then return one(x, ms) end
  local m, quiet = facts(x, ms), x.verdict or "keep"
  local k = sweep(x, m, quiet, ms, n, TIED)
  if k == 0 then return one(x, ms) end
  local ahead = (step + turns.PATIENCE) / 1000
  local j, other = sweep(x, m, quiet, ms + step + turns.PATIENCE, k, TIED, ahead)
  x.verdict = quiet
  if j == k then
    x.decisions, x.next_at = x.decisions + k, ms + k * step
  elseif other then
    x.decisions, x.next_at = x.decisions + j + 1, ms + j * step + min(step, turns.PATIENCE)
  elseif j == 0 then
    one(x, ms)
  else
    x.decisions, x.next_at = x.decisions + j, ms + j * step
  end
end

-- `n` turns from ms on, between which nothing changes but time.
local function stretch_alone(x, ms, n, ends)
  local step = x.interval
  local foreseen = not ends or ends > ms + n * step -- what is looked at behind the last is the same, too
  local m, quiet = facts(x, ms), x.verdict or "keep"
  local k, other = sweep(x, m, quiet, ms, foreseen and n + 1 or n)
  if k == 0 then return one(x, ms) end
  x.verdict = quiet
  x.decisions = x.decisions + min(k, n)
  if k >= n and not other then
    local last = ms + (n - 1) * step
    x.next_at = foreseen and last + step or turns.after(x.look, x.s, last, last + step, quiet)
  elseif other then
    local last = ms + (k - 1) * step
    x.next_at = turns.flip(x.look, last, last + step, quiet)
  else
    x.next_at = ms + k * step
  end
end

-- From the decision at ms on, some of those that are due until `limit`.
local function stretch(x, ms, limit)
  if (ms - x.phase) % x.interval ~= 0 then return one(x, ms) end
  local s, last = x.s, limit
  local ends = lapse(s, ms)
  if ends then last = min(last, ends - 1) end
  local in_run = turns.in_run(s, ms)
  if in_run then last = min(last, s.last + turns.RUN) end
  local n = floor((last - ms) / x.interval) + 1
  if in_run then return stretch_in_run(x, ms, n, ends) end
  stretch_alone(x, ms, n, ends)
end

local function advance(x, limit)
  repeat
    while x.next_at <= limit do
      if x.hooks.decision then one(x, x.next_at) else stretch(x, x.next_at, limit) end
    end
    local due = x.waking and x.waking <= limit
    if due then woken(x) end
  until not due
end

-- ---- what happened

local happen = {}

function happen.start(x, _, ends, asked)
  local ms = ends.from
  x.there, x.connections = ends, 0
  x.synced = not x.on
  if x.on then return end
  x.waking, x.input_until = nil, nil
  if x.idle then
    wanted(x, asked, true)
    count_wake(x, asked)
    x.idle = false
  end
  begin(x, ms)
end

happen["end"] = function(x, ms, idle)
  x.there, x.connections = nil, 0
  if idle then
    if x.stopping then
      stopped(x, ms, x.stopping.agent)
    elseif x.on then
      x.undone = x.undone + 1
    end
    return
  end
  if x.on then halt(x, ms) end
  x.waking, x.idle = nil, false
end

function happen.off(x, ms)
  if x.on then halt(x, ms) end
  x.waking, x.idle = nil, false
end

function happen.static(x, ms, static)
  if x.on then
    charge(x, x.since, ms)
    if x.hooks.run and ms > x.since then x.hooks.run(x.since, ms) end
    x.since = ms
  end
  local began = x.static.started_at
  x.static = x.of(static)
  started(x, began)
end

function happen.i(x, first, last)
  x.input_last = last
  if x.stopped_at then wanted(x, first, true) end
  if x.on then
    set_run(x.s, first, last)
  elseif x.waking then
    x.input_until = last
  elseif x.there then
    wake(x, first)
    x.input_until = last
  end
end

function happen.c(x, ms, n)
  local more = n > x.connections
  x.connections = n
  if x.on then return timeline.apply(x.s, { ms, "c", n }) end
  if more and x.there and not x.waking then wake(x, ms) end
end

function happen.r(x, ms, load, foreground, turn, ssh)
  if x.on then timeline.apply(x.s, { ms, "r", load, foreground, turn, ssh }) end
end

function happen.l(x, ms, id, until_ms, reason)
  if timeline.is_agents(id) and not x.on then return end
  timeline.apply(x.s, { ms, "l", id, until_ms, reason })
  if not x.on and x.there and not x.waking and until_ms > ms then wake(x, ms) end
end

function happen.b(x, ms, fresh, seconds)
  x.connections = 0
  if not x.on then return end
  if x.synced and seconds then started(x, seconds) end
  timeline.apply(x.s, { ms, "b", fresh and x.synced })
  if x.synced or not fresh then x.next_at = turns.next(x.phase, x.interval, ms) end
end

function happen.away(x) if x.on then x.next_at = NEVER end end

-- Decisions that are due at the very time of a signal have seen it; what else changes is seen by the next.
local signal = { i = true, c = true, r = true, l = true, b = true }

-- ---- all of it

local function new(past, side, model, hooks)
  local x = {
    past = past, side = side, gen = side.gen, model = model, hooks = hooks or {}, interval = model.interval,
    phase = turns.phase(past.id, model.interval), s = plain.copy(past.state), plans = {}, days = {}, decisions = 0,
    undone = 0, next_at = NEVER, connections = past.state.connections or 0, input_last = past.state.last, idle = past.idle,
    stopped_at = past.idle,
  }
  local plans = side.gen:data("plans")
  function x.of(static)
    local out = {}
    for k, v in pairs(static) do out[k] = v end
    out.threshold = book.plan(plans, static.plan).idle or side.threshold
    return out
  end
  x.look = looker(x)
  x.static = x.of(past.static)
  return x
end

function M.machine(past, side, model, hooks)
  local x = new(past, side, model, hooks)
  if past.there then
    x.there, x.synced = past.there, true
    begin(x, past.from)
    started(x, past.state.started or floor(past.there.from / 1000))
    local first = past.recorded.behind(past.from - 1)
    x.next_at = first and first <= past.from + x.interval and first or turns.next(x.phase, x.interval, past.from - 1)
  end
  for _, e in ipairs(past.things) do
    advance(x, signal[e[2]] and e[1] - 1 or e[1])
    happen[e[2]](x, e[1], e[3], e[4], e[5], e[6])
  end
  advance(x, past.to - 1)
  if x.on then
    if x.stopping then stopped(x, past.to, x.stopping.agent) else halt(x, past.to) end
  end
  for _, p in pairs(x.plans) do
    p.micro = prices.sum(p.billed, side.prices)
    p.billed = nil
  end
  return { decisions = x.decisions, undone = x.undone, days = x.days, plans = x.plans }
end

return M
