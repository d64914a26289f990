-- Decides about every machine that runs, each ACTIVITY_CHECK_INTERVAL: a wheel of seconds, each machine at its own place in
-- the interval, so that a hundred thousand are as even a load as ten; in slices, between which others run.
--
-- A decision is made for the time it was due at, whenever that second is reached. If the verdict would be another one
-- at the machine's next turn, the second at which it changes is looked for, and that is when the machine is decided next:
-- so a machine stops at the second that its owner was told.
--
--   pass.setup{interval = seconds}
--   pass.add(track)                       a machine that has begun to run
--   pass.decide(track, ms)                tracker's hook: one decision
--   pass.tick()                           [yields] all that is due; called again and again
--   pass.forecast(track) -> stops_at (unix ms) or nil, reason of then (or of now), reason of now    [yields]
--   pass.on_verdict(track, verdict, reason, ms, before)   hook: a verdict that is not the one before

local log = require "log"
local policy = require "policy"
local slices = require "slices"
local steady = require "steady"
local sys = require "sys"
local task = require "task"
local tracker = require "idle.tracker"
local turns = require "idle.turns"

local M = { stats = { decisions = 0, slices = 0, worst_ms = 0 } }

local SLICE_MS = 2
local HORIZON = { { 300, 26 * 3600 }, { 3600, 8 * 86400 } } -- steps of so many seconds until so far ahead

local interval = 300000 -- ms
local wheel, hand = {}, nil -- [second] = {track...}; the next second to be looked at

function M.on_verdict() end

local function next_turn(track, ms) return turns.next(track.phase, interval, ms) end

local function put(track, ms)
  track.next_at = ms
  local second = math.ceil(ms / 1000)
  if hand and second < hand then second = hand end
  local slot = wheel[second]
  if slot then slot[#slot + 1] = track else wheel[second] = { track } end
end

function M.setup(new)
  interval = new.interval * 1000
  wheel, hand = {}, math.floor(steady.now() / 1000)
end

function M.add(track)
  track.phase = turns.phase(track.id, interval)
  put(track, next_turn(track, math.floor(steady.now())))
end

-- ---- one decision

local function verdict_at(gen, track, ms, last)
  local ok, verdict, reason = gen:ask("idle.decide", tracker.facts(track, ms, last), math.floor(ms / 1000))
  if ok then return verdict, reason end
  return nil, "the policy failed: " .. verdict
end

local asked, looked -- a closure for each decision would be made by the interpreter: LuaJIT compiles none
local function look(at, last) return (verdict_at(asked, looked, at, last)) end

local function turn_after(gen, track, ms, turn, verdict)
  asked, looked = gen, track
  local at = turns.after(look, track.s, ms, turn, verdict)
  asked, looked = nil, nil -- a set that was replaced is let go
  return at
end

function M.decide(track, ms)
  local now = math.floor(ms / 1000)
  tracker.planned(track, policy.for_owner(track.owner))
  local m = tracker.facts(track, ms)
  local gen, verdict, reason = policy.ask_for(track.owner, "idle.decide", m, now)
  tracker.decided(track, ms, gen.number, verdict, reason)
  M.stats.decisions = M.stats.decisions + 1
  local turn = next_turn(track, ms)
  if verdict ~= "stop" and not reason:find("^the policy failed") then
    turn = turn_after(gen, track, ms, turn, verdict)
  end
  put(track, turn)
  local before = track.verdict
  track.verdict, track.reason, track.generation = verdict, reason, gen.number
  if verdict ~= before or verdict == "stop" then M.on_verdict(track, verdict, reason, ms, before) end
end

-- ---- the wheel

-- One whose decision raises has its next turn like all others.
local function decided(track, now)
  local ok, why = xpcall(tracker.due, debug.traceback, track, now)
  if ok then return end
  log.error("idle", "a decision raised", { machine = track.id, traceback = why })
  put(track, next_turn(track, now))
end

local function turn(slot, now, begun)
  for _, track in ipairs(slot) do
    if tracker.get(track.id) == track and track.next_at <= now then decided(track, now) end
    if sys.cpu_ms() - begun > SLICE_MS then
      M.stats.slices = M.stats.slices + 1
      M.stats.worst_ms = math.max(M.stats.worst_ms, sys.cpu_ms() - begun)
      local ok, err = task.sleep(0)
      if not ok then return nil, err end
      begun = sys.cpu_ms()
    end
  end
  return begun
end

-- Puts all that was due before `second` there.
local function catch_up(second)
  local late = {}
  for at, slot in pairs(wheel) do
    if at < second then
      for _, track in ipairs(slot) do late[#late + 1] = track end
    end
  end
  for at in pairs(wheel) do
    if at < second then wheel[at] = nil end
  end
  for _, track in ipairs(wheel[second] or {}) do late[#late + 1] = track end
  wheel[second], hand = late, second
end

-- -> true | nil, err when the task is cancelled
function M.tick()
  local now = math.floor(steady.now())
  local second = math.floor(now / 1000)
  hand = hand or second
  if second - hand > 1000 then catch_up(second) end -- the host slept
  local begun = sys.cpu_ms()
  while hand <= second do
    local slot = wheel[hand]
    wheel[hand] = nil
    hand = hand + 1
    if slot then
      local at, err = turn(slot, now, begun)
      if not at then return nil, err end
      begun = at
    end
  end
  return true
end

-- ---- what is to come

-- -> when it stops if nothing else happens (ms), the reason of then | nil | nil, nil, how the policy failed    [yields]
local function look_ahead(gen, track, ms)
  local before, pause = ms, slices.new()
  for _, part in ipairs(HORIZON) do
    local step = part[1] * 1000
    while before < ms + part[2] * 1000 do
      local at = before + step
      local verdict, reason = verdict_at(gen, track, at)
      pause()
      if not verdict then return nil, nil, reason end
      if verdict == "stop" then
        local low, high = math.floor(before / 1000), math.floor(at / 1000)
        while high - low > 1 do
          local middle = math.floor((low + high) / 2)
          if verdict_at(gen, track, middle * 1000) == "stop" then high = middle else low = middle end
          pause()
        end
        return high * 1000, reason
      end
      before = at
    end
  end
end

function M.forecast(track)
  local gen = policy.for_owner(track.owner)
  tracker.planned(track, gen)
  local f, now = track.foreseen, math.floor(steady.now())
  if not f or f.version ~= track.version or f.generation ~= gen.number or f.stops_at and f.stops_at <= now
    or now - f.at >= 60000 then
    f = { version = track.version, generation = gen.number, at = now }
    -- An edited policy may want what the last one did not: it is asked at the next decision, and not before.
    f.stops_at, f.reason, f.failed = look_ahead(gen, track, math.max(now, (track.next_at or now) - 1000))
    track.foreseen = f
  end
  local is = f.failed
  if not is then is = select(2, verdict_at(gen, track, now)) end -- what it says of now may be of this second
  return f.stops_at, f.stops_at and f.reason or is, is
end

return M
