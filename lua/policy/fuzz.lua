-- Inputs by chance against a set of policies, and the smallest input that shows what was found.
--
--   fuzz.run(sources, {count = inputs of each function, seed =, seconds = or nil, only = kind's name or nil}) -> found, told
--     [yields] found: nil, or {name = "idle.decide", file =, line =, text =, input =, now =, number = which input it was, seed =,
--       before = {input =, now =} or nil: what must be asked first}      told: {inputs = how many were tried, seed =}
--     nil, nil, faults when the set cannot be loaded
--   fuzz.lua_of(value) -> a value as Lua reads it
--
-- What is looked for: errors, verdicts that there are not, budgets, and answers that depend on what was decided before. The same
-- seed finds the same. Found inputs are made smaller while they still show it: optional fields go, values become simpler; an
-- input always is one that could be (policy/grid.lua).

local generation = require "policy.generation"
local grid = require "policy.grid"
local kinds = require "policy.kinds"
local plain = require "plain"
local random = require "policy.random"
local task = require "task"
local time = require "time"

local M = {}

local BATCH = 100 -- inputs asked in both orders
local NOW = 1700000000

local function sorted(map)
  local out = {}
  for name in pairs(map) do out[#out + 1] = name end
  table.sort(out, function(a, b) return tostring(a) < tostring(b) end)
  return out
end

-- ---- asking

local function ask(gen, name, case) return { gen:ask(name, case.input, kinds.find(name).now and case.now or nil) } end

local function fresh(sources) return assert(generation.revive(sources)) end

local function fault_of(name, why)
  local _, kind = kinds.find(name)
  return generation.fault_of(why, kind.file)
end

-- Values in a message change with the input: what stays says which fault it is.
local function mark(fault)
  local text = fault.text:gsub("%d+", "#"):gsub("'[^']*'", "'#'")
  return ("%s:%d:%s"):format(fault.file, fault.line or 1, text:sub(1, 60))
end

-- Why this input fails by itself, or nil.
local function failure(gen, name, case)
  local got = ask(gen, name, case)
  if got[1] then return nil end
  local fault = fault_of(name, got[2])
  local ok, trace = gen:trace(name, case.input, kinds.find(name).now and case.now or nil)
  if ok and trace.last > 0 then fault.line = trace.last end -- it came to an end, but with what is no verdict
  return fault
end

-- Whether a fresh set answers `case` otherwise after `before`.
local function depends(sources, name, before, case)
  local gen = fresh(sources)
  local first = ask(gen, name, case)
  ask(gen, name, before)
  local second = ask(gen, name, case)
  gen:close()
  if plain.same(first, second) then return nil end
  local _, kind = kinds.find(name)
  return { file = kind.file, line = 1,
    text = "the same input is decided differently after another decision: something is remembered" }
end

-- ---- making smaller

local simpler = {}

function simpler.text() return { "", "a" } end
function simpler.time(_, v, now) return { now, now - 1, now - 60, now - 3600, math.floor((v + now) / 2) } end
function simpler.count(_, v) return { 0, 1, math.floor(v / 2), v - 1 } end
function simpler.number(f, v) return { f.min, f.min + f.step * math.floor((v - f.min) / f.step / 2) } end
function simpler.flag() return { false } end
function simpler.enum(f) return { f.of[1] } end

function simpler.map(_, v)
  local out = { {} }
  for _, gone in ipairs(sorted(v)) do
    local less = {}
    for k, x in pairs(v) do
      if k ~= gone then less[k] = x end
    end
    out[#out + 1] = less
  end
  for _, name in ipairs(sorted(v)) do
    local other = {}
    for k, x in pairs(v) do other[k] = x end
    other[name] = ""
    out[#out + 1] = other
  end
  return out
end

-- How much there is to an input: less is simpler.
local weigh = {}

function weigh.text(_, v) return #v end
function weigh.time(_, v, now) return math.log(1 + math.abs(v - now)) + (v > now and 1 or 0) end
function weigh.flag(_, v) return v and 1 or 0 end
function weigh.enum(f, v) return v == f.of[1] and 0 or 1 end
function weigh.count(_, v) return math.log(1 + v) end
function weigh.number(f, v) return math.log(1 + math.abs(v - f.min)) end

function weigh.map(_, v)
  local n = 0
  for k, x in pairs(v) do n = n + 100 + #k + #x end
  return n
end

local function weight(fields, case)
  local n = 0
  for name, v in pairs(case.input) do
    local f = fields[name]
    n = n + (f.optional and 1000 or 0) + weigh[f[1]](f, v, case.now)
  end
  return n
end

-- An input like this one that a machine could have: within its bounds, what is derived settled.
local function changed(fields, case, name, value)
  local f = fields[name]
  if type(value) == "number" and (value < (f.min or 0) or value > (f.max or math.huge)) then return nil end
  if f[1] == "time" and value and (f.past and value > case.now or f.future and value <= case.now) then return nil end
  if f.most and case.input[f.most] and value and value > case.input[f.most] then return nil end
  if f.least and case.input[f.least] and value and value < case.input[f.least] then return nil end
  local input = grid.change(fields, case.input, name, value == nil and grid.ABSENT or value)
  return input and { input = input, now = case.now }
end

local function candidates(fields, case, name)
  local f, v, out = fields[name], case.input[name], {}
  if v == nil then return out end
  if f.optional then out[1] = changed(fields, case, name, nil) end
  for _, value in ipairs(simpler[f[1]](f, v, case.now)) do
    local c = not plain.same(value, v) and changed(fields, case, name, value)
    if c then out[#out + 1] = c end
  end
  return out
end

-- The simplest input found from `case` for which `shows` is still true.
local function shrink(fields, case, shows)
  local again
  repeat
    again = false
    for _, name in ipairs(sorted(fields)) do
      for _, c in ipairs(candidates(fields, case, name)) do
        if weight(fields, c) < weight(fields, case) - 1e-9 and shows(c) then
          case, again = c, true
          break
        end
      end
    end
    task.sleep(0)
  until not again
  return case
end

-- ---- looking

local function found(name, fault, case, before, number)
  return { name = name, file = fault.file, line = fault.line, text = fault.text, input = case.input, now = case.now,
    before = before, number = number }
end

local function shrink_failure(gen, name, fields, case, fault, number)
  local which = mark(fault)
  case = shrink(fields, case, function(c)
    local why = failure(gen, name, c)
    return why and mark(why) == which
  end)
  return found(name, failure(gen, name, case) or fault, case, nil, number)
end

-- Which of the inputs must be asked first for one to be answered otherwise.
local function shrink_dependence(sources, name, fields, batch, i, number)
  for j = 0, #batch do
    local before = batch[j] or batch[i]
    local fault = depends(sources, name, before, batch[i])
    if fault then
      local case = shrink(fields, batch[i], function(c) return depends(sources, name, before, c) ~= nil end)
      before = shrink(fields, before, function(b) return depends(sources, name, b, case) ~= nil end)
      return found(name, fault, case, before, number + i)
    end
  end
  local _, kind = kinds.find(name)
  local fault = { file = kind.file, line = 1, text = "the same input is decided differently later: something is remembered" }
  return found(name, fault, batch[i], nil, number + i)
end

-- One batch in both orders. -> what was found, or nil
local function try(gen, sources, name, batch, number)
  local fields, answers = kinds.find(name).input, {}
  for i, case in ipairs(batch) do
    answers[i] = ask(gen, name, case)
    if not answers[i][1] then
      return shrink_failure(gen, name, fields, case, failure(gen, name, case) or fault_of(name, answers[i][2]), number + i)
    end
  end
  for i = #batch, 1, -1 do
    local again = ask(gen, name, batch[i])
    if not again[1] then return shrink_failure(gen, name, fields, batch[i], fault_of(name, again[2]), number + i) end
    if not plain.same(again, answers[i]) then return shrink_dependence(sources, name, fields, batch, i, number) end
  end
end

local function batch_of(r, spec, n)
  local out = {}
  for i = 1, n do
    local now = NOW + r:below(100000000)
    out[i] = { input = r:input(spec.input, now), now = now }
  end
  return out
end

function M.run(sources, options)
  local gen, faults = generation.revive(sources)
  if not gen then return nil, nil, faults end
  local told = { inputs = 0, seed = options.seed }
  local ends = options.seconds and time.mono() + options.seconds * 1000
  local by_chance, names, number = {}, {}, 0
  for i, name in ipairs(kinds.functions()) do
    if not options.only or name:match("^%w+") == options.only then
      names[#names + 1] = name
      by_chance[name] = random.new(options.seed * 1000 + i)
    end
  end
  while #names > 0 and (ends and time.mono() < ends or not ends and number < options.count) do
    local n = ends and BATCH or math.min(BATCH, options.count - number)
    for _, name in ipairs(names) do
      local what = try(gen, sources, name, batch_of(by_chance[name], kinds.find(name), n), number)
      told.inputs = told.inputs + n
      if what then
        what.seed = options.seed
        gen:close()
        return what, told
      end
      task.sleep(0)
    end
    number = number + n
  end
  gen:close()
  return nil, told
end

-- ---- as Lua

function M.lua_of(v)
  if type(v) == "string" then return (("%q"):format(v):gsub("\\\n", "\\n")) end
  if type(v) ~= "table" then return type(v) == "number" and ("%.14g"):format(v) or tostring(v) end
  local parts = {}
  for _, k in ipairs(sorted(v)) do
    local key = type(k) == "string" and (k:match("^[%a_][%w_]*$") and k or "[" .. M.lua_of(k) .. "]") or "[" .. tostring(k) .. "]"
    parts[#parts + 1] = key .. " = " .. M.lua_of(v[k])
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

return M
