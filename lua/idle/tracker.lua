-- Who uses which machine, now: one track for each that runs, fed by what users type, by their connections, by what agents
-- report and by busy leases; written to the store as days (idle/chunk.lua).
--
-- The order of things is exact: tracker.event makes the decisions that are due before it takes an event in, and an event is
-- stamped later than the last decision. So whoever reads a day sees at each decision what the decision saw. All times are
-- on the clock of deadlines (steady.lua): a wall clock that is set makes nobody idle.
--
--   tracker.setup{decide = fn(track, ms), threshold = seconds, keep_days = LOG_DAYS}     decide: for each time that is due
--   tracker.begin(rec, begins)      a machine runs; begins: since now
--   tracker.refresh(rec), tracker.drop(id)      its record changed; it runs no longer
--   tracker.event(id, kind, ...)    now; an id that is not tracked is ignored
--   tracker.get(id) -> track: {id, static, s, m, chunk, next_at, last_at, ...}     tracker.all() -> {[id] = track}
--   tracker.planned(track, gen)     before facts: its threshold is by that set's plans
--   tracker.facts(track, ms [, last]) -> what idle.decide is told (timeline.facts): good until the next call, for any track
--   tracker.days(id) -> {[day] = chunk}, those that are not written yet
--   tracker.save(all) -> how many days were written | nil, err     [yields] those that have news; all: also when it is early

local book = require "billing.book"
local chunk = require "idle.chunk"
local json = require "json"
local plain = require "plain"
local policy = require "policy"
local steady = require "steady"
local store = require "store"
local time = require "time"
local timeline = require "idle.timeline"

local M = {}

local tracks = {}
local options = { threshold = 7200, decide = function() end }

local SAVE_MS = 120000 -- a day with news is written so often
local BATCH = 100      -- days in one commit

function M.setup(new) options = new end
function M.get(id) return tracks[id] end
function M.all() return tracks end

-- ---- what the record says

-- When it began to run, unix seconds. A machine that begins now may be told otherwise by a wall clock that was set meanwhile.
local function started_at(rec, begins)
  local told = time.parse(rec.status_at)
  if begins and math.abs(told - steady.now()) > 60000 then told = steady.now() end
  return math.floor(told / 1000)
end

-- Seconds unused: what the set's plans say of a plan, else the setting.
local function threshold_of(gen, plan)
  return book.plan(gen:data("plans"), plan).idle or options.threshold
end

policy.derived["idle.decide"] = function(gen, m) return "threshold", threshold_of(gen, m.plan) end

local function static_of(rec, begins)
  local user = rec.owner ~= "operator" and store.get("user", rec.owner)
  local gen = policy.for_owner(rec.owner)
  local plan = user and user.plan or gen:data("plans").default
  return {
    id = rec.id, name = rec.name, owner = rec.owner, plan = plan, type = rec.type, provider = rec.provider, labels = rec.labels,
    created_at = math.floor(time.parse(rec.created_at) / 1000), started_at = started_at(rec, begins),
    threshold = threshold_of(gen, plan),
  }
end
M.static_of = static_of

function M.planned(track, gen)
  if track.planned == gen then return end
  track.planned = gen
  track.static.threshold = threshold_of(gen, track.static.plan)
  track.version = track.version + 1
end

local told -- one for all: a table for each of 100,000 machines is 80 MB, and none of it is ever in the processor's cache

function M.facts(track, ms, last)
  told = timeline.facts(track.s, track.static, ms, told, last)
  return told
end

-- ---- days

-- The state that a kept day ends with.
local function state_after(kept)
  local s = plain.copy(kept.s or timeline.new())
  local events = {}
  for i = 1, #kept.i, 2 do
    events[#events + 1] = { kept.i[i], "i", order = 0 }
    if kept.i[i + 1] ~= kept.i[i] then events[#events + 1] = { kept.i[i + 1], "i", order = 0 } end
  end
  for i, e in ipairs(kept.e) do
    e.order = i
    events[#events + 1] = e
  end
  table.sort(events, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a.order < b.order
  end)
  for _, e in ipairs(events) do
    e.order = nil
    timeline.apply(s, e)
  end
  return s
end
M.state_after = state_after

-- The newest kept day of a machine, or nil.
local function newest(id)
  local row = store.list("activity", { prefix = id .. "/", reverse = true, limit = 1 })[1]
  return row and json.decode(row.json)
end

local function turn_day(track, ms)
  local day = chunk.day(ms)
  if track.chunk.day == day then return end
  if track.dirty then
    track.full = track.full or {}
    track.full[#track.full + 1] = track.chunk
  end
  track.chunk = chunk.new(day, track.s)
end

-- ---- events

local function due(track, now)
  while track.next_at and track.next_at <= now do
    local at = track.next_at
    options.decide(track, at)
    if track.next_at == at then error("the decision was not made") end
  end
end
M.due = due

function M.event(id, kind, a, b, c, d)
  local track = tracks[id]
  if not track then return end
  local now = math.floor(steady.now())
  due(track, now)
  if tracks[id] ~= track then return end
  if track.last_at and now <= track.last_at then now = track.last_at + 1 end
  turn_day(track, now)
  local e = { now, kind, a, b, c, d }
  timeline.apply(track.s, e)
  chunk.event(track.chunk, e)
  track.version, track.dirty = track.version + 1, true
end

-- ---- machines

local leaving = {} -- days of machines that run no longer and are to be written

-- What is left of a machine's track and is not written yet, or nil.
local function left(id)
  for i, track in ipairs(leaving) do
    if track.id == id then return table.remove(leaving, i) end
  end
end

function M.begin(rec, begins)
  local now = math.floor(steady.now())
  local old = left(rec.id)
  local kept = old and old.chunk or newest(rec.id)
  local s = old and old.s or kept and state_after(kept) or timeline.new()
  local today = kept and kept.day == chunk.day(now) and kept
  local cut = { now, "c", 0 } -- connections are of this process
  if (s.connections or 0) > 0 then
    timeline.apply(s, cut)
    if today then chunk.event(today, cut) end
  end
  today = today or chunk.new(chunk.day(now), s)
  local track = {
    id = rec.id, owner = rec.owner, static = static_of(rec, begins), s = s, chunk = today, version = 1,
    record_version = rec.version,
    status_at = rec.status_at, began = now, full = old and old.full,
  }
  if old and today ~= old.chunk then
    track.full = track.full or {}
    track.full[#track.full + 1] = old.chunk
  end
  tracks[rec.id] = track
  M.event(rec.id, "b", s.life ~= rec.status_at, track.static.started_at, rec.status_at)
  return track
end

function M.refresh(rec)
  local track = tracks[rec.id]
  due(track, steady.now())
  if tracks[rec.id] ~= track then return end
  local started, same = track.static.started_at, track.status_at == rec.status_at
  track.static, track.owner, track.record_version = static_of(rec, not same), rec.owner, rec.version
  if same then track.static.started_at = started end
  track.status_at, track.planned = rec.status_at, nil
  track.version = track.version + 1
end

function M.drop(id)
  local track = tracks[id]
  if not track then return end
  tracks[id] = nil
  if track.dirty then leaving[#leaving + 1] = track end
end

-- Notes a decision in its day.
function M.decided(track, ms, generation, verdict, reason)
  turn_day(track, ms)
  chunk.decided(track.chunk, ms, generation, verdict, reason)
  track.last_at, track.dirty = ms, true
end

-- ---- to the store

local function take(track, list)
  for _, c in ipairs(track.full or {}) do list[#list + 1] = { track = track, chunk = c } end
  list[#list + 1] = { track = track, chunk = track.chunk }
  track.full, track.dirty, track.saved = nil, nil, time.mono()
end

local writing = {} -- what is taken and perhaps not there yet

function M.days(id)
  local out = {}
  local function add(track)
    for _, c in ipairs(track.full or {}) do out[c.day] = c end
    if track.dirty then out[track.chunk.day] = track.chunk end
  end
  for _, d in ipairs(writing) do
    if d.track.id == id then out[d.chunk.day] = d.chunk end
  end
  for _, track in ipairs(leaving) do
    if track.id == id then add(track) end
  end
  if tracks[id] then add(tracks[id]) end
  return out
end

local function write(list, from)
  return store.update(function(tx)
    for i = from, math.min(from + BATCH - 1, #list) do
      local d = list[i]
      if options.keep_days and options.keep_days > 0 then -- each new day takes the place of one that is too old
        tx:del("activity", chunk.key(d.track.id, d.chunk.day - options.keep_days))
      end
      tx:put("activity", chunk.key(d.track.id, d.chunk.day), d.chunk, d.track.owner)
    end
    return true
  end)
end

-- What could not be written is tried again.
local function keep_for_later(track, c)
  if c ~= track.chunk then
    track.full = track.full or {}
    track.full[#track.full + 1] = c
  end
  track.dirty = true
  if tracks[track.id] == track then return end
  if leaving[#leaving] ~= track then leaving[#leaving + 1] = track end
end

function M.save(all)
  local list, now = {}, time.mono()
  for _, track in pairs(tracks) do
    if track.dirty and (all or now - (track.saved or 0) >= SAVE_MS) then take(track, list) end
  end
  for _, track in ipairs(leaving) do take(track, list) end
  leaving, writing = {}, list
  for from = 1, #list, BATCH do
    local ok, err = write(list, from)
    if not ok then
      for i = from, #list do keep_for_later(list[i].track, list[i].chunk) end
      writing = {}
      return nil, err
    end
  end
  writing = {}
  return #list
end

return M
