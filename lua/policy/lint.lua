-- Reads a policy file without running it, and tells what is wrong with it.
--
-- lint.check(name, source, kind [, pause]) -> faults, in the order of lines; empty when nothing was found
--   pause  fn() that lets others go on when it is time (slices.lua); called while the file is read and walked
--   kind.globals  what the file may use: {"math", "string.format", ...}. Dotted names are the members of a library that are
--                 there. A library of Lua's without any has those of Lua, any other name without any may have any field.
--   kind.effects  true: the file may act and remember (workflows, routes); else it holds decisions, which may not
--   a fault is {file = name, line =, column =, text =, level = "error" | "warning"}
--
-- Errors: what does not compile; names that are not there; assigned globals; in decisions, what would be remembered from one to
-- the next; a step with `run` and without `undo`. Warnings: what is never read, dropped results, code that is never reached.
-- It is a help against slips, not the fence: a name behind a computed key, or in a table that was handed around, is not seen.
--
-- The syntax is LuaJIT's, as its own compiler is asked first (it compiles and does not run). luacheck reads the file for the
-- rest, and says better where an `end` is missing; its own comments (luacheck: ignore) mean nothing here. What LuaJIT alone
-- knows is refused: names with letters beyond ASCII, a variable called goto, 0b11. Both know goto, 1ULL and 2i.
--
-- Cost: 8 ms for 300 lines, 0.4 s for the largest file that is taken. The search for what is never read may need the square of
-- a function's length, so it is left out where it would take too long.

local check_state = require "luacheck.check_state"
local lexer = require "luacheck.lexer"
local parser = require "luacheck.parser"
local walk = require "policy.lint.walk"
local names = require "policy.lint.names"

local read = { "parse", "unwrap_parens", "linearize" }
local search = { "resolve_locals", "detect_unused_locals", "detect_unreachable_code" }
for _, list in ipairs { read, search } do
  for i, name in ipairs(list) do list[i] = require("luacheck.stages." .. name) end
end

-- ---- others go on meanwhile: at every so many tokens and expressions, and between two stages

local OFTEN = 32
local breath, looks = nil, 0 -- of the check that runs

local function breathe()
  local mine = breath
  if not mine then return end
  mine()
  breath = mine -- another check may have run
end

local function now_and_then()
  looks = looks + 1
  if looks % OFTEN == 0 then breathe() end
end

local next_token = lexer.next_token
function lexer.next_token(state)
  now_and_then()
  return next_token(state)
end

local function run_all(list, chstate)
  for _, stage in ipairs(list) do
    stage.run(chstate)
    breathe()
  end
end

local M = {}

local MAX_BYTES = 131072
local MAX_STEPS = 4e4   -- of the search for what is never read, which is one piece: some 20 ms; a file of 400 lines needs 1e4
local MAX_FAULTS = 100
local MAX_TEXT = 300

-- ---- faults

local function new_list(file)
  local list, seen = {}, {}
  local function add(level, line, column, text)
    if #text > MAX_TEXT then text = text:sub(1, MAX_TEXT) .. "..." end
    local key = line .. ":" .. column .. ":" .. text
    if seen[key] then return end
    seen[key] = true
    list[#list + 1] = { file = file, line = line, column = column, text = text, level = level }
  end
  return list, add
end

local function before(a, b)
  if a.line ~= b.line then return a.line < b.line end
  if a.column ~= b.column then return a.column < b.column end
  return a.text < b.text
end

-- The first of them, and how many there are beside: no error is lost behind warnings.
local function cut(list)
  table.sort(list, before)
  if #list <= MAX_FAULTS then return list end
  local more, level = #list - MAX_FAULTS, "warning"
  for i = #list, MAX_FAULTS + 1, -1 do
    if list[i].level == "error" then level = "error" end
    list[i] = nil
  end
  local last = list[MAX_FAULTS]
  local text = ("and %d more"):format(more)
  list[#list + 1] = { file = last.file, line = last.line, column = last.column, text = text, level = level }
  return list
end

-- ---- what is no text of Lua

local function line_of(source, at)
  local line = 1
  for _ in source:sub(1, at - 1):gmatch("\n") do line = line + 1 end
  return line
end

local function not_text(source)
  if #source > MAX_BYTES then
    return 1, ("the file has %d bytes; a policy file may have %d"):format(#source, MAX_BYTES)
  end
  if source:byte() == 27 then return 1, "this is compiled code; a policy is a text" end
  local nul = source:find("\0", 1, true)
  if nul then return line_of(source, nul), "a NUL byte; a policy is a text" end
end

-- ---- reading

-- LuaJIT's word on it. -> line, text | nil
local function compile(source)
  local fn, why = load(source, "=lint", "t", {})
  if fn then return nil end
  local line, text = tostring(why):match("^lint:(%d+): (.*)$")
  return tonumber(line) or 1, text or tostring(why)
end

local too_deep = "an expression is too long or nested too deeply to be looked at"

local function excuse(err)
  return tostring(err):find("stack overflow", 1, true) and too_deep or "cannot be looked at: " .. tostring(err)
end

-- -> chstate | nil, line, column, text
local function parse(source)
  local chstate = check_state.new(source)
  local ok, err = pcall(run_all, read, chstate)
  if ok then return chstate end
  if type(err) == "table" and getmetatable(err) == parser.SyntaxError then
    return nil, err.line, chstate:offset_to_column(err.line, err.offset), err.msg
  end
  return nil, 1, 1, excuse(err)
end

-- ---- what is never read or reached

local function count(map, var, n) map[var] = (map[var] or 0) + n end

-- An upper bound of what the search looks at: per function, assignments and closures times statements; per variable, assignments
-- times uses in closures.
local function cost(chstate)
  local steps, sets, uses = (#chstate.lines) ^ 2, {}, {}
  for _, line in ipairs(chstate.lines) do
    local starts = 0
    for _, item in ipairs(line.items) do
      starts = starts + (item.lines and #item.lines or 0)
      for var in pairs(item.set_variables or {}) do
        starts = starts + 1
        count(sets, var, 1)
      end
    end
    steps = steps + starts * #line.items
    for var, items in pairs(line.accessed_upvalues) do count(uses, var, #items) end
    for var, items in pairs(line.mutated_upvalues) do count(uses, var, #items) end
  end
  for var, n in pairs(uses) do steps = steps + 2 * n * (sets[var] or 0) end
  return steps
end

-- luacheck's codes; arguments, loops' variables and what a call gives besides are nobody's fault.
local texts = {
  ["211"] = "%s is never used", ["221"] = "%s is never set", ["231"] = "%s is set and never read",
  ["241"] = "%s is changed and never read", ["311"] = "what is assigned to %s is never read",
  ["331"] = "what is assigned to %s is changed and never read", ["511"] = "this is never reached",
}

local function explain(w)
  local text = texts[w.code]
  if w.code == "311" and w.overwritten_line then text = text:gsub("never read", "overwritten on line " .. w.overwritten_line) end
  return w.name and text:format((w.func and "function '" or "'") .. w.name .. "'") or text
end

local function flow(chstate, add)
  local ok = cost(chstate) <= MAX_STEPS and pcall(run_all, search, chstate)
  if not ok then return add("warning", 1, 1, "too long to be searched for what is never read or reached") end
  for _, w in ipairs(chstate.warnings) do
    if texts[w.code] and not w.secondary and not (w.name or ""):find("^_") then add("warning", w.line, w.column, explain(w)) end
  end
end

-- ---- all of it

local function check(name, source, kind)
  local list, add = new_list(name)
  local line, text = not_text(source)
  if line then add("error", line, 1, text); return list end
  source = source:gsub("^\239\187\191", "")
  local wrong, why = compile(source)
  local chstate, at, column, told = parse(source)
  if not chstate and (told ~= too_deep or not wrong) then wrong, why = at, told end
  if wrong then add("error", wrong, not chstate and column or 1, why); return list end
  local function report(level, node, what) add(level, node.line, chstate:offset_to_column(node.line, node.offset), what) end
  local ok, err = pcall(walk.run, chstate, names.tree(kind.globals), not kind.effects, report, now_and_then)
  if ok then flow(chstate, add) else add("error", 1, 1, excuse(err)) end
  return cut(list)
end

-- Without LuaJIT's compiler it takes a third of the time: so many short loops, each for a short while, are not worth compiling.
function M.check(name, source, kind, pause)
  local compiles = jit.status()
  breath = pause and function()
    if compiles then jit.on() end
    pause()
    if compiles then jit.off() end
  end
  if compiles then jit.off() end
  local ok, faults = pcall(check, name, source, kind)
  if compiles then jit.on() end
  breath = nil
  if not ok then error(faults, 0) end
  return faults
end

return M
