-- Why a decision came out as it did: the line that decided, the inputs that it looked at, and the smallest change of one
-- input that would have flipped it.
--
--   explain.flips(gen, name, input, now) -> {flip...}, the smallest first; {}: no single change does [, true: not all of the
--       grid was looked at, for the decision is so slow that explain.budget_ms of CPU time were over]    [yields]
--       flip: {field =, from =, to = (nil: absent), rank =, verdict =, reason =, text =, apart = say.lua names it in any case}
--   explain.ask(gen, name, input, now) -> verdict, reason [, why it failed]     the policy's answer, or the safe one
--   explain.decision(gen, name, input, now) -> all that is known of it    [yields]
--       {verdict =, reason =, failed = why the policy had none, generation =, file =, line =, lines =, source = the line's text,
--       reads = {names}, flips =, partial = true when not all of the grid was looked at, text = one sentence}
--
-- One input at a time, over every point of its grid (policy/grid.lua), nearest first; what is derived of it goes with it. So
-- "no single change" is exact. It is affordable because a decision is a function: fields that it did not look at cannot have
-- mattered, and a point at which all that it looked at is as it was needs not be asked. Flips are in the order of their
-- ranks, then of their fields' names.

local plain = require "plain"
local generation = require "policy.generation"
local grid = require "policy.grid"
local kinds = require "policy.kinds"
local say = require "policy.say"
local sorted_keys = require "sorted_keys"
local sys = require "sys"
local task = require "task"

local M = {}

local BLOCK = 2048    -- points asked at once, at most
local LOOKED = 4096   -- points looked at for them
local SLICE_MS = 2    -- then others run

M.stats = { asked = 0 } -- points that the policy was asked about
M.budget_ms = 5000      -- of CPU time, for one explanation

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

-- Whether there is time left for more points. [yields]
local function go_on(q)
  local used = sys.cpu_ms() - q.begun
  if used >= SLICE_MS then
    q.spent = q.spent + used
    task.sleep(0)
    q.begun = sys.cpu_ms()
  end
  if q.spent >= M.budget_ms then q.partial = true end
  return not q.partial
end

-- The next points of a block, from place `from` on. -> the place behind those that are looked at, and when the last of
-- them has another result, that: verdict, reason
local function look(q, block, names, from)
  local values, absent = block.values, block.absent
  if from > 1 then
    values, absent = {}, {}
    for i = (from - 1) * #names + 1, block.n * #names do
      values[#values + 1], absent[#absent + 1] = block.values[i], block.absent[i]
    end
  end
  local function seen(n, k, a, b, c)
    if n == 1 then return from + k end -- all that there was time for are alike
    if k then return from + k + 1, judged(q.spec, input_at(q, block, names, from + k), a, b, c) end
    return from + b + 1, q.spec.safe(input_at(q, block, names, from + b), "the policy failed: " .. a)
  end
  local function counted(...) return seen(select("#", ...), ...) end
  if q.results then return counted(q.gen:vary(q.name, q.input, q.told, q.results, names, values, absent)) end
  return from + 1, ask(q.gen, q.name, input_at(q, block, names, from), q.told)
end

local function flip_at(q, field, block, at, verdict, reason)
  local f, from, to = q.spec.input[field], q.input[field], block.to[at]
  if to == grid.ABSENT then to = nil end
  return { field = field, from = from, to = to, rank = block.rank[at], verdict = verdict, reason = reason,
    text = say.change(field, f, from, to, q.now), apart = from == nil and f.future }
end

-- The nearest point of a field that flips it. -> flip | nil
local function flip_of(q, field)
  local names = grid.with(q.spec.input, field)
  if not matters(q, names) then return nil end
  local points = grid.each(q.spec.input[field], q.input[field], q.input, q.now)
  local most = 32
  repeat
    local block = take(q, points, field, names, most)
    local at = 1
    while at <= block.n and go_on(q) do
      local behind, verdict, reason = look(q, block, names, at)
      M.stats.asked, at = M.stats.asked + behind - at, behind
      if verdict ~= nil and not plain.same(verdict, q.verdict) then
        return flip_at(q, field, block, at - 1, verdict, reason)
      end
    end
    most = math.min(most * 4, BLOCK)
  until block.over or not go_on(q)
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
  for _, field in ipairs(sorted_keys(q.spec.input)) do flips[#flips + 1] = flip_of(q, field) end
  table.sort(flips, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.field < b.field
  end)
  return flips
end

local function question(gen, name, input, now)
  local spec = kinds.find(name)
  local q = { gen = gen, name = name, spec = spec, input = input, now = now, told = spec.now and now or nil, work = {},
    begun = sys.cpu_ms(), spent = 0 }
  for k, v in pairs(input) do q.work[k] = v end
  local t, ok = trace(gen, name, input, q.told)
  q.trace, q.ended, q.read = t, ok, read_of(spec, t, ok)
  q.verdict, q.reason, q.failed, q.results = ask(gen, name, input, q.told)
  return q
end

function M.flips(gen, name, input, now)
  local q = question(gen, name, input, now)
  return flips_of(q), q.partial
end

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
  if q.read then reads = sorted_keys(q.read) end
  local fault = q.failed and generation.fault_of(q.failed, kind.file)
  local line = not q.ended and fault and fault.line or q.trace.last -- one that came to an end did so at its verdict
  return {
    verdict = q.verdict, reason = q.reason, failed = q.failed, generation = gen.number, file = kind.file, line = line,
    lines = q.trace.lines, source = line and line_of(gen.sources[kind.file], line), reads = reads, flips = flips,
    text = say.flips(spec, q.verdict, flips, q.partial), partial = q.partial,
  }
end

return M
