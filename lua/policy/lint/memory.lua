-- What a decision would remember: assignments in a function to what outlives its call. Each takes the walk's context.
--
-- memory.of_variable(c, id)        `id` is assigned
-- memory.of_field(c, index)        a field is assigned
-- memory.of_call(c, name, call)    a library's function is called that changes its first argument
--
-- A variable of an enclosing function is let through where the functions between cannot outlive its call: each is written
-- as an argument (s:gsub("%d", function() n = n + 1 end)), or held by a local that is only called and handed on.

local M = {}

local changes = { ["table.insert"] = true, ["table.remove"] = true, ["table.sort"] = true }

local function tell(c, node, name)
  c.report("error", node, ("'%s' remembers something between two decisions; a decision may use only its arguments"):format(name))
end

-- Whether a function may be called when the call that made it has ended; known once all of the file was seen.
local function outlives(fn)
  if fn.passed then return false end
  return fn.held == nil or fn.held.loose == true
end

function M.of_variable(c, id)
  if not c.pure or #c.functions == 0 then return end
  local owner = id.var.line.node
  if owner == c.functions[#c.functions] then return end
  if id.var.line == c.top then return tell(c, id, id[1]) end
  local between = {}
  for i = #c.functions, 1, -1 do
    if c.functions[i] == owner then break end
    between[#between + 1] = c.functions[i]
  end
  c.later[#c.later + 1] = function()
    for _, fn in ipairs(between) do
      if outlives(fn) then return tell(c, id, id[1]) end
    end
  end
end

-- Whether an expression is a table of the file, or inside one, as far as single assignments tell.
local function of_file(c, node, depth)
  while node.tag == "Index" or node.tag == "Paren" do node = node[1] end
  local var = node.tag == "Id" and node.var
  if not var or depth > 8 then return false end
  if var.line == c.top then return true end
  local from = var.from or #var.values == 1 and var.values[1].node
  return from and (from.tag == "Id" or from.tag == "Index") and of_file(c, from, depth + 1) or false
end

local function name_of(node)
  local parts = {}
  while node.tag == "Index" do
    table.insert(parts, 1, node[2].tag == "String" and "." .. node[2][1] or "[...]")
    node = node[1]
  end
  return (node.tag == "Id" and node[1] or "") .. table.concat(parts)
end

function M.of_field(c, target)
  if not c.pure or #c.functions == 0 then return end
  if of_file(c, target, 0) then tell(c, target, name_of(target)) end
end

-- What is put into a table is kept there.
local function keep(call)
  for i = 2, #call do
    if call[i].tag == "Function" then call[i].passed = false end
    if call[i].tag == "Id" and call[i].var then call[i].var.loose = true end
  end
end

function M.of_call(c, name, call)
  if name == "table.insert" then keep(call) end
  if not changes[name] or not call[2] then return end
  local list = call[2]
  if list.tag == "Id" or list.tag == "Index" then M.of_field(c, list) end
end

return M
