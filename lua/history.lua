-- Time travel: a machine's record as it was, folded from its log.
--
-- Every entry of a machine says in `changes` what became of its record; the first, and every 32nd after it, holds the
-- whole record (`full`). So an old record is the last full entry before that time with the changes since laid over
-- it, and costs at most some 32 entries beyond those that are younger than the time.
--
-- What counts is the newest entry whose time is not later than the one asked for, and everything beneath it: a clock
-- that was set back cannot tear an entry out of its chain.

local errors = require "errors"
local json = require "json"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local BLOCK = 64    -- entries read at once from the head of a chain
local BLOCK_BYTES = 1048576
local PAGE = 200    -- machines looked at between two yields

-- Every entry of one object, newest first, however many: an iterator that holds one block at a time.
-- Behind the first block each entry is looked up by its sequence.
function M.backwards(kind, id)
  local block, i = assert(store.history(kind, id, { limit = BLOCK, bytes = BLOCK_BYTES })), 0
  local last
  return function()
    i = i + 1
    local e = block[i]
    block[i] = nil -- who reads on needs it no more
    if not e and last and last.prev > 0 then e = assert(store.log { after = last.prev - 1, limit = 1 })[1] end
    last = e
    return e
  end
end

-- Pure. The record as an entry with this data leaves it; `record` is changed where the entry does not hold the whole.
function M.apply(record, data)
  if data.full then record = {} end
  for name, value in pairs(data.changes or {}) do record[name] = value end
  for _, name in ipairs(data.removed or {}) do record[name] = nil end
  return record
end

-- Pure. `entries`: decoded data of consecutive entries, newest first, the last one full. -> record
function M.fold(entries)
  local record
  for i = #entries, 1, -1 do record = M.apply(record, entries[i]) end
  return record
end

-- Pure but for what `next_entry` reads. -> record | nil, err
function M.as_of(next_entry, ms)
  local e = next_entry()
  while e and e.at > ms do e = next_entry() end
  if not e then return errors.fail("not_found", "it did not exist at " .. time.rfc3339(ms)) end
  if e.type == "purged" then return errors.fail("not_found", "its record had been removed by " .. time.rfc3339(ms)) end
  local entries = {}
  while e do
    if e.trimmed then return errors.fail("not_found", "the log of that time has been trimmed") end
    local data = json.decode(e.data)
    entries[#entries + 1] = data
    if data.full then return M.fold(entries) end
    e = next_entry()
  end
  return errors.fail("not_found", "the log of that time does not hold the whole record")
end

-- The record of a machine as it was at `ms`. A machine that was deleted by then reads DELETED for as long as its
-- record is kept. -> record | nil, err (code "not_found", with the reason)
function M.instance(id, ms) return M.as_of(M.backwards("instance", id), ms) end

-- Ids of machines behind `after`, ascending, a page of them: those with a record, and those whose record has been removed,
-- which the index "instance_purged" remembers.
function M.ids_behind(after)
  local known = assert(store.list("instance", { after = after, limit = PAGE }))
  local gone = assert(store.scan("instance_purged", { after = after, limit = PAGE }))
  local ids = {}
  for _, r in ipairs(known) do ids[#ids + 1] = r.id end
  for _, r in ipairs(gone) do ids[#ids + 1] = r.key end
  table.sort(ids)
  for i = #ids, PAGE + 1, -1 do ids[i] = nil end
  return ids
end

-- The time up to which retention has been through the log: what was before it may not be told any more. 0: all is there.
function M.horizon()
  local done = store.get("meta", "retention")
  local e = done and done.log > 0 and assert(store.log { after = done.log - 1, limit = 1 })[1]
  return e and e.at or 0
end

-- The machines that were alive at `ms`, in the order of their ids, also those that are gone today.
-- Costs a short walk through the log of every machine that was ever made and is not forgotten yet, in steps between
-- which others run. -> {records = {...}, after = cursor or nil} | nil, err (code "not_found": the log of that
-- time has been trimmed, so the list would not be whole)
function M.instances(ms, after, limit)
  if ms < M.horizon() then
    return errors.fail("not_found", "the log of before " .. time.rfc3339(M.horizon()) .. " has been trimmed")
  end
  local records = {}
  while true do
    local ids = M.ids_behind(after)
    for _, id in ipairs(ids) do
      local record = M.instance(id, ms)
      if record and record.status ~= "DELETED" then
        if #records == limit then return { records = records, after = after } end
        records[#records + 1] = record
      end
      after = id
    end
    if #ids < PAGE then return { records = records } end
    local ok, err = task.sleep(0)
    if not ok then return nil, err end
  end
end

return M
