-- The record "usage" (id MACHINE/YYYY-MM, the owner the account): what was posted of a machine in a month, in the order of
-- time. A reading of the ledger that is kept for speed. Pure.
--
--   {kinds = {{state, type, rate, how, plan}, ...}, list = {{from, to, which of the kinds [, short]}, ...}}
-- since a year of a machine is read at once, and what makes that slow is the number of values. short: of what it cost the
-- micro-units that nobody paid, as the credit ended within its last millisecond.
--
--   segments.add(rec or nil, e) -> rec       with the entry `e` (meter.lua, "usage")
--   segments.cut(rec, t) -> rec or nil       without what is behind `t`; nil: nothing of it is
--   segments.each(rec or nil, from, to, fn)  fn{from =, to =, state =, type =, rate =, how =, plan =, short = or nil}, cut to
--                                            [from, to)

local json = require "json"

local M = {}

local FIELDS = { "state", "machine_type", "rate", "how", "plan" }

local function same(kind, e)
  for i, name in ipairs(FIELDS) do
    if kind[i] ~= e[name] then return false end
  end
  return true
end

local function kind_of(kinds, e)
  for i = #kinds, 1, -1 do
    if same(kinds[i], e) then return i end
  end
  kinds[#kinds + 1] = json.array { e.state, e.machine_type, e.rate, e.how, e.plan }
  return #kinds
end

local function copy(list)
  local out = json.array {}
  for i, v in ipairs(list or {}) do out[i] = v end
  return out
end

local function short_of(e)
  if e.how ~= "charged" then return nil end
  for _, p in ipairs(e.postings or {}) do
    if p[1] == "waived" then return -p[2] end
  end
end

function M.add(rec, e)
  local kinds, list = copy(rec and rec.kinds), copy(rec and rec.list)
  list[#list + 1] = json.array { e.from, e.to, kind_of(kinds, e), short_of(e) }
  return { kinds = kinds, list = list }
end

function M.cut(rec, t)
  local out, any = json.array {}, false
  for _, s in ipairs(rec.list) do
    any = any or s[2] > t
    if s[2] <= t then
      out[#out + 1] = s
    elseif s[1] < t then
      out[#out + 1] = json.array { s[1], t, s[3] }
    end
  end
  return any and { kinds = rec.kinds, list = out } or nil
end

function M.each(rec, from, to, fn)
  for _, s in ipairs(rec and rec.list or {}) do
    local a, b = s[1], s[2]
    if a < to and b > from then
      local k = rec.kinds[s[3]]
      local short = b <= to and s[4] or nil
      a, b = a > from and a or from, b < to and b or to
      fn { from = a, to = b, short = short, state = k[1], type = k[2], rate = k[3], how = k[4], plan = k[5] }
    end
  end
end

return M
