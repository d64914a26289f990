-- One pass over the parsed file, with the rules that are the house's own: names, what is remembered, dropped results, steps.
--
-- walk.run(chstate, tree, pure, report): chstate as luacheck's stage `linearize` leaves it (each Id has .var unless it is a
-- global; a var knows the function that it belongs to, .line, and what is assigned to it, .values), tree as names.tree makes
-- it, report(level, node, text), step() before every expression.
--
-- A node is {tag =, line =, offset =, children...}. Besides what luacheck puts there, the pass marks: var.from, the
-- expression whose parts a loop's variable or `self` takes; var.loose, a variable that is used otherwise than by calling
-- it; fn.passed and fn.held, a function that is written as an argument, or as a variable's value.

local memory = require "policy.lint.memory"
local names = require "policy.lint.names"
local results = require "policy.lint.results"
local steps = require "policy.lint.steps"

local M = {}

local MAX_GUESSES = 50 -- suggestions looked for in one file

local visit = {}

local function expr(c, node)
  c.step()
  local fn = visit[node.tag]
  if fn then return fn(c, node) end
end

local function exprs(c, list)
  for _, node in ipairs(list) do expr(c, node) end
end

-- ---- scopes: only for suggestions, as luacheck has resolved the names

local function declare(c, node)
  local name = node[1]
  if node.tag ~= "Id" then return end -- "..."
  c.scope[#c.scope + 1] = name
  c.declared[name] = c.declared[name] or node.line
end

local function leave(c, mark)
  for i = #c.scope, mark + 1, -1 do c.scope[i] = nil end
end

local function locals(c)
  local out = {}
  for i = #c.scope, 1, -1 do out[#out + 1] = { c.scope[i], c.scope[i] } end
  return out
end

-- ---- names

local function guess(c, name, groups)
  if #name > 64 or c.guesses >= MAX_GUESSES then return nil end
  c.guesses = c.guesses + 1
  return names.near(name, groups())
end

-- A global that is not there. What is said waits until all locals of the file are known.
local function undefined(c, id, path)
  local name = id[1]
  local told = names.instead(path, c.pure)
  if told then return c.report("error", id, told) end
  local near = guess(c, name, function() return { locals(c), c.globals, c.members } end)
  c.later[#c.later + 1] = function()
    if c.assigned[name] then return end -- told there
    local text = ("undefined name '%s'"):format(name)
    local line = c.declared[name]
    if line then
      text = ("%s; the local of line %d is not known here"):format(text, line)
    elseif near then
      text = ("%s; did you mean '%s'?"):format(text, near)
    end
    c.report("error", id, text)
  end
end

local function unknown_field(c, node, path, n, fields)
  local told = names.instead(path, c.pure)
  if told then return c.report("error", node, told) end
  local prefix = table.concat(path, ".", 1, n - 1) .. "."
  local near = guess(c, path[n], function()
    return { names.candidates(fields, prefix), c.members }
  end)
  local text = ("unknown field '%s%s'"):format(prefix, path[n])
  c.report("error", node, near and ("%s; did you mean '%s'?"):format(text, near) or text)
end

-- The global that an expression is or begins with, as path and nodes: string.rep, and s.rep behind `local s = string`.
-- -> Id node, path | nil. Keys that are no constant names end the path.
local function path_of(node, depth)
  local keys = {}
  while node.tag == "Index" do
    keys[#keys + 1] = node[2]
    node = node[1]
  end
  if node.tag ~= "Id" then return nil end
  local path, at = {}, {}
  if node.var then
    local values = node.var.values
    local value = #values == 1 and values[1].node
    if node.var.type ~= "var" or not value or (depth or 0) > 8 then return nil end
    if value.tag ~= "Id" and value.tag ~= "Index" then return nil end
    local id, before = path_of(value, (depth or 0) + 1)
    if not id then return nil end
    path = before
  else
    path[1] = node[1]
  end
  for i = #keys, 1, -1 do
    if keys[i].tag ~= "String" then break end
    path[#path + 1] = keys[i][1]
    at[#path] = keys[i]
  end
  return node, path, at
end

-- Is what the path names there? Told once, where the first unknown part stands.
local function check_path(c, id, path, at)
  local entry = c.tree[path[1]]
  if not entry then
    if not id.var then undefined(c, id, path) end
    return
  end
  for i = 2, #path do
    if not entry.fields then return end
    local next_entry = entry.fields[path[i]]
    if not next_entry then
      if at[i] then unknown_field(c, at[i], path, i, entry.fields) end
      return
    end
    entry = next_entry
  end
end

-- The keys of an access that are computed, and what it begins with if that is no name.
local function inside(c, node)
  while node.tag == "Index" do
    if node[2].tag ~= "String" then expr(c, node[2]) end
    node = node[1]
  end
  if node.tag ~= "Id" then expr(c, node) end
end

function visit.Index(c, node)
  inside(c, node)
  local id, path, at = path_of(node)
  if id then check_path(c, id, path, at) end
end

function visit.Id(c, node)
  if node.var then
    node.var.loose = true
  elseif not c.tree[node[1]] then
    undefined(c, node, { node[1] })
  end
end

-- ---- expressions

local function arguments(c, node, from)
  for i = from, #node do
    local arg = node[i]
    if arg.tag == "Function" then arg.passed = true end
    if not (arg.tag == "Id" and arg.var) then expr(c, arg) end -- a variable that is handed on is not loose
  end
end

function visit.Call(c, node)
  local callee = node[1]
  if not (callee.tag == "Id" and callee.var) then expr(c, callee) end
  arguments(c, node, 2)
  local _, path = path_of(callee)
  if path then memory.of_call(c, table.concat(path, "."), node) end
end

function visit.Invoke(c, node)
  local object, method = node[1], node[2]
  if object.tag == "Id" and object.var then object.var.loose = true else inside(c, object) end
  arguments(c, node, 3)
  local id, path, at = path_of({ tag = "Index", object, method })
  if id then check_path(c, id, path, at) end
  local strings = object.tag == "String" and c.tree.string
  if strings and strings.fields and not strings.fields[method[1]] then
    unknown_field(c, method, { "string", method[1] }, 2, strings.fields)
  end
end

function visit.Op(c, node)
  expr(c, node[2])
  if node[3] then expr(c, node[3]) end
end

function visit.Paren(c, node) expr(c, node[1]) end

function visit.Pair(c, node)
  if node[1].tag ~= "String" then expr(c, node[1]) end
  expr(c, node[2])
end

function visit.Table(c, node)
  steps.of_table(c, node)
  exprs(c, node)
end

function visit.Number(c, node)
  if c.pure and node[1]:find("[iIuUlL]$") then
    c.report("error", node, ("%s is no plain number; a decision has no other"):format(node[1]))
  end
end

local block

function visit.Function(c, node)
  local mark = #c.scope
  c.functions[#c.functions + 1] = node
  for _, arg in ipairs(node[1]) do declare(c, arg) end
  block(c, node[2])
  c.functions[#c.functions] = nil
  leave(c, mark)
end

-- ---- statements

function visit.Local(c, node)
  for i, value in ipairs(node[2] or {}) do
    if value.tag == "Function" and node[1][i] then value.held = node[1][i].var end
    expr(c, value)
  end
  for _, id in ipairs(node[1]) do declare(c, id) end
end

function visit.Localrec(c, node)
  declare(c, node[1][1])
  node[2][1].held = node[1][1].var
  expr(c, node[2][1])
end

local function assign_global(c, id, value)
  local name = id[1]
  if c.tree[name] then return c.report("error", id, ("assigns '%s', which is the same for all policies"):format(name)) end
  c.assigned[name] = true
  local near = guess(c, name, function() return { locals(c) } end)
  local right = value and value.tag == "Function" and "local function " .. name or "local " .. name
  c.report("error", id, ("assigns the global '%s'; %s"):format(name,
    near and ("did you mean '%s'?"):format(near) or ("write `%s`"):format(right)))
end

local function assign(c, target, value)
  if target.tag == "Id" then
    if target.var then return memory.of_variable(c, target) end
    return assign_global(c, target, value)
  end
  inside(c, target)
  local id, path = path_of(target)
  if id and c.tree[path[1]] then
    c.report("error", target, ("assigns '%s', which is the same for all policies"):format(table.concat(path, ".")))
  elseif id and not id.var then
    undefined(c, id, path)
  else
    memory.of_field(c, target)
  end
end

function visit.Set(c, node)
  for i, value in ipairs(node[2]) do
    local target = node[1][i]
    if value.tag == "Function" and target then
      local own = value[1][1]
      if own and own.implicit then own.var.from = target[1] end
      value.held = target.var
    end
    steps.of_field(c, target, value)
    expr(c, value)
  end
  for i, target in ipairs(node[1]) do assign(c, target, node[2][i]) end
end

local function loop(c, vars, body)
  local mark = #c.scope
  for _, id in ipairs(vars) do declare(c, id) end
  block(c, body)
  leave(c, mark)
end

function visit.Fornum(c, node)
  for i = 2, #node - 1 do expr(c, node[i]) end
  loop(c, { node[1] }, node[#node])
end

function visit.Forin(c, node)
  exprs(c, node[2])
  local over = node[2][1]
  if over.tag == "Call" and over[2] then
    for _, id in ipairs(node[1]) do id.var.from = over[2] end
  end
  loop(c, node[1], node[3])
end

function visit.While(c, node)
  expr(c, node[1])
  block(c, node[2])
end

function visit.Repeat(c, node)
  block(c, node[1], node[2])
end

function visit.If(c, node)
  for i = 1, #node - 1, 2 do
    expr(c, node[i])
    block(c, node[i + 1])
  end
  if #node % 2 == 1 then block(c, node[#node]) end
end

function visit.Do(c, node) block(c, node) end
function visit.Return(c, node) exprs(c, node) end

-- `last`: the condition of a repeat, which knows the names of its block.
function block(c, statements, last)
  local mark = #c.scope
  for _, statement in ipairs(statements) do
    if statement.tag == "Call" or statement.tag == "Invoke" then results.check(c, statement, path_of) end
    expr(c, statement)
  end
  if last then expr(c, last) end
  leave(c, mark)
end

function M.run(chstate, tree, pure, report, step)
  local c = {
    report = report, step = step, tree = tree, pure = pure, top = chstate.top_line,
    scope = {}, declared = {}, assigned = {}, functions = {}, later = {}, guesses = 0,
    globals = names.candidates(tree), members = names.members(tree),
  }
  block(c, chstate.ast)
  for _, tell in ipairs(c.later) do tell() end
end

return M
