-- The proof that what was metered is what happened: each machine's log, folded (usage.lua), against what the ledger has posted of
-- it, to the millisecond. What runs now is compared up to where its account's meter has posted it.
--
--   proof.compare(intervals, from, kept, open, free) -> fault (a text) or nil     pure
--       intervals, from: as usage.fold gives them    kept: segments, any order    open: the meter's open interval, or nil
--       free(interval, a, b) -> whether that part cost nothing: it is then not posted
--   proof.machine(id) -> fault or nil     [yields]
--   proof.verify(each) -> {machines =, intervals =, faults = {text, ...}}     [yields] each(id): after every machine
--
-- Left out: what was before a machine came in an import, whose log begins there. Machines of before there was a meter have
-- nothing in either; so have those of the operator and of `foreign`.

local amount = require "billing.amount"
local book = require "billing.book"
local ledger = require "billing.ledger"
local segments = require "billing.segments"
local usage = require "billing.usage"
local history = require "history"
local json = require "json"
local slices = require "slices"
local store = require "store"
local task = require "task"
local time = require "time"
local walk = require "walk"

local M = {}

local TRIES = 5 -- a machine that changes while it is read is read again

-- ---- lists of times, pure

local function sorted(list)
  table.sort(list, function(a, b) return a.from < b.from end)
  return list
end

-- What neighbours have in common is one. -> list, sum of ms (what is there twice counts twice)
local function merged(list)
  local out, ms = {}, 0
  for _, s in ipairs(sorted(list)) do
    ms = ms + s.to - s.from
    local last = out[#out]
    if last and s.from <= last.to then
      last.to = math.max(last.to, s.to)
    else
      out[#out + 1] = { from = s.from, to = s.to, of = s }
    end
  end
  return out, ms
end

-- fn(a, b, of) for what is in `list` and not in `others`; both merged.
local function each_gap(list, others, fn)
  local i = 1
  for _, s in ipairs(list) do
    local at = s.from
    while others[i] and others[i].to <= at do i = i + 1 end
    local j = i
    while others[j] and others[j].from < s.to do
      if others[j].from > at then fn(at, others[j].from, s.of) end
      at = math.max(at, others[j].to)
      j = j + 1
    end
    if at < s.to then fn(at, s.to, s.of) end
  end
end

local function by_kind(list, from, out, side)
  for _, s in ipairs(list) do
    local a = math.max(s.from, from or 0)
    if s.to and a < s.to then
      local key = s.state .. " " .. s.type
      out[key] = out[key] or { {}, {} }
      table.insert(out[key][side], { from = a, to = s.to, state = s.state, type = s.type, gib = s.gib })
    end
  end
end

local function between(a, b) return time.rfc3339(a) .. " and " .. time.rfc3339(b) end

local function compare_kind(kind, told, posted, free)
  local fault
  local log, log_ms = merged(told)
  local kept, kept_ms = merged(posted)
  each_gap(kept, log, function(a, b)
    fault = fault or ("%s between %s is posted, and not in its log"):format(kind, between(a, b))
  end)
  each_gap(log, kept, function(a, b, of)
    if of.state ~= "RUNNING" and free(of, a, b) then
      log_ms = log_ms - (b - a)
    else
      fault = fault or ("%s between %s is in its log, and not posted"):format(kind, between(a, b))
    end
  end)
  if not fault and log_ms ~= kept_ms then
    fault = ("%s: %d ms are in its log, %d are posted"):format(kind, log_ms, kept_ms)
  end
  return fault
end

-- What is open: the meter must have it since then, and has posted it up to `open.from`.
local function compare_open(last, open)
  local function said(s, since) return ("%s %s since %s"):format(s.state, s.type, time.rfc3339(since)) end
  if last and not open then return said(last, last.from) .. ", and its account's meter does not run" end
  if open and not last then return "its account's meter counts " .. said(open, open.since) .. ", and its log does not" end
  if last and said(last, last.from) ~= said(open, open.since) then
    return said(last, last.from) .. ", and its account's meter counts " .. said(open, open.since)
  end
end

function M.compare(intervals, from, kept, open, free)
  if from == math.huge then return nil end
  local list, last = {}, intervals[#intervals]
  if last and last.to then last = nil end
  local fault = compare_open(last, open)
  if fault then return fault end
  for i, s in ipairs(intervals) do list[i] = s end
  if last then
    list[#list] = { from = last.from, to = math.max(open.from, last.from), state = last.state, type = last.type, gib = last.gib }
  end
  local kinds, names = {}, {}
  by_kind(list, from, kinds, 1)
  by_kind(kept, from, kinds, 2)
  for kind in pairs(kinds) do names[#names + 1] = kind end
  table.sort(names)
  for _, kind in ipairs(names) do
    fault = compare_kind(kind, kinds[kind][1], kinds[kind][2], free)
    if fault then return fault end
  end
end

-- ---- on the store

local function is_free(s, a, b)
  local rate = book.rate(book.get(book.at(ledger.committed, a)), s.state, s.type, s.gib, a)
  return amount.cost(rate, a, b) == 0
end

-- -> segments, the open interval or nil
local function posted(id)
  local kept, owner = {}, nil
  for _, row in ipairs(assert(store.list("usage", { prefix = id .. "/" }))) do
    owner = row.owner
    segments.each(json.decode(row.json), 0, math.huge, function(s) kept[#kept + 1] = s end)
  end
  local _, now = store.raw("instance", id)
  local acct = (now or owner) and ledger.get(now or owner)
  return kept, acct and acct.open[id]
end

local function head(id)
  local e = assert(store.history("instance", id, { limit = 1 }))[1]
  return e and e.seq
end

local function look(id)
  local intervals, from = usage.of_log(id)
  local kept, open = posted(id)
  return M.compare(intervals, from, kept, open, is_free), #intervals
end

function M.machine(id)
  local fault, n
  for _ = 1, TRIES do
    local before = head(id)
    fault, n = look(id)
    if not fault then return nil, n end
    if head(id) == before then
      fault, n = look(id) -- its account may have been posted between two readings
      break
    end
  end
  return fault, n
end

-- Machines whose record and whose place in instance_purged are gone, and whose usage stays.
local function each_forgotten(seen, fn)
  local pause = slices.new()
  for row in walk.kind("usage") do
    local id = row.id:match("^(.*)/")
    if not seen[id] then fn(id) end
    seen[id] = true
    pause()
  end
end

function M.verify(each)
  local out, seen, after = { machines = 0, intervals = 0, faults = {} }, {}, nil
  local function check(id)
    local fault, n = M.machine(id)
    out.machines, out.intervals = out.machines + 1, out.intervals + n
    if fault then out.faults[#out.faults + 1] = ("machine %s: %s"):format(id, fault) end
    if each then each(id) end
  end
  repeat
    local ids = history.ids_behind(after)
    for _, id in ipairs(ids) do
      after = id
      seen[id] = true
      check(id)
    end
    task.sleep(0)
  until #ids == 0
  each_forgotten(seen, check)
  return out
end

return M
