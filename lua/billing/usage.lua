-- What machines used, from two sources that must agree (proof.lua): their own log, folded; and the records "usage", which the
-- ledger keeps beside its entries (ledger.lua), for speed.
--
--   usage.fold(list) -> intervals, from      pure. `list`: {{type =, data =}, ...} of one machine, oldest first
--   usage.of_log(id) -> intervals, from      [yields]
--       interval: {from =, to = unix ms or nil: still, state =, type =, gib =, owner =}, in the order of time, none empty;
--       `from`: the machine was imported, and its log tells of nothing before; nil: it tells all
--   usage.kept(id, from, to) -> segments     what is posted of a machine, cut to [from, to)
--   usage.of(id, from, to) -> segments       and what is not posted yet, up to now
--   usage.each(owner, from, to, fn)          fn(machine, segment) for all of an account's, also of machines that are gone
--       segment: {from =, to =, state =, type =, rate =, how =, plan =}, as meter.lua has them
--   usage.totals(owner, from, to [, fn]) -> {ms = {[type] = RUNNING}, running_ms =, storage_ms =, by_how = {[how] = ms RUNNING},
--       micro = {[type or "storage"] = charged}, charged =, waived =}     fn(machine, segment): all that is in it, too
--   usage.cost(segment) -> micro-units that the account was charged, micro-units that nobody was
-- Times are unix ms on the clock of deadlines. A segment that is cut costs its part: the parts of one come to the whole.

local amount = require "billing.amount"
local history = require "history"
local json = require "json"
local ledger = require "billing.ledger"
local metering = require "billing.metering"
local months = require "billing.months"
local segments = require "billing.segments"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local PAGE = 200 -- entries between two turns of others

-- ---- from the log

local function close(out, open, t)
  if open and t > open.from then
    open.to = t
    out[#out + 1] = open
  end
end

local function opened(rec, t)
  local now = metering.of(rec)
  return now and { from = t, state = now.state, type = now.type, gib = now.gib, owner = rec.owner } or nil
end

function M.fold(list)
  local rec, out, open, from, imported = {}, {}, nil, nil, false
  for _, e in ipairs(list) do
    rec = history.apply(rec, e.data) -- what the meter looks at is in entries that are never trimmed (retention.lua)
    if e.type == "imported" and not e.data.metered_at then
      out, open, from, imported = {}, nil, math.huge, true
    end
    if e.data.metered_at then
      local t = time.parse(e.data.metered_at)
      if imported then from, imported = t, false end
      if open and open.owner == rec.owner then t = math.max(t, open.from) end
      close(out, open, t)
      open = opened(rec, t)
    end
  end
  out[#out + 1] = open
  return out, from
end

local function slim(e)
  local data = json.decode(e.data)
  if data.metered_at or data.full or data.changes then return { type = e.type, data = data } end
end

function M.of_log(id)
  local list, n = {}, 0
  for e in history.backwards("instance", id) do
    if not e.trimmed and #e.data > 2 then list[#list + 1] = slim(e) end
    n = n + 1
    if n % PAGE == 0 then task.sleep(0) end
  end
  if n == 0 then return {}, math.huge end -- its books came in an import, and it was gone before
  for i = 1, math.floor(#list / 2) do list[i], list[#list + 1 - i] = list[#list + 1 - i], list[i] end
  return M.fold(list)
end

-- ---- from the records

local function cut(s, from, to)
  from, to = math.max(s.from, from), math.min(s.to, to)
  if from >= to then return nil end
  return { from = from, to = to, state = s.state, type = s.type, rate = s.rate, how = s.how, plan = s.plan }
end

-- The months in which segments of [from, to) can begin: also the one before, where a stop was found late.
local function each_month(from, to)
  local t = months.from(math.max(months.from(from) - 1, 0))
  return function()
    if t >= to then return nil end
    local name = months.name(t)
    t = months.after(t)
    return name
  end
end

function M.kept(id, from, to)
  local out = {}
  local function add(s) out[#out + 1] = s end
  for month in each_month(from, to) do segments.each(store.get("usage", id .. "/" .. month), from, to, add) end
  return out
end

local function segment_of(e)
  return { from = e.from, to = e.to, state = e.state, type = e.machine_type, rate = e.rate, how = e.how, plan = e.plan }
end

-- fn(machine, segment) for what an account's books have not posted yet.
local function each_open(owner, from, to, fn)
  local x = ledger.look(owner, math.floor(steady.now()))
  for _, e in ipairs(x and x.entries or {}) do
    local s = e.type == "usage" and cut(segment_of(e), from, to)
    if s then fn(e.machine, s) end
  end
end

-- Whose books tell of a machine, also of one whose record has been removed.
local function owner_of(id)
  local _, owner = store.raw("instance", id)
  if owner then return owner end
  local row = assert(store.list("usage", { prefix = id .. "/", limit = 1 }))[1]
  return row and row.owner
end

function M.of(id, from, to)
  local out = M.kept(id, from, to)
  local owner = owner_of(id)
  local acct = owner and owner ~= "operator" and ledger.get(owner)
  if acct and acct.open[id] then
    each_open(owner, from, to, function(machine, s)
      if machine == id then out[#out + 1] = s end
    end)
  end
  return out
end

function M.each(owner, from, to, fn)
  local ids, used_in = {}, {} -- only the months in which a machine was used are read: a life is long
  for month in each_month(from, to) do
    local prefix = owner .. "/" .. month .. "/"
    for _, row in ipairs(assert(store.scan("usage_month", { prefix = prefix }))) do
      local id = row.key:sub(#prefix + 1)
      if not used_in[id] then
        ids[#ids + 1], used_in[id] = id, {}
      end
      table.insert(used_in[id], month)
    end
  end
  table.sort(ids)
  for _, id in ipairs(ids) do
    for _, month in ipairs(used_in[id]) do
      segments.each(store.get("usage", id .. "/" .. month), from, to, function(s) fn(id, s) end)
    end
  end
  each_open(owner, from, to, fn)
end

-- ---- sums

function M.cost(s)
  if s.how == "charged" then return amount.cost(s.rate, s.from, s.to), 0 end
  if s.how == "overrun" then return 0, amount.cost(s.rate, s.from, s.to) end
  return 0, 0
end

local function add(map, key, n) map[key] = (map[key] or 0) + n end

function M.totals(owner, from, to, each)
  local out = { ms = {}, storage_ms = 0, micro = {}, charged = 0, waived = 0, by_how = {}, running_ms = 0 }
  M.each(owner, from, to, function(id, s)
    if each then each(id, s) end
    local charged, waived = M.cost(s)
    local ms = s.to - s.from
    if s.state == "RUNNING" then
      add(out.ms, s.type, ms)
      add(out.by_how, s.how, ms)
      out.running_ms = out.running_ms + ms
    elseif s.state == "STOPPED" then
      out.storage_ms = out.storage_ms + ms
    end
    add(out.micro, s.state == "STOPPED" and "storage" or s.type, charged)
    out.charged, out.waived = out.charged + charged, out.waived + waived
  end)
  return out
end

return M
