-- Why a decision came out as it did: the line that decided, the inputs that it looked at, and the smallest change of one
-- input that would have flipped it.
--
--   explain.flips(gen, name, input, now) -> {flip...}, the smallest first; {}: no single change does    [yields]
--       flip: {field =, from =, to = (nil: absent), rank =, verdict =, reason =, text =, apart = say.lua names it in any case}
--   explain.ask(gen, name, input, now) -> verdict, reason [, why it failed]     the policy's answer, or the safe one
--   explain.decision(gen, name, input, now) -> all that is known of it    [yields]
--       {verdict =, reason =, failed = why the policy had none, generation =, file =, line =, lines =, source = the line's text,
--       reads = {names}, flips =, text = one sentence}
--
-- One input at a time, over every point of its grid (policy/grid.lua), nearest first; what is derived of it goes with it. So
-- "no single change" is exact. It is affordable because a decision is a function: fields that it did not look at cannot have
-- mattered, and a point at which all that it looked at is as it was needs not be asked. Flips are in the order of their
-- ranks, then of their fields' names.

local generation = require "policy.generation"
local grid = require "policy.grid"
local kinds = require "policy.kinds"
local plain = require "plain"
local say = require "policy.say"
local sys = require "sys"
local task = require "task"

local M = {}

local BLOCK = 2048    -- points asked at once, at most
local LOOKED = 4096   -- points looked at for them
local SLICE_MS = 2    -- then others run

M.stats = { asked = 0 } -- points that the policy was asked about

local function sorted(map)
  local out = {}
  for name in pairs(map) do out[#out + 1] = name end
  table.sort(out)
  return out
end

-- ---- asking

-- What is done about results: those, or the safe ones. -> verdict, reason, why it failed
local function judged(spec, input, ...)
  local why = kinds.fault(spec, ...)
  if not why then return ... end
  local verdict, reason = spec.safe(input, "the policy failed: " .. why)
  return verdict, reason, why
end

function M.ask(gen, name, input, now)
  local ok, a, b, c = gen:ask(name, input, now)
  if ok then return a, b, nil, { a, b, c } end
  local verdict, reason = kinds.find(name).safe(input, "the policy failed: " .. a)
  return verdict, reason, a
end
local ask = M.ask

-- ---- one field

-- A decision and what is known of it while its fields are tried.
--   q: {gen =, name =, spec =, input =, now =, told = the `now` that the function is given, verdict =, results = those of the
--   policy, or nil; read = the fields that it looked at, or nil: any}

local function matters(q, names)
  if not q.read then return true end
  for _, name in ipairs(names) do
    if q.read[name] then return true end
  end
  return false
end

-- The next points of a field that could flip it, `most` at most, as fence:vary wants them. -> block
-- block.over: all were looked at
local function take(q, points, field, names, most)
  local fields, input = q.spec.input, q.input
  local w, read = q.work, q.read
  local block = { n = 0, values = {}, absent = {}, to = {}, rank = {} }
  for _ = 1, LOOKED do
    if block.n == most then break end
    local value, rank = points()
    block.over = value == nil
    if block.over then break end
    if value == grid.ABSENT then value = nil end
    w[field] = value
    for _, name in ipairs(names) do
      local f = fields[name]
      if f.derived then w[name] = f.derived(w) end
    end
    local other = not read
    for _, name in ipairs(names) do other = other or read[name] and w[name] ~= input[name] end
    if w[field] == value and other then
      local n = block.n
      for i, name in ipairs(names) do
        local v, at = w[name], n * #names + i
        block.absent[at] = v == nil
        if v == nil then v = false end
        block.values[at] = v
      end
      block.n = n + 1
      block.to[n + 1], block.rank[n + 1] = value == nil and grid.ABSENT or value, rank
    end
    for _, name in ipairs(names) do w[name] = input[name] end
  end
  return block
end

local function input_at(q, block, names, i)
  local out = {}
  for k, v in pairs(q.input) do out[k] = v end
  for j, name in ipairs(names) do
    local at = (i - 1) * #names + j
    if block.absent[at] then out[name] = nil else out[name] = block.values[at] end
  end
  return out
end

-- The first point of a block, behind the first `from`, whose results are others. -> its place, verdict, reason | nil
local function next_other(q, block, names, from)
  local values, absent = block.values, block.absent
  if from > 0 then
    values, absent = {}, {}
    for i = from * #names + 1, block.n * #names do
      values[#values + 1], absent[#absent + 1] = block.values[i], block.absent[i]
    end
  end
  local k, a, b, c
  if q.results then k, a, b, c = q.gen:vary(q.name, q.input, q.told, q.results, names, values, absent) else k = 0 end
  local failed = k == nil
  local at = from + (failed and b or k) + 1
  M.stats.asked = M.stats.asked + at - from
  if at > block.n then return nil end
  local input = input_at(q, block, names, at)
  if failed or not q.results then return at, ask(q.gen, q.name, input, q.told) end
  return at, judged(q.spec, input, a, b, c)
end

local function pause(q)
  if sys.cpu_ms() - q.begun < SLICE_MS then return end
  task.sleep(0)
  q.begun = sys.cpu_ms()
end

-- The nearest point of a field that flips it. -> flip | nil
local function flip_of(q, field)
  local f = q.spec.input[field]
  local names = grid.with(q.spec.input, field)
  if not matters(q, names) then return nil end
  local points = grid.each(f, q.input[field], q.input, q.now)
  local most = 32
  while true do
    local block = take(q, points, field, names, most)
    local at = 0
    while at and at < block.n do
      local verdict, reason
      at, verdict, reason = next_other(q, block, names, at)
      if at and not plain.same(verdict, q.verdict) then
        local to = block.to[at]
        if to == grid.ABSENT then to = nil end
        local from = q.input[field]
        return { field = field, from = from, to = to, rank = block.rank[at], verdict = verdict, reason = reason,
          text = say.change(field, f, from, to, q.now), apart = from == nil and f.future }
      end
    end
    if block.over then return nil end
    most = math.min(most * 4, BLOCK)
    pause(q)
  end
end

-- ---- a decision

local function trace(gen, name, input, now)
  local got = { gen:trace(name, input, now) }
  return got[1] and got[2] or got[3] or { lines = {} }, got[1]
end

local function read_of(spec, t, ok)
  if not t.reads or not ok then return nil end -- one that ran out of its budget may have looked at less than another time
  local read = {}
  for _, name in ipairs(t.reads) do read[name] = spec.input[name] and true or nil end
  return read
end

local function flips_of(q)
  local flips = {}
  for _, field in ipairs(sorted(q.spec.input)) do flips[#flips + 1] = flip_of(q, field) end
  table.sort(flips, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.field < b.field
  end)
  return flips
end

local function question(gen, name, input, now)
  local spec = kinds.find(name)
  local q = { gen = gen, name = name, spec = spec, input = input, now = now, told = spec.now and now or nil, work = {},
    begun = sys.cpu_ms() }
  for k, v in pairs(input) do q.work[k] = v end
  local t, ok = trace(gen, name, input, q.told)
  q.trace, q.read = t, read_of(spec, t, ok)
  q.verdict, q.reason, q.failed, q.results = ask(gen, name, input, q.told)
  return q
end

function M.flips(gen, name, input, now) return flips_of(question(gen, name, input, now)) end

local function line_of(source, n)
  local i = 0
  for line in (source .. "\n"):gmatch("(.-)\r?\n") do
    i = i + 1
    if i == n then return line end
  end
end

function M.decision(gen, name, input, now)
  local spec, kind = kinds.find(name)
  local q = question(gen, name, input, now)
  local flips, reads = flips_of(q), nil
  if q.read then reads = sorted(q.read) end
  local fault = q.failed and generation.fault_of(q.failed, kind.file)
  local line = fault and fault.line or q.trace.last
  return {
    verdict = q.verdict, reason = q.reason, failed = q.failed, generation = gen.number, file = kind.file, line = line,
    lines = q.trace.lines, source = line and line_of(gen.sources[kind.file], line), reads = reads, flips = flips,
    text = say.flips(spec, q.verdict, flips),
  }
end

return M
