-- cchost whatif, on a store whose machines have labelled traces as their history.
local t = require "t"
local fs = require "fs"
local json = require "json"
local sys = require "sys"

local dir = t.tmpdir()
local function cchost(...)
  local line = { "/proc/self/exe", ... }
  for i, word in ipairs(line) do line[i] = word end
  return assert(sys.run(line))
end
local made = cchost("tests/bench/fill_traces.lua", dir .. "/data", "12", "7")
assert(made.exit == 0, made.stderr)

local function whatif(...)
  return cchost("whatif", "--data-dir=" .. dir .. "/data", "--since=2026-06-01", "--until=2026-06-08", ...)
end
local function file(name, text)
  assert(fs.write(dir .. "/" .. name, text))
  return dir .. "/" .. name
end

local shipped = assert(fs.read("policies/idle.lua"))

t.test("the policies in force against themselves: no difference", function()
  local r = whatif(file("idle.lua", shipped .. "\n"), "--json")
  t.eq(r.exit, 0, r.stderr)
  local told = json.decode(r.stdout)
  t.eq(told.machines, 12)
  t.eq(told.recorded_ms, 12 * 7 * 86400000)
  for f, v in pairs(told.total.before) do t.eq(told.total.after[f], v, f) end
  t.ok(told.total.before.ms > 0 and told.total.before.ms < told.recorded_ms)
  t.eq(#told.users, 0)
  t.eq(#told.days, 7)
  t.eq(told.days[1].day, "2026-06-01")
  local sum = 0
  for _, d in ipairs(told.days) do sum = sum + d.after end
  t.eq(sum, told.total.after.ms)
  t.eq(told.model.delay_seconds, 60)
  t.eq(told.failed.after, 0)
end)

t.test("a tighter plan, as text", function()
  local plans = assert(fs.read("policies/plans.lua")):gsub("2 %* HOUR", "20 * 60")
  local r = whatif(file("plans.lua", plans))
  t.eq(r.exit, 0, r.stderr)
  for _, sign in ipairs { "12 machines from 2026%-06%-01", "machine%-hours +%d+%.%d +%d+%.%d +%-%d",
    "of someone at work +%d+ +%d+ +%+%d+", "most affected", "Model: decisions every 300 s", "wakes it: it runs 60 s later" } do
    t.match(r.stdout, sign)
  end
end)

t.test("a folder, and a file that says its kind", function()
  assert(sys.run { "mkdir", dir .. "/set" })
  file("set/idle.lua", assert(fs.read("examples/policies/fly.lua")))
  local a = json.decode(whatif(dir .. "/set", "--json").stdout)
  local b = json.decode(whatif("examples/policies/fly.lua", "--json").stdout)
  for f, v in pairs(a.total.after) do t.eq(b.total.after[f], v, f) end
  t.ok(a.total.after.agents > a.total.before.agents)
  t.ok(#a.users > 0 and #a.users <= 10)
end)

t.test("another interval is the model's", function()
  local r = json.decode(whatif("examples/policies/fly.lua", "--json", "--interval=60").stdout)
  t.eq(r.model.interval_seconds, 60)
end)

t.test("a candidate that would be refused is refused, with its line", function()
  local r = whatif(file("idle.lua", "local P = { kind = 'idle' }\nfunction P.decide(m) return m.nothing.more end\nreturn P\n"))
  t.eq(r.exit, 1); t.match(r.stderr, "^cchost: idle%.lua:1: the function lease is missing"); t.eq(r.stdout, "")
  r = whatif(file("idle.lua", "return {\n"))
  t.eq(r.exit, 1); t.match(r.stderr, "^cchost: idle%.lua:%d: ")
  r = whatif(file("idle.lua", shipped:gsub("m%.turn", "m.turns.x", 1)))
  t.eq(r.exit, 1); t.match(r.stderr, "idle%.lua:%d+: ")
end)

t.test("a candidate that fails now and then is told of", function()
  local odd = shipped:gsub('if m.turn ',
    'if m.created_at == 1780272000 and now %% 7 == 0 then return m.no.such, "x" end\n  if m.turn ', 1)
  local r = whatif(file("idle.lua", odd))
  t.eq(r.exit, 0, r.stderr)
  t.match(r.stdout, "%d+ decisions of the candidate failed; each was taken as keep:\n")
  t.match(r.stdout, "\n +%d+  policies/idle%.lua:%d+: attempt to index")
end)

t.test("what cannot be understood ends with 2; what is not there with 1", function()
  local wrong = { {}, { "--null", "idle.lua" }, { "--since=soon", "policies/idle.lua" }, { dir .. "/data/store/data.mdb" } }
  for _, words in ipairs(wrong) do
    t.eq(cchost("whatif", "--data-dir=" .. dir .. "/data", unpack(words)).exit, 2, table.concat(words, " "))
  end
  t.eq(cchost("whatif", "--data-dir=" .. dir .. "/data", dir .. "/none.lua").exit, 1)
  t.eq(cchost("whatif", "--data-dir=" .. dir .. "/none", "policies/idle.lua").exit, 1)
  t.eq(cchost("whatif", "--help").exit, 0)
end)

-- Bug: behind an action, "an option is no setting" was the answer.
t.test("--help behind an action or an argument helps", function()
  for _, words in ipairs { { "policy", "stage", "--help" }, { "explain", "first", "--help" }, { "whatif", "x.lua", "-h" } } do
    local r = cchost(unpack(words))
    t.eq(r.exit, 0, r.stderr); t.match(r.stdout, "^usage: cchost " .. words[1])
  end
end)

return t.done()
