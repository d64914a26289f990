-- What was known of a machine's use, at any time: the signals as they came, folded into what a decision is told. Pure.
--
-- The host that decides today and the replay of a year ago run this same code on the same events, so that the same policy
-- decides the same. That is why the order of things is exact: a decision at t has seen every event stamped at most t, for
-- whoever stamps one makes the decisions that are due before (idle/tracker.lua).
--
--   s = timeline.new()
--   timeline.apply(s, event)         events in the order of their times: {ms, kind, ...}
--     {ms, "i"}                       input: bytes typed, a command run
--     {ms, "c", n}                    n connections are open
--     {ms, "r", load, foreground | false, turn, ssh}   the agent's report; `turn`: a turn of Claude is under way
--     {ms, "l", id, until_ms, reason} a busy lease; until_ms <= ms: it was given back
--     {ms, "b", fresh, started, life}  a host begins to watch: no connection is left. `life`: what tells one start of the machine
--         from another; fresh: it is not the one before, so what its agent told, and the leases that it held, are over. started:
--         when this one began, unix seconds
--   timeline.refused(s, ms)                          somebody asked for a lease in vain
--   ms = timeline.held_since(s, ms) | nil            since when leases are held, one or another, with no pause of M.PAUSE
--   m = timeline.facts(s, static, ms [, m [, last]])     what idle.decide is told at ms; static: what the record says. `m`: what
--       an earlier call gave, of any machine: all of it is filled anew. `last`: as if that were the time of the last input
--
-- Input is kept as runs: [first, last] with no gap above a minute. While the last input is at most a minute old it counts as
-- now: so a run says all that its single inputs would have said, and hours of typing are two numbers. A run ends with its day.

local M = {}

local DAY = 86400000

M.RUN = 60000     -- ms
M.PAUSE = 900000  -- ms without a lease, after which holding begins anew
M.BUSY_LOAD = 0.5 -- processors

function M.new() return { leases = {} } end

-- Since when one lease or another has been held without such a pause: s.hold = {since =, ends =}, ms.
local function hold(s, ms, taken)
  local h = s.hold
  if taken and (not h or ms - h.ends >= M.PAUSE) then
    h = { since = ms, ends = ms }
    s.hold = h
  end
  if not h or not taken and h.ends <= ms then return end
  h.ends = ms
  for _, lease in pairs(s.leases) do h.ends = math.max(h.ends, lease.ends) end
end

local apply = {}

function apply.i(s, ms)
  if s.last and ms - s.last <= M.RUN and math.floor(ms / DAY) == math.floor(s.last / DAY) then
    s.last = ms
    return
  end
  s.before_first, s.before_last = s.first, s.last
  s.first, s.last = ms, ms
end

function apply.c(s, ms, n)
  if n == 0 and (s.connections or 0) > 0 then s.disconnected = ms end
  s.connections = n
end

function apply.r(s, ms, load, foreground, turn, ssh)
  s.report, s.load, s.foreground, s.turn, s.ssh = ms, load, foreground or nil, turn, ssh
  if turn or load >= M.BUSY_LOAD or (ssh or 0) > 0 then s.busy = ms end
end

function apply.l(s, ms, id, until_ms, reason)
  for other, lease in pairs(s.leases) do
    if other ~= id and lease.ends <= ms then
      s.leases[other] = nil
      s.lease_ended = math.max(s.lease_ended or 0, lease.ends)
    end
  end
  local held = s.leases[id]
  if until_ms > ms then
    s.leases[id] = { ends = until_ms, reason = reason }
  elseif held then
    s.leases[id] = nil
    s.lease_ended = math.max(s.lease_ended or 0, math.min(held.ends, ms))
  end
  hold(s, ms, until_ms > ms)
end

-- Ids of leases that the machine's own agent holds.
local function is_agents(id) return id:sub(1, 6) == "agent/" end
M.is_agents = is_agents

function apply.b(s, ms, fresh, started, life)
  if (s.connections or 0) > 0 then s.disconnected = ms end
  s.connections, s.started, s.life = 0, started, life
  if not fresh then return end
  s.report, s.load, s.foreground, s.turn, s.ssh = nil, nil, nil, nil, nil
  for id, lease in pairs(s.leases) do
    if is_agents(id) then
      s.leases[id] = nil
      s.lease_ended = math.max(s.lease_ended or 0, math.min(lease.ends, ms))
    end
  end
  hold(s, ms, false)
end

function M.apply(s, e) apply[e[2]](s, e[1], e[3], e[4], e[5], e[6]) end

-- One that was refused: whoever goes on asking has made no pause.
function M.refused(s, ms)
  if M.held_since(s, ms) then s.hold.ends = math.max(s.hold.ends, ms) end
end

function M.held_since(s, ms)
  local h = s.hold
  return h and ms - h.ends < M.PAUSE and h.since or nil
end

-- Input as of ms. A run that begins later is not known yet.
local function input_at(s, ms)
  local last = s.last
  if s.first and s.first > ms then last = s.before_last end
  if not last then return nil end
  if ms - last <= M.RUN then return ms end
  return last
end

-- The lease that ends last, and when the last of those that are over ended. -> ends, reason, ended
local function leases_at(s, ms)
  local ends, reason, ended = nil, nil, s.lease_ended
  for _, lease in pairs(s.leases) do
    if lease.ends <= ms then
      if not ended or lease.ends > ended then ended = lease.ends end
    elseif not ends or lease.ends > ends or lease.ends == ends and lease.reason < reason then
      ends, reason = lease.ends, lease.reason
    end
  end
  return ends, reason, ended
end

local floor = math.floor
local function seconds(ms) return ms and floor(ms / 1000) end

-- A table with room for all fields. In a full one each nil that is stored under a new name makes LuaJIT rehash all of it, which
-- forgets the names whose values are nil: so at every call again. That was 0.5 us and more, where all the rest is 0.03.
local function blank()
  return {
    id = 0, name = 0, owner = 0, plan = 0, type = 0, provider = 0, labels = 0, threshold = 0, created_at = 0, started_at = 0,
    input_at = 0, connections = 0, disconnected_at = 0, report_at = 0, load = 0, foreground = 0, busy_at = 0, turn = 0,
    ssh_sessions = 0, lease_until = 0, lease_reason = 0, lease_ended_at = 0, last_activity_at = 0,
  }
end

function M.facts(s, static, ms, m, last)
  m = m or blank()
  m.id, m.name, m.owner, m.plan, m.type = static.id, static.name, static.owner, static.plan, static.type
  m.provider, m.labels, m.threshold = static.provider, static.labels, static.threshold
  m.created_at, m.started_at = static.created_at, static.started_at
  local input = last or input_at(s, ms)
  m.input_at, m.connections, m.disconnected_at = seconds(input), s.connections or 0, seconds(s.disconnected)
  m.report_at, m.load, m.foreground, m.busy_at = seconds(s.report), s.load, s.foreground, seconds(s.busy)
  m.turn, m.ssh_sessions = s.turn, s.ssh
  local ends, reason, ended = nil, nil, s.lease_ended
  if next(s.leases) then ends, reason, ended = leases_at(s, ms) end
  m.lease_until, m.lease_reason, m.lease_ended_at = seconds(ends), reason, seconds(ended)
  local used = static.started_at
  if m.input_at and m.input_at > used then used = m.input_at end
  if ended and m.lease_ended_at > used then used = m.lease_ended_at end
  m.last_activity_at = used
  return m
end

return M
