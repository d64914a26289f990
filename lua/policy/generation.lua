-- A set of policies, whole or not at all: all files of one moment, compiled, linted, tested and tried, in a fence of their own.
--
--   generation.build(sources, samples) -> gen | nil, faults
--     sources: {["idle.lua"] = text, ["tests/idle.lua"] = text, ...}, the whole set; samples: {["idle.decide"] = {{input =,
--     now =, results = {...}}, ...}}, inputs of real decisions, or nil
--   A fault is {file =, line =, column =, text =}. All faults of a step are told at once; a step begins when the one before
--   found none: compile and lint, load, tests, tries (recorded inputs, then inputs by chance).
--
--   gen.hash         of all sources: the same set has the same
--   gen.files        {[name] = SHA-256 of its source}
--   gen.warnings     what the linter would rather not see, and names in data that nothing has
--   gen.changes      what the recorded inputs' verdicts would have become: {{name =, input =, now =, was =, is =}, ...}
--   gen:ask(name, input [, now]) -> true, results... | false, why     name as in "idle.decide"
--   gen:trace(name, input, now)  -> true, trace, results... | false, why, trace
--   gen:data(kind)   the table of a file that is data (plans), or whose functions wait (routes): without its functions
--   fence = gen:borrow(), gen:give_back(fence)    one for code that waits (policy/waiting.lua): nobody else's meanwhile
--   generation.fault_at(gen, file, text) -> a fault at the line of the field that the text names ("jobs[1].at: ...")
--   generation.revive(sources) -> gen | nil, faults    a set that was in force once: filled, not tried again. Waits for nothing
--   gen.on_failure   fn() for when its code that waits fails, or nil: whoever tries it sets this
--   gen:close()

local crypto = require "crypto"
local fence = require "fence"
local plain = require "plain"
local allowed = require "policy.allowed"
local kinds = require "policy.kinds"
local random = require "policy.random"
local slices = require "slices"
local sorted_keys = require "sorted_keys"

local M = {}
local Generation = {}
Generation.__index = Generation

-- What else a set must stand: fn(gen) -> why not, the kind's name | nil. [yields] Filled by those who use a kind.
M.checks = {}

local LIMITS = {} -- of a fence: those of fence.h
local TRIES = 200 -- inputs by chance for each function, before a set is taken
local RUNNER = "policy/runner"

-- Runs selftests and tests inside the fence.
local runner = [[
local function show(v)
  if type(v) == "string" then return "'" .. v .. "'" end
  return tostring(v)
end
local function is(got, want, what)
  if got ~= want then error((what and what .. ": " or "") .. "got " .. show(got) .. ", want " .. show(want), 2) end
end
local R = {}
function R.selftest(name)
  local P = use(name)
  if P.selftest then P.selftest(is) end
end
function R.names(name)
  local out = {}
  for title, fn in pairs(use(name)) do
    if type(fn) ~= "function" then error(name .. ": '" .. title .. "' is no function", 0) end
    out[#out + 1] = title
  end
  return out
end
function R.run(name, title) use(name)[title](is) end
return R
]]

-- ---- faults

-- "policies/idle.lua:12: why" -> a fault
local function fault_of(message, file)
  local path, line, why = message:match("^(policies/[%w_/.-]+%.lua):(%d+): (.*)$")
  if path then return { file = path:match("^policies/(.*)$"), line = tonumber(line), text = why } end
  return { file = file, line = 1, text = (message:gsub("^policies/" .. file:gsub("%p", "%%%0") .. ": ", "")) }
end
M.fault_of = fault_of

-- A fault of a file's data: its text begins with the field's name. (Required here, for most programs find none.)
local function fault_at(gen, file, text)
  return { file = file, line = require("policy.lint.place").line(gen.sources[file], text), text = text }
end
M.fault_at = fault_at

function M.text(fault)
  return ("%s:%d: %s"):format(fault.file, fault.line or 1, fault.text)
end

-- ---- files

local function is_test(name) return name:match("^tests/") ~= nil end
local function path_of(name) return "policies/" .. name end

-- Names in the order in which they are loaded: kinds as they stand on each other, then libraries and tests.
local function order(sources)
  local out, done = {}, {}
  for _, kind in ipairs(kinds.list) do
    local file = kinds[kind].file
    if sources[file] then
      out[#out + 1] = file
      done[file] = true
    end
  end
  local rest = sorted_keys(sources)
  for _, tests in ipairs { false, true } do
    for _, name in ipairs(rest) do
      if not done[name] and is_test(name) == tests then out[#out + 1] = name end
    end
  end
  return out
end

local function hash_of(sources)
  local parts, files = {}, {}
  for _, name in ipairs(sorted_keys(sources)) do
    files[name] = crypto.hex(crypto.sha256(sources[name]))
    parts[#parts + 1] = name .. " " .. files[name] .. "\n"
  end
  return crypto.hex(crypto.sha256(table.concat(parts))), files
end

-- The hash of a set, without building it.
function M.hash(sources) return (hash_of(sources)) end

-- ---- steps

local function unknown_files(sources)
  local faults = {}
  for _, name in ipairs(sorted_keys(sources)) do
    local kind = kinds.of_file(name)
    if not kind and not is_test(name) and not name:match("^lib_[%w_]+%.lua$") then
      local expected = {}
      for _, k in ipairs(kinds.list) do expected[#expected + 1] = kinds[k].file end
      table.sort(expected)
      faults[#faults + 1] = { file = name, line = 1, text = "no policy is called so; expected: " .. table.concat(expected, ", ")
        .. ", or lib_NAME.lua for what others use" }
    end
  end
  return faults
end

local function lint_all(gen)
  local lint = require "policy.lint" -- here, for most programs build none
  local faults = unknown_files(gen.sources)
  for _, name in ipairs(order(gen.sources)) do
    local kind = kinds.of_file(name)
    for _, f in ipairs(lint.check(name, gen.sources[name], allowed.of(kind), gen.pause)) do
      local list = f.level == "error" and faults or gen.warnings
      list[#list + 1] = f
    end
    gen.pause()
  end
  return faults
end

local function no_pause() end

-- A fence with the whole set in it. pause: between files. -> fence | nil, faults
local function fill(sources, pause)
  pause = pause or no_pause
  local f, faults = fence.new(LIMITS), {}
  f:pin(kinds.pins())
  for _, name in ipairs(order(sources)) do
    local kind = kinds.of_file(name)
    local ok, err = f:load(path_of(name), sources[name], kind and kind.host)
    if not ok then
      faults[#faults + 1] = fault_of(err.message, name)
      if f:spent() then break end
    end
    pause()
  end
  if #faults > 0 then
    f:close()
    return nil, faults
  end
  assert(f:load(RUNNER, runner))
  return f
end

-- The functions and the data of each kind, as the fence has them. -> faults
local function collect(gen)
  local faults = {}
  gen.spare = gen.spare or {}
  gen.fn, gen.tables = {}, {}
  for _, name in ipairs(kinds.list) do
    local kind = kinds[name]
    local path = path_of(kind.file)
    if kind.data and (gen.sources[kind.file] or not kind.optional) then
      local value, err = gen.fence:value(path, "")
      local why = not value and err.message or kind.data(value, function(field) return gen.fence:find(path, field) ~= nil end)
      if why then faults[#faults + 1] = fault_at(gen, kind.file, why) end
      gen.tables[name] = value
    end
    for fn in pairs(kind.functions) do
      gen.fn[name .. "." .. fn] = gen.fence:find(path, fn)
      if not gen.fn[name .. "." .. fn] then
        local fault = fault_at(gen, kind.file, "")
        fault.text = ("the function %s is missing"):format(fn)
        faults[#faults + 1] = fault
      end
    end
  end
  return faults
end

-- The same set in a fence that nothing has run in yet: in the place of one whose budget was exceeded, or that tests have used.
local function renew(gen)
  local another = assert(fill(gen.sources, gen.pause))
  gen.fence:close()
  gen.fence = another
  collect(gen)
end

-- Calls the runner; a spent fence is filled anew, for the next test to be told of its own faults. -> fault or nil
local function run(gen, file, what, ...)
  local f = gen.fence
  local ok, err = f:call(f:find(RUNNER, what), ...)
  if ok then return nil end
  if f:spent() then renew(gen) end
  return fault_of(err.message, file)
end

local function test_names(gen, file)
  local ok, names = gen.fence:call(gen.fence:find(RUNNER, "names"), path_of(file))
  if ok then return names end
  return {}, fault_of(names.message, file)
end

local function run_tests(gen)
  local faults = {}
  gen.tests = 0
  for _, file in ipairs(order(gen.sources)) do
    if is_test(file) then
      local names, fault = test_names(gen, file)
      faults[#faults + 1] = fault
      for _, title in ipairs(names) do
        local why = run(gen, file, "run", path_of(file), title)
        gen.tests = gen.tests + 1
        gen.pause()
        if why then
          why.text = ("test '%s': %s"):format(title, why.text)
          faults[#faults + 1] = why
        end
      end
    else
      local why = run(gen, file, "selftest", path_of(file))
      gen.pause()
      if why then
        why.text = "selftest: " .. why.text
        faults[#faults + 1] = why
      end
    end
  end
  renew(gen) -- what tests did to tables that they have from use is theirs
  return faults
end

local function now_of(spec, input) return spec.now and input.now or nil end

-- -> fault | nil, the answers
local function ask_all(gen, name, inputs)
  local spec, kind = kinds.find(name)
  local answers = {}
  for i, input in ipairs(inputs) do
    local got = { gen:ask(name, input.input, now_of(spec, input)) }
    gen.pause()
    if not got[1] then
      local fault = fault_of(got[2], kind.file)
      local ok, trace = gen:trace(name, input.input, now_of(spec, input))
      if ok and trace.last > 0 then fault.line = trace.last end -- it came to an end, but with what is no verdict
      fault.input = input
      return fault
    end
    answers[i] = got
  end
  return nil, answers
end

-- Asks again what all functions were asked, in the other order: what answers otherwise the second time remembers something,
-- or is told so by what another one has changed. -> fault
local function ask_again(gen, asked)
  for k = #asked, 1, -1 do
    local name, inputs, answers = unpack(asked[k])
    local spec, kind = kinds.find(name)
    for i = #inputs, 1, -1 do
      local got = { gen:ask(name, inputs[i].input, now_of(spec, inputs[i])) }
      gen.pause()
      if not plain.same(got, answers[i]) then
        local fault = fault_at(gen, kind.file, name:match("%w+$"))
        fault.input = inputs[i]
        fault.text = ("%s decides the same input differently the second time: it remembers something between decisions, or "
          .. "another file changes a table that it has from use"):format(name)
        return fault
      end
    end
  end
end

local function differs(was, is)
  if type(was) == "table" or type(is) == "table" then return not plain.same(was, is) end
  return was ~= is
end

local function check_uses(gen)
  local faults = {}
  for _, check in ipairs(M.checks) do
    local why, kind = check(gen)
    if why then faults[#faults + 1] = fault_at(gen, kinds[kind].file, why) end
  end
  for _, name in ipairs(kinds.list) do
    local kind = kinds[name]
    for _, text in ipairs(kind.doubts and kind.doubts(gen.tables[name]) or {}) do
      gen.warnings[#gen.warnings + 1] = fault_at(gen, kind.file, text)
    end
  end
  return faults
end

local function add_chance(gen, inputs, by_chance, spec)
  for _ = 1, TRIES do
    local now = 1700000000 + by_chance:below(100000000)
    inputs[#inputs + 1] = { input = by_chance:input(spec.input, now), now = now }
    gen.pause()
  end
end

local function try(gen, samples)
  local faults, asked = {}, {}
  local by_chance = random.new(1)
  for _, name in ipairs(kinds.functions()) do
    local recorded = samples and samples[name] or {}
    local inputs = { unpack(recorded) }
    add_chance(gen, inputs, by_chance, kinds.find(name))
    local fault, answers = ask_all(gen, name, inputs)
    for i, sample in ipairs(answers and recorded or {}) do
      if differs(sample.results[1], answers[i][2]) then
        gen.changes[#gen.changes + 1] = { name = name, input = sample.input, now = sample.now, was = sample.results,
          is = { unpack(answers[i], 2) } }
      end
    end
    faults[#faults + 1] = fault
    asked[#asked + 1] = answers and { name, inputs, answers }
  end
  if #faults == 0 then faults[1] = ask_again(gen, asked) end
  return faults
end

function M.build(sources, samples)
  local gen = setmetatable({ sources = sources, warnings = {}, changes = {}, lines = {}, pause = slices.new() }, Generation)
  gen.hash, gen.files = hash_of(sources)
  local faults = lint_all(gen)
  if #faults > 0 then return nil, faults end
  gen.fence, faults = fill(sources, gen.pause)
  if not gen.fence then return nil, faults end
  for _, step in ipairs { collect, check_uses, run_tests, try } do
    gen.pause()
    faults = step(gen, samples)
    if #faults > 0 then
      gen:close()
      return nil, faults
    end
  end
  gen.pause = nil
  return gen
end

-- ---- asking

local function judged(gen, spec, ok, ...)
  if not ok then
    if gen.fence:spent() then renew(gen) end
    return false, (...).message
  end
  local why = kinds.fault(spec, ...)
  if why then return false, why end
  return true, ...
end

-- Where a function stands. Looked for once.
local function line_of(gen, name)
  if not gen.lines[name] then
    local kind, fn = name:match("^(%w+)%.(%w+)$")
    gen.lines[name] = fault_at(gen, kinds[kind].file, fn).line
  end
  return gen.lines[name]
end

function Generation:ask(name, input, now)
  local ok, why, reason, third = judged(self, kinds.find(name), self.fence:call(self.fn[name], input, now))
  if ok or why:find("^policies/") then return ok, why, reason, third end
  return false, ("%s:%d: %s"):format(path_of(kinds[name:match("^%w+")].file), line_of(self, name), why)
end

function Generation:trace(name, input, now)
  local got = { self.fence:trace(self.fn[name], input, now) }
  if got[1] then return unpack(got) end
  if self.fence:spent() then renew(self) end
  return false, got[2].message, got[3]
end

-- Calls decide(input, now) again and again (fence:sweep). -> k, results... | nil, why, k
function Generation:sweep(name, ...)
  local k, verdict, reason = self.fence:sweep(self.fn[name], ...)
  if k == nil then
    if self.fence:spent() then renew(self) end
    return nil, verdict.message, reason
  end
  return k, verdict, reason
end

-- Calls name(input, now) with other values of fields (fence:vary). -> k, and results when one was another | nil, why, k
local function varied(gen, k, ...)
  if k ~= nil then return k, ... end
  if gen.fence:spent() then renew(gen) end
  local err, at = ...
  return nil, err.message, at
end

function Generation:vary(name, ...) return varied(self, self.fence:vary(self.fn[name], ...)) end

function Generation:data(kind) return self.tables[kind] end

local SPARE = 8 -- fences kept for the next that waits

function Generation:borrow()
  local n = #self.spare
  local f = self.spare[n]
  self.spare[n] = nil
  return f or assert(fill(self.sources))
end

function Generation:give_back(f)
  if f:spent() or #self.spare >= SPARE or not self.fence then return f:close() end
  self.spare[#self.spare + 1] = f
end

function M.revive(sources)
  local gen = setmetatable({ sources = sources, warnings = {}, changes = {}, lines = {} }, Generation)
  local faults
  gen.hash, gen.files = hash_of(sources)
  gen.fence, faults = fill(sources)
  if not gen.fence then return nil, faults end
  faults = collect(gen)
  if #faults > 0 then return nil, faults end
  return gen
end

function Generation:close()
  if self.fence then self.fence:close() end
  for _, f in ipairs(self.spare or {}) do f:close() end
  self.fence, self.spare = nil, {}
end

return M
