-- What two sets of policies said to the same inputs: how often they agreed, function by function, and the last differences.
--
--   s = shadow.new(saved or nil)      saved: what s:save() gave
--   s:compare(name, input, now, live, staged, enforced)    each {verdict, reason}; staged may be {failed = why}
--   s:skip(name)                      one that was not asked: too much time had been taken
--   s:save() -> {counts = {[name] = {agree, differ, failed, skipped, pairs = {["keep -> stop"] = n}}}, differences = {...}}
-- A difference: {at, name, input, now, live, staged, enforced}, newest first; what is personal in the input is left out.
-- Sets agree when their verdicts do, whatever their reasons.

local json = require "json"
local samples = require "policy.samples"
local time = require "time"

local M = {}
local Shadow = {}
Shadow.__index = Shadow

local MOST = 100  -- differences
local PAIRS = 40  -- of a function, told apart; the others are one

function M.new(saved)
  local s = setmetatable({ counts = {}, list = {}, at = 1, dirty = true }, Shadow)
  if not saved then return s end
  for name, c in pairs(saved.counts) do
    s.counts[name] = c
    c.kinds = 0
    for _ in pairs(c.pairs) do c.kinds = c.kinds + 1 end
  end
  for i = #saved.differences, 1, -1 do s:keep(saved.differences[i]) end
  return s
end

local function of(s, name)
  local c = s.counts[name]
  if not c then
    c = { agree = 0, differ = 0, failed = 0, skipped = 0, pairs = {}, kinds = 0 }
    s.counts[name] = c
  end
  s.dirty = true
  return c
end

-- A verdict as a text; a place with the places behind it.
local function shown(v)
  if type(v) ~= "table" then return tostring(v) end
  local parts = { table.concat({ tostring(v.provider), tostring(v.type), v.location }, "/") }
  for _, other in ipairs(v.fallbacks or {}) do parts[#parts + 1] = shown(other) end
  return table.concat(parts, ", then ")
end
M.shown = shown

local function count_pair(c, pair)
  if not c.pairs[pair] then
    if c.kinds >= PAIRS then pair = "others" end
    if not c.pairs[pair] then
      c.pairs[pair] = 0
      c.kinds = c.kinds + 1
    end
  end
  c.pairs[pair] = c.pairs[pair] + 1
end

function Shadow:keep(difference)
  self.list[self.at] = difference
  self.at = self.at % MOST + 1
end

function Shadow:compare(name, input, now, live, staged, enforced)
  local c = of(self, name)
  local was, is = shown(live[1]), staged.failed and "failed" or shown(staged[1])
  if was == is then
    c.agree = c.agree + 1
    return
  end
  if staged.failed then c.failed = c.failed + 1 else c.differ = c.differ + 1 end
  count_pair(c, was .. " -> " .. is)
  self:keep {
    at = time.rfc3339(time.now()), name = name, input = samples.copy_input(name, input), now = now, enforced = enforced,
    live = { verdict = was, reason = live[2] }, staged = { verdict = is, reason = staged.failed or staged[2] },
  }
end

function Shadow:skip(name)
  local c = of(self, name)
  c.skipped = c.skipped + 1
end

function Shadow:save()
  local counts, list = {}, json.array {}
  for name, c in pairs(self.counts) do
    counts[name] = { agree = c.agree, differ = c.differ, failed = c.failed, skipped = c.skipped, pairs = c.pairs }
  end
  for i = 1, #self.list do list[i] = self.list[(self.at - 1 - i) % #self.list + 1] end
  return { counts = counts, differences = list }
end

return M
