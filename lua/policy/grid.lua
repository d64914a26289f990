-- What an input could have been: for each field of a decision the points it could have had, nearest first. Pure.
--
--   for value, rank in grid.each(field, was, input, now) do     field: of policy/kinds.lua; was: its value, or nil
--       value: grid.ABSENT where the field would not be there. rank: how far the point is, counted in points of the grid:
--       two that are as far, one up and one down, have the same, and the higher comes first
--   grid.settle(fields, input) -> input, in which every derived field is what the others make it
--   grid.change(fields, input, name, value) -> a copy with that value, settled | nil: the others do not let it be so
--   grid.with(fields, name) -> the names of what may change with it, sorted: itself, and what is derived of it
--
--   time     each second to 2 h away, each minute to a day, each hour to 30 days, and the last that it could be
--   count    0 to 100, its most, and each to 100 away, each ten to 1,000, each hundred to 10,000, and so on
--   number   1,000 of its steps, then ten times as large ones for 900, and so on
--   flag, enum   the others                  text, map   none
-- That something is there which was not, or the other way round, is farther than any change of what is there.

local M = { ABSENT = setmetatable({}, { __tostring = function() return "absent" end }) }

local FAR = 1000000 -- the rank of the first point on the other side of being there
local MOST = 10000 -- points of a number

-- ---- distances

local function distances(parts)
  local out = {}
  for _, part in ipairs(parts) do
    for d = (out[#out] or 0) + part[1], part[2], part[1] do out[#out + 1] = d end
  end
  return out
end

local seconds = distances { { 1, 7200 }, { 60, 86400 }, { 3600, 30 * 86400 } }

-- In steps; as many as a range of `n` steps needs.
local by_range = {}

local function steps(n)
  if by_range[n] then return by_range[n] end
  local parts, step, to = { { 1, 1000 } }, 10, 10000
  while parts[#parts][2] < n do
    parts[#parts + 1] = { step, to }
    step, to = step * 10, to * 10
  end
  local list = distances(parts)
  while list[#list - 1] and list[#list - 1] >= n do list[#list] = nil end
  by_range[n] = list
  return list
end

-- Values around `origin` within [low, high], nearest first. `there`: the field is there, so that the origin is no point.
-- edge: a value above it that is a point, too; what is beyond it is none.
local function around(origin, list, low, high, there, value_of, most, edge)
  local k, up, n = there and 1 or 0, true, 0
  local far = there and 0 or FAR + 1
  local before = origin
  return function()
    while k <= #list and n < most do
      local d, rank = list[k] or 0, far + k
      local v = value_of(origin, up and d or -d)
      if up and edge then
        if v > edge and before < edge then v = edge end
        before = v
      end
      if up and d > 0 then
        up = false
      else
        k, up = k + 1, true
      end
      if v >= low and v <= high then
        n = n + 1
        return v, rank
      end
    end
  end, far + #list + 1
end

local function one(value, rank)
  return function()
    local v = value
    value = nil
    return v, rank
  end
end

local function none() end

-- ---- the points of each type

local points = {}

local function plus(a, b) return a + b end

function points.time(f, was, input, now)
  local low, high = 0, math.huge
  if f.future then low = now + 1 end
  if f.past then high = now end
  if f.least and input[f.least] then low = math.max(low, input[f.least]) end
  if f.most and input[f.most] then high = math.min(high, input[f.most]) end
  local near, rank = around(was or now, seconds, low, high, was ~= nil, plus, math.huge, f.past and was and high)
  local last = f.past and was and high > was + seconds[#seconds] and one(high, rank) or none
  return near, last
end

function points.count(f, was)
  local list, origin = {}, was or 0
  for v = 0, math.min(f.max, 100) do
    if v ~= was then list[#list + 1] = v end
  end
  if f.max > 100 and f.max ~= was then list[#list + 1] = f.max end
  local function beyond(v) -- of those around it what is not among these
    if v > 100 and v < f.max then list[#list + 1] = v end
  end
  local step, d = 1, 1
  while f.max > 100 and d < f.max do
    beyond(origin + d)
    beyond(origin - d)
    if d == 100 * step then step = 10 * step end
    d = d + step
  end
  table.sort(list, function(a, b)
    local x, y = math.abs(a - origin), math.abs(b - origin)
    if x ~= y then return x < y end
    return a > b
  end)
  local i, rank, before = 0, was and 0 or FAR, -1
  return function()
    i = i + 1
    local v = list[i]
    if v == nil then return nil end
    if math.abs(v - origin) ~= before then rank, before = rank + 1, math.abs(v - origin) end
    return v, rank
  end
end

function points.number(f, was)
  local function value_of(origin, k)
    local v = origin + k * f.step
    local whole = math.floor(v / f.step + 0.5) * f.step
    return math.abs(whole - v) < f.step * 1e-6 and whole or v
  end
  local list = steps(math.ceil((f.max - f.min) / f.step))
  local near, rank = around(was or f.min, list, f.min, f.max, was ~= nil, value_of, MOST)
  local seen = { [was or false] = true } -- of the two ends
  local function noted()
    local v, r = near()
    if v == f.min or v == f.max then seen[v] = true end
    return v, r
  end
  local function last()
    for _, v in ipairs { f.max, f.min } do
      if not seen[v] then
        seen[v] = true
        return v, rank
      end
    end
  end
  return noted, last
end

local function listed(list, was)
  local i, rank = 0, was ~= nil and 0 or FAR
  return function()
    i = i + 1
    if list[i] == was and was ~= nil then i = i + 1 end
    rank = rank + 1
    return list[i], rank
  end
end

function points.flag(_, was) return listed({ false, true }, was) end

function points.enum(f, was)
  local list = { unpack(f.of) }
  if f.open then list[#list + 1] = "unheard-of" end
  return listed(list, was)
end

function M.each(f, was, input, now)
  local parts = points[f[1]] and { points[f[1]](f, was, input, now) } or {}
  if f.optional and was ~= nil and points[f[1]] then parts[#parts + 1] = one(M.ABSENT, FAR) end
  local at = 1
  return function()
    while parts[at] do
      local v, rank = parts[at]()
      if v ~= nil then return v, rank end
      at = at + 1
    end
  end
end

-- ---- what goes with what

local derived_of = setmetatable({}, { __mode = "k" })

local function derived(fields)
  local list = derived_of[fields]
  if list then return list end
  list = {}
  for name, f in pairs(fields) do
    if f.derived then list[#list + 1] = name end
  end
  table.sort(list)
  derived_of[fields] = list
  return list
end

-- Once is enough: what is derived of a derived field is derived of what that one is derived of, too (test_grid proves it).
function M.settle(fields, input)
  for _, name in ipairs(derived(fields)) do input[name] = fields[name].derived(input) end
  return input
end

function M.change(fields, input, name, value)
  local out = {}
  for k, v in pairs(input) do out[k] = v end
  if value == M.ABSENT then value = nil end
  out[name] = value
  M.settle(fields, out)
  if out[name] == value then return out end
end

function M.with(fields, name)
  local out = { name }
  for _, other in ipairs(derived(fields)) do
    for _, from in ipairs(other ~= name and fields[other].from or {}) do
      if from == name then out[#out + 1] = other end
    end
  end
  table.sort(out)
  return out
end

return M
