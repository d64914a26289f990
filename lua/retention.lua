-- What is forgotten, and when. Once an hour (serve): what is too old is found, in pages between which others run.
--
--   machines      DELETED for TOMBSTONE_DAYS: the record and its days of activity go, with an entry "purged" in the same
--                 commit. The head of its chain stays; the index instance_purged leads time travel to it.
--   operations    finished for OPERATION_DAYS
--   conversations (conversations.lua) that were not written to for CONVERSATION_DAYS
--   activity      days of a machine's use and of what was decided, older than LOG_DAYS: a new day takes the place of one (idle)
--   deliveries    tries of webhooks (webhooks/deliveries.lua), after WEBHOOK_LOG_DAYS
--   idempotency   answers kept for a repeat, after 24 hours
--   the log       data of entries older than LOG_DAYS. An entry itself stays for ever, and the chain stays provable.
--
-- Kept of the log whatever its age: what billing needs (a status that changed, a type, a plan, an end), and of each
-- machine everything from its last whole record before the horizon on, so that time travel still works within LOG_DAYS.
-- That is decided when a newer whole record passes the horizon: what lies between it and the one before is dropped.
-- Objects of other kinds have no whole records and no time travel: their data is dropped as it gets old, but for the ledger's
-- and the price books', which are for ever: what they say is money.
--
-- The record meta/retention says how far both walks through the log have come: {tombstones = seq, log = seq}.

local conversations = require "conversations"
local deliveries = require "webhooks.deliveries"
local idempotency = require "idempotency"
local json = require "json"
local log = require "log"
local record = require "machines.record"
local store = require "store"
local task = require "task"
local time = require "time"
local workflow = require "workflow"

local M = {}

local PAGE = 200
local DAY, HOUR = 86400000, 3600000

M.settings = { log_days = 365, tombstone_days = 30, operation_days = 30, conversation_days = 365, delivery_days = 14 }

-- ---- pure

local priced = { "type", "plan", "expires_at", "owner", "prepaid" }
local kept = { ledger = true, price_book = true } -- kinds
local beginnings = { created = true, imported = true, migrated = true, resized = true, extended = true }

-- Whether billing needs an entry of a machine: a status that changed, what it costs, until when, whose it is.
function M.billed(type, data)
  if data.status or data.metered_at or beginnings[type] then return true end
  for _, field in ipairs(priced) do
    if not data.full and data.changes and data.changes[field] ~= nil then return true end
  end
  return false
end

-- Sequences whose data may go, now that a newer whole record stands. `entries`: what lies beneath that one, newest
-- first, down to the whole record before it.
function M.droppable(entries)
  local out = {}
  for _, e in ipairs(entries) do
    if not e.trimmed and #e.data > 2 and not M.billed(e.type, json.decode(e.data)) then out[#out + 1] = e.seq end
  end
  return out
end

-- Whether an entry says that its machine is deleted.
local function says_deleted(e)
  if e.kind ~= "instance" or e.trimmed then return false end
  local data = json.decode(e.data)
  return (data.status or data.full and data.changes.status) == "DELETED"
end

-- ---- walking the log, each entry once

local function progress() return store.get("meta", "retention") or { tombstones = 0, log = 0 } end

local function remember(walk, seq)
  return store.update(function(tx)
    local at = tx:get("meta", "retention") or { tombstones = 0, log = 0 }
    at[walk] = seq
    tx:put("meta", "retention", at)
    return true
  end)
end

-- The time of an entry. One that is later than now was written while a clock was ahead; it must not stand in the way of
-- all that follow until that time has come, so it counts as old as the next one that can be believed.
local function clock(now)
  local known, at = 0, 0 -- of the entries up to `known`
  return function(e)
    if e.at <= now then return e.at end
    if e.seq <= known then return at end
    known, at = e.seq, now
    local page
    repeat
      page = assert(store.log { after = known, limit = PAGE })
      for _, x in ipairs(page) do
        known = x.seq
        if x.at <= now then
          at = x.at
          return at
        end
      end
    until #page < PAGE
    return at
  end
end

-- Gives each page of entries not later than `horizon` to fn(entries) -> true, or a sequence to stop before, or nil, err.
-- How far it came is remembered under `walk`. -> true | nil, err
local function each_page(walk, now, horizon, fn)
  local after = progress()[walk]
  local time_of = clock(now)
  while true do
    local entries = {}
    for _, e in ipairs(assert(store.log { after = after, limit = PAGE })) do
      if time_of(e) > horizon then break end
      entries[#entries + 1] = e
    end
    if #entries == 0 then return true end
    local stop, err = fn(entries)
    if not stop then return nil, err end
    after = stop == true and entries[#entries].seq or stop - 1
    local ok, werr = remember(walk, after)
    if not ok then return nil, werr end
    if stop ~= true or #entries < PAGE then return true end
    ok, werr = task.sleep(0)
    if not ok then return nil, werr end
  end
end

-- ---- machines

local function only(entries, fits)
  local out = {}
  for _, e in ipairs(entries) do
    if fits(e) then out[#out + 1] = e end
  end
  return out
end

-- In an update: removes the records of these entries' machines that are still deleted.
-- -> how many, the sequence at which it stopped because work on a machine is under way, or true
local function purge(tx, entries)
  local n = 0
  for _, e in ipairs(entries) do
    local rec = record.get(tx, e.id)
    if rec and rec.status == "DELETED" then
      if workflow.current(tx, rec) then return n, e.seq end
      record.remove(tx, rec, "system")
      n = n + 1
    end
  end
  return n, true
end

local function purge_machines(now, horizon, counts)
  return each_page("tombstones", now, horizon, function(entries)
    local deleted = only(entries, says_deleted)
    if #deleted == 0 then return true end
    local n, stop = store.update(function(tx) return purge(tx, deleted) end)
    if not n then return nil, stop end
    counts.purged = counts.purged + n
    return stop
  end)
end

-- ---- records that the log does not tell of

local function remove(kind, rows, is_over)
  return store.update(function(tx)
    for _, row in ipairs(rows) do
      local value = tx:get(kind, row.id)
      if value and is_over(value) then tx:del(kind, row.id) end
    end
    return true
  end)
end

-- Removes what is_over(value) of a kind. -> how many | nil, err
local function remove_old(kind, is_over)
  local after, n = nil, 0
  local page
  repeat
    page = assert(store.list(kind, { after = after, limit = PAGE }))
    after = page[1] and page[#page].id
    local old = only(page, function(row) return is_over(json.decode(row.json)) end)
    local ok, err
    if #old > 0 then ok, err = remove(kind, old, is_over) else ok, err = task.sleep(0) end
    if not ok then return nil, err end
    n = n + #old
  until #page < PAGE
  return n
end

local function old_tombstone(horizon)
  return function(vol) return vol.status == "DELETED" and time.parse(vol.deleted_at) <= horizon end
end

-- ---- the log

-- What lies beneath entry `e` in its chain, newest first, down to the whole record before it, that included.
-- -> {entry...} | nil, err
local function beneath(e)
  local out = {}
  while e.prev > 0 do
    e = assert(store.log { after = e.prev - 1, limit = 1 })[1]
    out[#out + 1] = e
    if not e.trimmed and json.decode(e.data).full then break end
    if #out % PAGE == 0 then
      local ok, err = task.sleep(0)
      if not ok then return nil, err end
    end
  end
  return out
end

-- What entry `e`, now past the horizon, makes superfluous, beside itself. -> {sequence...} | nil, err
local function superfluous(e)
  if kept[e.kind] then return {} end
  if e.kind ~= "instance" then return not e.trimmed and #e.data > 2 and { e.seq } or {} end
  if e.type ~= "purged" and (e.trimmed or not json.decode(e.data).full) then return {} end
  local entries, err = beneath(e)
  if not entries then return nil, err end
  return M.droppable(entries)
end

-- Machines that were forgotten before the horizon existed at no time that can be asked for. -> true | nil, err
local function forget(entries)
  local purged = only(entries, function(e) return e.kind == "instance" and e.type == "purged" end)
  if #purged == 0 then return true end
  return store.update(function(tx)
    for _, e in ipairs(purged) do tx:unindex("instance_purged", e.id) end
    return true
  end)
end

local function trim_page(entries, counts)
  local seqs = {}
  for _, e in ipairs(entries) do
    local more, err = superfluous(e)
    if not more then return nil, err end
    for _, seq in ipairs(more) do seqs[#seqs + 1] = seq end
  end
  local ok, ferr = forget(entries)
  if not ok then return nil, ferr end
  if #seqs == 0 then return true end
  local n, err = store.trim(seqs)
  if not n then return nil, err end
  counts.trimmed = counts.trimmed + n
  return true
end

local function trim_log(now, horizon, counts)
  return each_page("log", now, horizon, function(entries) return trim_page(entries, counts) end)
end

-- ---- all of it

local function older(text, horizon) return text ~= nil and text ~= json.null and time.parse(text) <= horizon end

-- `now`: unix ms.
-- -> {purged = machines, volumes =, operations =, conversations =, answers =, deliveries =, trimmed = log entries}
-- | nil, err: the next run goes on
function M.run(now)
  local s = M.settings
  local counts, err = { purged = 0, trimmed = 0 }
  local ok
  ok, err = purge_machines(now, now - s.tombstone_days * DAY, counts)
  if not ok then return nil, err end
  counts.volumes, err = remove_old("volume", old_tombstone(now - s.tombstone_days * DAY))
  if not counts.volumes then return nil, err end
  counts.operations, err = remove_old("operation", function(op) return older(op.finished_at, now - s.operation_days * DAY) end)
  if not counts.operations then return nil, err end
  local horizon = s.conversation_days > 0 and now - s.conversation_days * DAY or -1 -- before all time
  counts.conversations, err = conversations.sweep(horizon)
  if not counts.conversations then return nil, err end
  counts.answers, err = remove_old("idempotency", function(a) return older(a.at, now - idempotency.HOURS * HOUR) end)
  if not counts.answers then return nil, err end
  counts.deliveries, err = deliveries.sweep(now - s.delivery_days * DAY)
  if not counts.deliveries then return nil, err end
  if s.log_days > 0 then
    ok, err = trim_log(now, now - s.log_days * DAY, counts)
    if not ok then return nil, err end
  end
  return counts
end

-- run, and what came of it in the log of the process.
function M.tidy(now)
  local counts, err = M.run(now)
  if not counts then
    if err.code ~= "cancelled" then log.error("retention", "what is old could not be removed", { error = tostring(err) }) end
  elseif counts.purged + counts.volumes + counts.operations + counts.conversations + counts.answers
    + counts.deliveries + counts.trimmed > 0 then
    log.info("retention", "what is old was removed", counts)
  end
end

return M
