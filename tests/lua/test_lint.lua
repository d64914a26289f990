-- What is said of policy files before they run: each case is a file, and the faults expected, as "line: text".
local t = require "t"
local allowed = require "policy.allowed"
local fs = require "fs"
local kinds = require "policy.kinds"
local lint = require "policy.lint"
local spelling = require "spelling"
local sys = require "sys"
local time = require "time"

local decision = allowed.of(nil)

local workflow = { globals = { "error", "ipairs", "pairs", "string", "store", "time.now", "log" }, effects = true }

local function told(source, kind)
  local out = {}
  for _, f in ipairs(lint.check("p.lua", source, kind)) do
    t.eq(f.file, "p.lua")
    t.ok(f.column >= 1)
    out[#out + 1] = ("%d: %s%s"):format(f.line, f.level == "warning" and "warning: " or "", f.text)
  end
  return table.concat(out, "\n")
end

local UNDO = " has run and no undo; write undo, or no_undo = \"why nothing is to be undone\""
local MEMORY = " remembers something between two decisions; a decision may use only its arguments"

-- name -> {source, faults expected...}; the kind is a decision's unless the table has one
local cases = {
  ["nothing"] = { "" },
  ["a whole decision"] = { [[
local HOUR = 3600
local P = { kind = "idle", name = "two hours" }
P.limits = { free = HOUR }
for _, n in ipairs { 1, 2 } do P.limits[n] = n * HOUR end
local function idle(m, now) return now - m.last end
function P.decide(m, now)
  local n = 0
  for _, s in ipairs(m.signals) do n = n + s.bytes; s.seen = true end
  m.total = n
  if idle(m, now) > (P.limits[m.plan] or HOUR) then return "stop", ("unused: %d"):format(n) end
  goto keep
  ::keep::
  return "keep", "in use"
end
return P
]] },

  -- syntax
  ["an end that is missing"] = { [[
local function f(x)
  if x then
    return 1

end
return f

]],
    "5: expected 'end' (to close 'if' on line 2) near less indented 'end' (indentation-based guess)" },
  ["a slip of syntax"] = { "local x = = 2\n", "1: expected expression near '='" },
  ["what only later Luas know"] = { "local x = 7 // 2\nreturn x\n", "1: unexpected symbol near '/'" },
  ["a break outside"] = { "break\n", "1: 'break' is not inside a loop" },
  ["too many locals"] = { ("local a = 1\n"):rep(201), "201: main function has more than 200 local variables" },
  ["no text: compiled code"] = { string.dump(function() return 1 end), "1: this is compiled code; a policy is a text" },
  ["no text: only its first byte"] = { "\27LJ", "1: this is compiled code; a policy is a text" },
  ["no text: NUL"] = { "return\n  '\0'", "2: a NUL byte; a policy is a text" },
  ["no text: too much"] = { ("-- x\n"):rep(209716), "1: the file has 1048580 bytes; a policy file may have 131072" },
  ["a byte order mark"] = { "\239\187\191return 1\n" },

  -- names
  ["a library misspelt"] = { "return strng.format('x')", "1: undefined name 'strng'; did you mean 'string'?" },
  ["a member misspelt"] = { "return string.fromat('x')", "1: unknown field 'string.fromat'; did you mean 'string.format'?" },
  ["a member of another library"] = { "return math.format('x')",
    "1: unknown field 'math.format'; did you mean 'string.format'?" },
  ["a member without its library"] = { "return max(1, 2)", "1: undefined name 'max'; did you mean 'math.max'?" },
  ["a member behind a local"] = { "local s = string\nlocal f = s.fromat\nreturn f('x')",
    "2: unknown field 'string.fromat'; did you mean 'string.format'?" },
  ["a method of a literal"] = { "return ('%d'):fromat(1)", "1: unknown field 'string.fromat'; did you mean 'string.format'?" },
  ["a member of bit"] = { "return bit.band(1, 3), bit.bnad(1, 3)", "1: unknown field 'bit.bnad'; did you mean 'bit.band'?" },
  ["a local misspelt"] = { [[
local P = {}
function P.decide(machine)
  return machin.plan
end
return P
]],
    "3: undefined name 'machin'; did you mean 'machine'?" },
  ["a local that comes later"] = { [[
local P = {}
function P.decide(m) return worth(m) end
local function worth(m) return m.n end
P.worth = worth
return P
]], "2: undefined name 'worth'; the local of line 3 is not known here" },
  ["a name like nothing"] = { "return frobnicate(1)", "1: undefined name 'frobnicate'" },
  ["short names have no neighbours"] = { "local a = 1\nreturn a + b", "2: undefined name 'b'" },
  ["a name in a condition of repeat"] = { "repeat local done = true until done" },
  ["a computed key"] = { "local k = 'x'\nreturn math[k], math[kk]", "2: undefined name 'kk'" },

  -- globals
  ["a global assigned"] = { "count = 1\nreturn count", "1: assigns the global 'count'; write `local count`" },
  ["a global function"] = { "function decide() return 1 end", "1: assigns the global 'decide'; write `local function decide`" },
  ["a local assigned, misspelt"] = { "local verdict = 'keep'\nif #verdict > 3 then vedrict = 'stop' end\nreturn verdict",
    "2: assigns the global 'vedrict'; did you mean 'verdict'?" },
  ["a library changed"] = { [[
string.trim = 1
local m = math
m.pi = 3
ipairs = pairs
]],
    "1: assigns 'string.trim', which is the same for all policies", "3: assigns 'math.pi', which is the same for all policies",
    "4: assigns 'ipairs', which is the same for all policies" },
  ["a field of nothing"] = { "plans.free = 1", "1: undefined name 'plans'" },

  -- what policies lack
  ["the time"] = { "return os.time()", "1: os.time: a policy is told the time: use its argument `now`" },
  ["the time, behind a local"] = { "local os_time = os.time\nreturn os_time()",
    "1: os.time: a policy is told the time: use its argument `now`" },
  ["chance"] = { "return math.random(6)",
    "1: math.random: the same question must get the same answer, so there is no chance in it" },
  ["pcall"] = { "return pcall(error)",
    "1: pcall: an error ends the decision, and the host falls back to the safe verdict: test the value first" },
  ["files"] = { "return io.open('x')", "1: io: a decision reads no file: what it needs comes in its arguments" },
  ["modules"] = { "local x = require 'x'\nreturn x",
    "1: require: a decision stands alone: what it needs comes in its arguments" },
  ["metatables"] = { "return setmetatable({}, {})", "1: setmetatable: there are no metatables: plain tables and functions do" },
  ["waiting"] = { "return coroutine.yield()", "1: coroutine: a decision cannot wait: return what is known now" },
  ["code"] = { "return load('x'), string.dump(load)",
    "1: load: code is not made while it runs: write a function",
    "1: string.dump: code is not made while it runs: write a function",
    "1: load: code is not made while it runs: write a function" },
  ["the rest of it"] = { "return debug.sethook, ffi.C, os.exit, _G.x, print",
    "1: debug: the host keeps inputs, verdict and reason instead", "1: ffi: a policy is Lua only",
    "1: os: a policy does not reach the system", "1: _G: there is no table of all names: name what is meant",
    "1: print: say it in the reason: the host keeps it" },
  ["a local of that name"] = { "local os = { time = 1 }\nreturn os.time" },
  ["numbers of C"] = { "return 1ULL + 0x10ll, 0x1i", "1: 1ULL is no plain number; a decision has no other",
    "1: 0x10ll is no plain number; a decision has no other", "1: 0x1i is no plain number; a decision has no other" },
  ["what only one of the two parsers knows"] = { "local goto = 1\nreturn goto", "1: expected identifier near 'goto'" },

  -- memory
  ["a counter"] = { [[
local count = 0
local P = {}
function P.decide()
  count = count + 1
  return count
end
return P
]],
    "4: 'count'" .. MEMORY },
  ["a cache"] = { [[
local seen = {}
local P = {}
function P.decide(m)
  seen[m.id] = true
  P.last = m
  return seen
end
return P
]],
    "4: 'seen[...]'" .. MEMORY, "5: 'P.last'" .. MEMORY },
  ["a cache, behind names"] = { [[
local P = { plans = {} }
function P.decide(m)
  local plan = P.plans[m.plan]
  plan.used = 1
  for _, p in pairs(P.plans) do p.used = 2 end
  table.insert(P.plans, m)
  return 1
end
function P:note() self.n = 1 end
return P
]],
    "4: 'plan.used'" .. MEMORY, "5: 'p.used'" .. MEMORY, "6: 'P.plans'" .. MEMORY, "9: 'self.n'" .. MEMORY },
  ["a closure that counts"] = { [[
local function counter()
  local n = 0
  return function()
    n = n + 1
    return n
  end
end
return { next = counter() }
]], "4: 'n'" .. MEMORY },
  ["a closure that counts, by name"] = { [[
local function counter()
  local n = 0
  local function up() n = n + 1; return n end
  return { up = up }
end
return counter()
]], "3: 'n'" .. MEMORY },
  ["a closure that counts, in a list"] = { [[
local function counters(list)
  local n, k = 0, 0
  table.insert(list, function() n = n + 1 return n end)
  local function up() k = k + 1; return k end
  table.insert(list, up)
end
return counters
]], "3: 'n'" .. MEMORY, "4: 'k'" .. MEMORY },
  ["counting within a decision"] = { [[
local P = {}
function P.decide(m)
  local n = 0
  local function visit(x) n = n + x.size; for _, y in ipairs(x) do visit(y) end end
  visit(m)
  m.name:gsub('%d', function() n = n + 1 end)
  local all = {}
  table.insert(all, n)
  all[2] = n
  return n, all
end
return P
]] },
  ["memory where it may be"] = { kind = workflow,
    "local n = 0\nlocal seen = {}\nreturn { run = function(x) n = n + 1; seen[x] = n; return seen end }" },

  -- what is never read
  ["never used"] = { "local a, _b = 1, 2\nlocal function f(x, y) return x end\nfor i, v in pairs({}) do local c = v end",
    "1: warning: 'a' is never used", "2: warning: function 'f' is never used", "3: warning: 'c' is never used" },
  ["never read"] = { [[
local P = {}
function P.decide(m)
  local r = 'keep'
  r = 'stop'
  local t = {}
  t.x = 1
  return r, m
end
return P
]],
    "3: warning: what is assigned to 'r' is overwritten on line 4", "5: warning: 't' is changed and never read" },
  ["never set"] = { "local r\nreturn r", "1: warning: 'r' is never set" },
  ["what a call gives besides"] = { "local a, b = math.modf(1.5)\nreturn b" },
  ["shadowing is allowed"] = { "local m = 1\nlocal function f(m) local m = m + 1; return m end\nreturn f(m)" },
  ["never reached"] = { [[
local function f(x)
  if x then return 1 else return 2 end
  return 3
end
return f(1)
]],
    "3: warning: this is never reached" },
  ["dropped results"] = { [[
local P = {}
local function worth(m) if m then return 1 end end
local function check(m) assert(m) end
function P.decide(m)
  string.format('%d', m)
  math.max(1, m);
  ('x'):rep(3)
  m:upper()
  worth(m)
  check(m)
  table.sort(m)
  table.concat(m)
  return 1
end
return P
]],
    "5: warning: the result of 'string.format' is not used", "6: warning: the result of 'math.max' is not used",
    "7: warning: the result of 'rep' is not used", "8: warning: the result of 'upper' is not used",
    "9: warning: the result of 'worth' is not used", "12: warning: the result of 'table.concat' is not used" },

  -- steps
  ["steps"] = { kind = workflow, [[
local done = { name = "done", run = function(x) return x end }
local more = { { name = "more", run = done.run }, { name = "even", undo = done.run } }
local P = { name = "make", steps = {
  { name = "good", run = done.run, undo = function(x) return x end },
  { name = "told", run = done.run, no_undo = "a mail cannot be called back" },
  { name = "when", when = function(x) return x end },
  { name = "bad", run = function(x) log(x) end },
  { run = done.run, undo = nil },
  { name = "vague", run = done.run, no_undo = true },
  { name = "empty", run = done.run, no_undo = " " },
  done,
} }
local Q = { { steps = more } }
P.other = { run = done.run }
return P, Q
]],
    "1: step 'done'" .. UNDO,
    "2: step 'more'" .. UNDO,
    "7: step 'bad'" .. UNDO,
    "8: step '5'" .. UNDO,
    "9: step 'vague': no_undo is a text that says why nothing is to be undone",
    "10: step 'empty': no_undo is a text that says why nothing is to be undone" },
  ["steps assigned"] = { kind = workflow, [[
local P = {}
P.steps = {
  { name = 'a', run = log } }
return P
]],
    "3: step 'a'" .. UNDO },

  -- files that may act
  ["what a workflow may name"] = { kind = workflow, "return store.anything.at_all(time.now()), log.info, string.rep" },
  ["what a workflow lacks"] = { kind = workflow, "return time.nwo(), os.time(), pcall(log), coroutine.wrap, string.fromat",
    "1: unknown field 'time.nwo'; did you mean 'time.now'?", "1: os.time: the time comes from the host, not from os",
    "1: pcall: what may go wrong comes back as nil, err: look at err", "1: coroutine: waiting calls wait by themselves",
    "1: unknown field 'string.fromat'; did you mean 'string.format'?" },
  ["numbers of C in a workflow"] = { kind = workflow, "return 1ULL, 2i" },
}

local order = {}
for name in pairs(cases) do order[#order + 1] = name end
table.sort(order)
for _, name in ipairs(order) do
  local case = cases[name]
  t.test(name, function()
    t.eq(told(case[1], case.kind or decision), table.concat(case, "\n", 2))
  end)
end

t.test("what is shipped is clean", function()
  local n = 0
  for _, dir in ipairs { "policies", "policies/tests" } do
    for _, name in ipairs(assert(fs.list(dir))) do
      if name:match("%.lua$") then
        t.eq(told(fs.read(dir .. "/" .. name, 1048576), allowed.of(kinds.of_file(name))), "", name)
        n = n + 1
      end
    end
  end
  t.ok(n > 6)
end)

t.test("a fault has its file, line, column and level", function()
  local faults = lint.check("policies/x.lua", "local ä = 1", decision)
  t.eq(#faults, 1)
  faults = lint.check("policies/x.lua", "local x = 'ä' .. strng", decision)
  t.eq(#faults, 2)
  t.eq(faults[1].file, "policies/x.lua"); t.eq(faults[1].line, 1); t.eq(faults[1].column, 7); t.eq(faults[1].level, "warning")
  t.eq(faults[2].column, 18); t.eq(faults[2].level, "error")
end)

t.test("of many faults the first are told, and how many there are", function()
  local faults = lint.check("p.lua", ("frobnicate()\n"):rep(1000), decision)
  t.eq(#faults, 101)
  t.eq(faults[100].line, 100)
  t.eq(faults[101].text, "and 900 more"); t.eq(faults[101].level, "error")
end)

-- Files that are made to be hard: each must be answered, and soon.
local hard = {
  ["a long sum"] = "return 1" .. ("+1"):rep(50000),
  ["a long chain of fields"] = "local a = {}\nreturn a" .. (".b"):rep(50000),
  ["a long chain of calls"] = "local a = {}\nreturn a" .. ("()"):rep(50000),
  ["parens"] = "return " .. ("("):rep(50000) .. "1" .. (")"):rep(50000),
  ["tables"] = "return " .. ("{"):rep(180) .. ("}"):rep(180),
  ["functions in functions"] = "return " .. ("function() return "):rep(60) .. "1" .. (" end"):rep(60),
  ["many assignments in branches"] = "local a, b = 1, 2\n" .. ("if a then b = a else a = b end\n"):rep(4000) .. "return a, b",
  ["many closures"] = "local a, t = 1, {}\n" .. ("t[#t + 1] = function() a = a + 1; return a end\n"):rep(2400) .. "return t",
  ["many small functions"] = "local P = {}\n" .. ("function P.f(x) return x and 1 or 2 end\n"):rep(3000) .. "return P",
  ["many undefined names"] = ("undefined_name_of_some_length()\n"):rep(4000),
  ["many ifs"] = "local a = 1\n" .. ("if a then a = 2 end\n"):rep(6000) .. "return a",
  ["one long name"] = "return " .. ("x"):rep(120000),
  ["one long string"] = "return '" .. ("\\x41"):rep(15000) .. "'",
  ["brackets that never end"] = ("[=["):rep(40000),
  ["noise"] = ("\255\254 @#$% "):rep(15000),
  ["beyond ASCII"] = "return '" .. ("ä€"):rep(25000) .. "'",
}
order = {}
for name in pairs(hard) do order[#order + 1] = name end
table.sort(order)
for _, name in ipairs(order) do
  t.test("hard: " .. name, function()
    local from = time.mono()
    local faults = lint.check("p.lua", hard[name], decision)
    local ms = time.mono() - from
    local first = faults[1] and faults[1].text:sub(1, 80) or "clean"
    sys.stdout(("# %s: %d bytes, %.0f ms, %s\n"):format(name, #hard[name], ms, first))
    t.ok(ms < 10000, "milliseconds")
    for _, f in ipairs(faults) do t.ok(not f.text:find("^cannot be looked at"), f.text) end
  end)
end

t.test("every beginning of a file is answered", function()
  local source = fs.read("policies/access.lua", 1048576)
  for n = 0, #source do lint.check("p.lua", source:sub(1, n), decision) end
end)

-- What is wrong is told by lint, never by a fault of its own.
t.test("files with slips in them are answered", function()
  local source = fs.read("lua/workflow.lua", 1048576)
  local words = {}
  local text = "end do then function local return = ( ) { } [ ] , ; : . .. ... nil not - # 1 'x' goto repeat until for in x"
  for word in text:gmatch("%S+") do words[#words + 1] = word end
  math.randomseed(5)
  for _ = 1, 300 do
    local from = math.random(#source)
    local to = from + math.random(0, 3)
    local before, behind = source:sub(math.max(1, from - 1500), from - 1), source:sub(to, from + 1500)
    local slip = before .. " " .. words[math.random(#words)] .. " " .. behind
    for _, f in ipairs(lint.check("p.lua", slip, decision)) do t.ok(not f.text:find("^cannot be looked at"), f.text) end
  end
end)

t.test("300 lines take some milliseconds", function()
  local unit = "function P.decide%d(m, now)\n  local idle = now - m.last\n  for _, s in ipairs(m.signals) do\n"
    .. "    if s.kind == 'input' and s.at > m.last then idle = now - s.at end\n  end\n"
    .. "  if idle > 7200 then return 'stop', ('unused for %%d s'):format(idle) end\n"
    .. "  if m.plan == 'free' and idle > 3600 then\n    return 'warn', 'soon'\n  end\n  return 'keep', 'in use'\nend\n\n"
  local parts = { "local P = {}\n" }
  for i = 1, 25 do parts[#parts + 1] = unit:gsub("%%d", i, 1):gsub("%%%%", "%%") end
  local source = table.concat(parts) .. "return P\n"
  local from = time.mono()
  for _ = 1, 10 do t.eq(told(source, decision), "") end
  sys.stdout(("# 300 lines (%d bytes): %.1f ms\n"):format(#source, (time.mono() - from) / 10))
end)

t.test("names that are nearly right", function()
  t.eq(spelling.distance("fromat", "format"), 1)
  t.eq(spelling.nearest("strng", { "table", "string", "strings" }, 2), "string")
  t.eq(spelling.nearest("x", { "yz" }, 1), nil)
end)

return t.done()
