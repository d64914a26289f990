-- What is known of one machine in a window of time, in the order in which it happened: what whatif/replay.lua lives again.
--
--   past = past.build{id =, owner =, from =, to =, days = {day records, in order}, spans =, offs =, statics =, }    pure
--     spans: {{from =, ms = its end or math.huge, idle = whether a decision of idleness ended it, asked = when its start was
--       asked for}, ...}, the times at which it ran; offs: times at which it was ended while it did not run
--     statics: {{ms, {id =, name =, owner =, plan =, type =, provider =, labels =, created_at =}}, ...}
--   past.of(id, from, to [, cache]) -> past | nil    from the store; nil: nothing is known of that time. cache: a table to
--       remember owners' plans in
--   past.ids(after) -> {id...}, in their order: a page of all machines whose log is there
--
-- past: {id =, owner =, from =, to =, there = the span in which it ran at `from`, idle = when it was stopped for idleness before,
--   state =, static =, recorded =, ran = ms, things = {{ms, kind, ...}, ...}}

local history = require "history"
local chunk = require "idle.chunk"
local timeline = require "idle.timeline"
local json = require "json"
local plain = require "plain"
local policy = require "policy"
local store = require "store"
local time = require "time"
local walk = require "walk"
local recorded = require "whatif.recorded"

local M = {}

-- ---- days

-- The signals of a day in their order; a run of input is {first, "i", last}.
local function signals(day)
  local out = {}
  for i = 1, #day.i, 2 do out[#out + 1] = { day.i[i], "i", day.i[i + 1], order = i - 1e6 } end
  for i, e in ipairs(day.e) do out[#out + 1] = { e[1], e[2], e[3], e[4], e[5], e[6], order = i } end
  table.sort(out, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a.order < b.order
  end)
  return out
end

local function set_run(s, e) s.before_first, s.before_last, s.first, s.last = s.first, s.last, e[1], e[3] end

-- The state at `from`, and the signals from then to `to`.
local function read_days(p, days)
  local state, runs = nil, {}
  local last
  for _, day in ipairs(days) do
    state = state or plain.copy(day.s)
    for _, run in ipairs(day.d) do runs[#runs + 1] = run end
    for _, e in ipairs(signals(day)) do
      if e[1] < p.from then
        if e[2] == "i" then set_run(state, e) else timeline.apply(state, e) end
      elseif e[1] < p.to then
        if e[2] == "b" and not e[3] then p.things[#p.things + 1] = { e[1], "away", seen = last or p.from } end
        e.order = nil
        p.things[#p.things + 1] = e
      end
      last = e[2] == "i" and e[3] or e[1]
    end
  end
  if state then state.leases = state.leases or {} end
  p.state, p.recorded = state or timeline.new(), recorded.new(runs)
end

-- A host was away from the last that it noted.
local function place_absences(p)
  for _, e in ipairs(p.things) do
    if e[2] == "away" then e[1] = math.min(e[1], math.max(e.seen, p.recorded.before(e[1]) or 0, p.from)) end
  end
end

-- ---- all of it

-- What happened at the same time: an end before what follows it, a start before its signals.
local rank = { ["end"] = 1, off = 2, static = 3, away = 4, start = 5 }

local function put_spans(p, spans)
  p.ran = 0
  for _, span in ipairs(spans) do
    local from, to = math.max(span.from, p.from), math.min(span.ms, p.to)
    if from < to then p.ran = p.ran + to - from end
    if span.from <= p.from and span.ms > p.from then
      p.there = span
    elseif span.from > p.from and span.from < p.to then
      p.things[#p.things + 1] = { span.from, "start", span, span.asked or span.from }
    end
    if span.ms > p.from and span.ms < p.to then p.things[#p.things + 1] = { span.ms, "end", span.idle } end
    if span.ms <= p.from then p.idle = span.idle and span.ms or nil end
  end
end

function M.build(known)
  local p = { id = known.id, owner = known.owner, from = known.from, to = known.to, things = {} }
  read_days(p, known.days)
  place_absences(p)
  put_spans(p, known.spans)
  for _, ms in ipairs(known.offs or {}) do
    if ms > p.from and ms < p.to then p.things[#p.things + 1] = { ms, "off" } elseif ms <= p.from then p.idle = nil end
  end
  for _, at in ipairs(known.statics) do
    if at[1] <= p.from or not p.static then
      p.static = at[2]
    elseif at[1] < p.to then
      p.things[#p.things + 1] = { at[1], "static", at[2] }
    end
  end
  for i, e in ipairs(p.things) do e.order = i end
  table.sort(p.things, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    local x, y = rank[a[2]] or 9, rank[b[2]] or 9
    if x ~= y then return x < y end
    return a.order < b.order
  end)
  return p
end

-- ---- the log

local told = { "name", "owner", "type", "provider", "labels", "created_at" } -- of a record, to a policy

local function apply(rec, data)
  if data.full then
    for name in pairs(rec) do rec[name] = nil end
  end
  for name, value in pairs(data.changes or {}) do rec[name] = value end
  for _, name in ipairs(data.removed or {}) do rec[name] = nil end
end

local function changed(was, rec)
  if not was then return true end
  for _, name in ipairs(told) do
    local a, b = was[name], rec[name]
    if a ~= b and (type(a) ~= "table" or type(b) ~= "table" or json.encode(a) ~= json.encode(b)) then return true end
  end
  return false
end

local function snapshot(rec)
  local out = { id = rec.id }
  for _, name in ipairs(told) do out[name] = rec[name] end
  return out
end

local function by_idleness(e, data) return e.by == "policy" and data.decision ~= nil and data.decision.kind == "idle" end

-- One entry, with the record as it made it.
local function follow(life, e, data, rec)
  local status = rec.status
  if status ~= life.status then
    local ms = time.parse(rec.status_at)
    local running = life.spans[#life.spans]
    if running and running.ms ~= math.huge then running = nil end
    if status == "STARTING" then life.asked = ms end
    if status == "RUNNING" then
      life.spans[#life.spans + 1] = { from = ms, ms = math.huge, idle = false, asked = life.asked or ms }
      life.asked = nil
    elseif running then
      running.ms, running.idle = ms, by_idleness(e, data) or life.idleness or false
    elseif status == "DELETING" or status == "DELETED" then
      life.offs[#life.offs + 1] = ms
    end
    life.status = status
  end
  life.idleness = by_idleness(e, data) and status == "RUNNING"
  if changed(life.was, rec) then
    life.was = snapshot(rec)
    life.statics[#life.statics + 1] = { e.at, life.was }
  end
end

-- -> {spans =, offs =, statics =} | nil
local function life_of(id)
  local entries = {}
  for e in history.backwards("instance", id) do entries[#entries + 1] = e end
  local life, rec = { spans = {}, offs = {}, statics = {} }, {}
  for i = #entries, 1, -1 do
    local e = entries[i]
    if not e.trimmed and #e.data > 2 then
      local data = json.decode(e.data)
      apply(rec, data)
      if rec.status and rec.status_at and rec.id then follow(life, e, data, rec) end
    end
  end
  if #life.statics == 0 or rec.provider == "foreign" then return nil end
  return life
end

-- ---- owners' plans

-- {{ms, plan}, ...} of an account, oldest first.
local function plans_of(owner)
  local out = {}
  for e in history.backwards("user", owner) do
    local data = not e.trimmed and #e.data > 2 and json.decode(e.data)
    local plan = data and data.changes and data.changes.plan
    if plan then table.insert(out, 1, { e.at, plan }) end
  end
  local now = store.get("user", owner)
  if now and #out == 0 then out[1] = { 0, now.plan } end
  if out[1] then out[1][1] = 0 end
  return out
end

local function cached(cache, owner)
  if cache[owner] then return cache[owner] end
  if (cache.n or 0) >= 1000 then
    for name in pairs(cache) do cache[name] = nil end
  end
  cache.n = (cache.n or 0) + 1
  cache[owner] = plans_of(owner)
  return cache[owner]
end

-- What the record said, and at each time the plan of the owner of then.
local function statics_of(life, cache)
  local default, out = policy.data("plans").default, {}
  for i, at in ipairs(life.statics) do
    local base, ends = at[2], life.statics[i + 1] and life.statics[i + 1][1] or math.huge
    local plans = base.owner ~= "operator" and cached(cache, base.owner) or {}
    local static = {
      id = base.id, name = base.name, owner = base.owner, type = base.type, provider = base.provider, labels = base.labels or {},
      created_at = math.floor(time.parse(base.created_at) / 1000), plan = default,
    }
    out[#out + 1] = { at[1], static }
    for _, change in ipairs(plans) do
      if change[1] <= at[1] then
        static.plan = change[2]
      elseif change[1] < ends then
        local other = {}
        for k, v in pairs(static) do other[k] = v end
        other.plan = change[2]
        out[#out + 1] = { change[1], other }
      end
    end
  end
  return out
end

-- ---- the store

local PAGE = 32 -- days read at once

local function days_of(id, from, to)
  local out = {}
  local after, stop = chunk.key(id, chunk.day(from) - 1), chunk.key(id, chunk.day(to - 1))
  for row in walk.kind("activity", { prefix = id .. "/", after = after, limit = PAGE }) do
    if row.id > stop then break end
    out[#out + 1] = json.decode(row.json)
  end
  return out
end

function M.of(id, from, to, cache)
  local life = life_of(id)
  if not life then return nil end
  local statics = statics_of(life, cache or {})
  if statics[1][1] >= to then return nil end
  local days = days_of(id, from, to)
  return M.build {
    id = id, owner = statics[#statics][2].owner, from = from, to = to, days = days, spans = life.spans, offs = life.offs,
    statics = statics,
  }
end

function M.ids(after) return history.ids_behind(after) end

return M
