-- A place in the log, as a request names it.
--
--   seek.cursor{after = sequence} | {since = RFC 3339} -> the sequence to go on behind | nil, err

local errors = require "errors"
local store = require "store"
local time = require "time"

local M = {}

M.fields = {
  after = { "integer", min = 0, max = 2 ^ 53 },
  since = { "string", max = 40, check = function(text)
    if not time.parse(text) then return "a time like 2026-11-20T12:00:00Z expected" end
  end },
}

local function at(seq) return assert(store.log { after = seq - 1, limit = 1 })[1].at end

-- Sequences have no holes, and times nearly ascend: an entry's is that of when its update began.
local function about(ms, last)
  local low, high = 1, last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(middle) < ms then low = middle + 1 else high = middle end
  end
  return low
end

local NEAR = 200

-- The first entry that is not before the time; some of those behind it may be.
local function first_since(ms, last)
  local first = about(ms, last)
  while first > 1 do -- before the first there is nothing, and a limit of 0 would be none
    local after = math.max(0, first - 1 - NEAR)
    local earlier
    for _, e in ipairs(assert(store.log { after = after, limit = first - 1 - after })) do
      if e.at >= ms and e.seq < first then earlier = earlier or e.seq end
    end
    if not earlier then break end
    first = earlier
  end
  return first
end

function M.cursor(spec)
  local last = store.stats().log_seq
  if (spec.after == nil) == (spec.since == nil) then
    return errors.fail("invalid", "after: the sequence of an event, or since: a time, expected", { field = "after" })
  end
  if spec.since then return first_since(time.parse(spec.since), last) - 1 end
  if spec.after > last then return errors.fail("invalid", ("after: the log ends at %d"):format(last), { field = "after" }) end
  return spec.after
end

return M
