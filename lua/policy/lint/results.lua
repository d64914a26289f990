-- Calls whose result is dropped where the result is all that they do.
--
-- results.check(c, statement, path_of): a call that stands as a statement

local M = {}

local pure = {}
for name in ("ipairs next pairs select tonumber tostring type unpack table.concat table.maxn"):gmatch("%S+") do
  pure[name] = true
end
local libraries = { bit = true, math = true, string = true } -- all members

local function is_pure(path)
  return pure[table.concat(path, ".")] or libraries[path[1]] and #path == 2
end

-- Whether a function's own statements give back a value; what is looked at once is known.
local function returns(node)
  if node.tag == "Return" then return node[1] ~= nil and not (#node == 1 and node[1].tag == "Nil") end
  for _, child in ipairs(node) do
    if type(child) == "table" and child.tag ~= "Function" and returns(child) then return true end
  end
  return false
end

local function gives_back(fn)
  if fn.gives_back == nil then fn.gives_back = returns(fn[2]) end
  return fn.gives_back
end

-- The function of the file that a name always is, or nil.
local function own_function(id)
  local var = id.tag == "Id" and id.var
  local value = var and (var.values[2] or var.values[1])
  if not value or #var.values > 2 or #var.values == 2 and not var.values[1].empty then return nil end
  return value.node and value.node.tag == "Function" and value.node or nil
end

-- A method of strings: of a literal, or in a decision, whose data have no other methods, of any argument.
local function is_string_method(c, statement)
  local object, method = statement[1], statement[2][1]
  if not rawget(string, method) then return false end
  return object.tag == "String" or c.pure and object.tag == "Id" and object.var ~= nil and object.var.type ~= "var"
end

-- s:gsub(pattern, fn) may be called for what fn does.
local function takes_function(statement)
  for _, arg in ipairs(statement) do
    if arg.tag == "Function" then return true end
  end
  return false
end

function M.check(c, statement, path_of)
  local name
  if takes_function(statement) then return end
  if statement.tag == "Invoke" then
    name = is_string_method(c, statement) and statement[2][1]
  else
    local _, path = path_of(statement[1])
    local own = own_function(statement[1])
    if path and c.tree[path[1]] and is_pure(path) then
      name = table.concat(path, ".")
    elseif own and gives_back(own) then
      name = statement[1][1]
    end
  end
  if name then c.report("warning", statement, ("the result of '%s' is not used"):format(name)) end
end

return M
