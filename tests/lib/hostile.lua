-- Policies that do what they must not: {name, source, expects}. expects: "limit" (a budget ends it, the fence is spent),
-- "invalid" (an ordinary error), or "ok" (it gives back something that harms nobody). `load`: it fails when it is loaded.
-- Each source returns a table with decide(m, now). Read by tests/lua/test_fence.lua and tests/bench/fence.lua.
-- `slow`: files of sets that are within every budget and good, and slow all the same: tests/lua/test_slow.lua proves that others
-- run meanwhile.

local function body(text) return "local P = {}\nfunction P.decide(m, now)\n" .. text .. "\nend\nreturn P\n" end

local function case(name, expects, text) return { name = name, expects = expects, source = body(text) } end
local function at_load(name, expects, source) return { name = name, expects = expects, source = source, load = true } end

local BURN = "local function burn() for _ = 1, 90000 do end end\n" -- a millisecond

local slow = {
  ["idle.lua"] = BURN .. [[
local P = {}
function P.decide(m) burn() return "keep", "always" end
function P.lease(r) return r.ttl, "all" end
return P
]],
  ["expiry.lua"] = BURN .. "return { decide = function() burn() return 'keep', 'always' end }\n",
  ["tests/slow.lua"] = BURN .. "local T = {}\nfor i = 1, 40 do T['test ' .. i] = function() burn() burn() end end\nreturn T\n",
}

return {
  slow = slow,
  -- endless loops of every kind
  case("while true", "limit", "while true do end"),
  case("repeat until false", "limit", "repeat until false"),
  case("for without end", "limit", "for i = 1, math.huge do end"),
  case("goto", "limit", "::again:: goto again"),
  case("mutual tail calls", "limit", "local b\nlocal function a() return b() end\nfunction b() return a() end\nreturn a()"),
  case("an iterator without end", "limit", "for k in function() return 1 end do end"),
  case("a table that grows while it is walked", "limit", "local t = {1}\nfor i in ipairs(t) do t[i + 1] = i end"),
  case("a loop in a comparator", "limit", "table.sort({3, 2, 1}, function(a, b) while true do end end)"),
  case("a loop in a replacement", "limit", "return (('x'):gsub('x', function() while true do end end))"),
  case("a comparator that contradicts itself", "invalid",
    "local t = {}\nfor i = 1, 1000 do t[i] = i end\ntable.sort(t, function() return true end)"),

  -- memory
  case("text that doubles", "limit", "local s = 'x'\nwhile true do s = s .. s end"),
  case("a table without end", "limit", "local t = {}\nfor i = 1, 1e9 do t[i] = i end"),
  case("tables in tables", "limit", "local t = {}\nwhile true do t = {t} end"),
  case("closures without end", "limit", "local t = {}\nwhile true do t[#t + 1] = function() return t end end"),
  case("garbage without end", "limit", "while true do local t = {1, 2, 3} end"),
  case("long garbage", "limit", "local s = ('x'):rep(60000)\nlocal i = 0\nwhile true do i = i + 1 local t = s .. i end"),
  case("a long comparison again and again", "limit",
    "local s = ('x'):rep(65536)\ns = s .. s .. s .. s\nlocal a, b = s .. 'a', s .. 'b'\nwhile true do local c = a < b end"),
  case("rep of a thousand million", "invalid", "return ('x'):rep(1e9)"),
  case("rep of what is empty", "ok", "return #('').rep('', 1e15) == 0 and 'keep' or 'stop'"),
  case("format with a width", "invalid", "return ('%99999d'):format(1)"),
  case("concat of much", "limit",
    "local t = {}\nfor i = 1, 20000 do t[i] = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' end\n" ..
    "while true do local s = table.concat(t) end"),
  case("insert at the front of a long list", "limit", "local t = {}\nfor i = 1, 1e9 do table.insert(t, 1, i) end"),
  case("unpack of much", "invalid", "local t = {}\nfor i = 1, 20000 do t[i] = i end\nreturn #{unpack(t)}"),

  -- patterns
  case("a pattern that goes back for ever", "invalid", "return ('a'):rep(40):find(('a*'):rep(12) .. 'b')"),
  case("a quadratic pattern", "invalid", "return (('('):rep(60000):find('%b()'))"),
  case("gsub with a pattern that goes back for ever", "invalid", "return ('a'):rep(60):gsub(('a-'):rep(20) .. 'b', '')"),
  case("gmatch likewise", "invalid", "for _ in ('a'):rep(60):gmatch(('a?'):rep(60) .. ('a'):rep(60) .. 'b') do end"),
  case("a pattern too deep", "invalid", "return ('x'):rep(500):find(('(x)'):rep(300))"),
  case("a malformed pattern", "invalid", "return ('x'):find('[a')"),
  case("a replacement that doubles", "limit", "local s = 'x'\nwhile true do s = s:gsub('.', '%0%0') end"),

  -- recursion
  case("recursion without end", "invalid", "local function f(n) return 1 + f(n + 1) end\nreturn f(1)"),
  case("recursion through gsub", "invalid",
    "local function f() return (('x'):gsub('x', f)) end\nreturn f()"),
  case("recursion through sort", "invalid",
    "local function f() table.sort({2, 1}, f) return false end\nreturn f()"),

  -- what could swallow an error, or make code
  case("pcall", "invalid", "while true do pcall(function() while true do end end) end"),
  case("xpcall", "invalid", "xpcall(function() error('x') end, function() while true do end end)"),
  case("coroutines", "invalid", "coroutine.wrap(function() while true do end end)()"),
  case("load", "invalid", "return load('return 1')()"),
  case("loadstring", "invalid", "return loadstring('return 1')()"),
  case("string.dump", "invalid", "return string.dump(function() end)"),
  case("newproxy", "invalid", "newproxy(true)"),
  case("collectgarbage", "invalid", "collectgarbage('stop')"),
  case("require", "invalid", "require('ffi')"),
  case("jit", "invalid", "jit.on()"),
  case("ffi", "invalid", "ffi.C.abort()"),
  case("debug", "invalid", "debug.sethook()"),
  case("os", "invalid", "os.exit(1)"),
  case("io", "invalid", "io.write('x')"),
  case("time", "invalid", "return os.time()"),
  case("chance", "invalid", "return math.random()"),
  case("print", "invalid", "print('x')"),

  -- metatables, environments
  case("setmetatable", "invalid", "setmetatable({}, {__index = function() while true do end end})"),
  case("getmetatable of text", "invalid", "getmetatable('').__index.rep = nil"),
  case("getfenv", "invalid", "return getfenv(0)"),
  case("setfenv", "invalid", "setfenv(1, {})"),
  case("_G", "invalid", "_G.x = 1"),
  case("rawset", "invalid", "rawset(string, 'rep', nil)"),
  case("a global", "invalid", "x = 1"),
  case("a library of its own is changed", "ok", "string.rep = nil\nmath.max = nil\nreturn 'keep', 'done'"),
  case("its input is changed", "ok", "m.status = 'STOPPED'\nm.labels = nil\nreturn 'keep', 'done'"),
  case("a field of nothing", "invalid", "return m.nothing.more"),

  -- errors that are not text, and strange results
  case("an error that is a table", "invalid", "error({})"),
  case("an error that is nil", "invalid", "error(nil)"),
  case("an error that is a number", "invalid", "error(42)"),
  case("an error that is long", "invalid", "error(('x'):rep(60000))"),
  case("a result that is a function", "invalid", "return function() end"),
  case("a result without end", "invalid", "local t = {}\nt[1] = t\nreturn t"),
  case("a huge result", "invalid", "local t = {}\nfor i = 1, 10000 do t[i] = i end\nreturn t"),
  case("a long result", "invalid", "return ('x'):rep(65536), 'y'"),
  case("many results", "ok", "return 'keep', 2, 3, 4, 5, 6, 7, 8, 9, 10"),
  case("a key that is a table", "invalid", "return {[{}] = 1}"),
  case("no result", "ok", "return"),
  case("not a number", "ok", "return 0 / 0, 1 / 0"),

  -- while it is loaded
  at_load("bytecode", "invalid", "\27LJ\2\0\0"),
  at_load("a syntax error", "invalid", "return {"),
  at_load("no table", "invalid", "return 42"),
  at_load("a loop while it is loaded", "limit", "while true do end"),
  at_load("memory while it is loaded", "limit", "local s = 'x' while true do s = s .. s end"),
  at_load("too deep to be compiled", "invalid", "return " .. ("("):rep(5000) .. "1" .. (")"):rep(5000)),
  at_load("too many locals", "invalid", ("local a\n"):rep(300) .. "return {}"),
}
