-- Where in a policy file something stands that was found wrong when it ran: the file is read for it, not run.
--
--   place.line(source, text) -> the line of the field that a fault's text begins with, as in "plans.free.machines: ...",
--       "steps[2]: name: ..." or "price[1]: unknown field 'disk'"; where there is no such field, the line of what should have it:
--       at last, of the table that the file returns
--
-- What the file puts together by itself (in loops, from use) is not followed: then it is the line of the part that stands there.

local M = {}

-- ---- what a file says

-- What an expression is, or the variable that holds it for good.
local function value_of(node)
  if node and node.tag == "Id" and node.var and #node.var.values == 1 then return node.var.values[1].node or node end
  return node
end

local function entry(at, value) return { line = at.line, value = value } end

-- The field of a table constructor: its last entry of that name, or its item of that number.
local function field_of(node, key)
  node = value_of(node)
  if not node or node.tag ~= "Table" then return nil end
  local found, n = nil, 0
  for _, item in ipairs(node) do
    if item.tag ~= "Pair" then
      n = n + 1
      if n == key then found = entry(item, item) end
    elseif item[1].tag == "String" and item[1][1] == key then
      found = entry(item[1], item[2])
    end
  end
  return found
end

-- P.plans.free -> the variable P, "plans.free" | nil
local function path_of(node)
  if node.tag == "Id" then return node.var, "" end
  if node.tag ~= "Index" or node[2].tag ~= "String" then return nil end
  local var, path = path_of(node[1])
  if var then return var, path == "" and node[2][1] or path .. "." .. node[2][1] end
end

-- What is assigned to fields of a variable at the file's outermost level. -> {["plans.free"] = entry}
local function assigned_to(ast, var)
  local out = {}
  for _, statement in ipairs(ast) do
    for i, target in ipairs(statement.tag == "Set" and statement[1] or {}) do
      local of, path = path_of(target)
      if of and of == var and path ~= "" then out[path] = entry(target[2], statement[2][i]) end
    end
  end
  return out
end

-- ---- what a text names

-- "jobs[1] (x): at: ..." -> {"jobs", 1, "at"}: words that name nothing come behind, and are looked for in vain.
local function keys_of(text)
  local keys, at = {}, 1
  while #keys < 16 do
    local name, behind = text:match("^([%w_-]+)()", at)
    local index, past = text:match("^%[(%d+)%]()", at)
    if not name and not index then break end
    keys[#keys + 1] = name or tonumber(index)
    at = behind or past
    at = text:match("^ %b()()", at) or at
    at = text:match("^%.()", at) or text:match("^: ()", at) or at
    local unknown = text:match("^unknown field '(.-)'", at)
    if unknown then
      keys[#keys + 1] = unknown
      break
    end
  end
  return keys
end

function M.line(source, text)
  local chstate = require("policy.lint").read(source)
  local ast = chstate and chstate.ast
  local last = ast and ast[#ast]
  if not last or last.tag ~= "Return" or not last[1] then return 1 end
  local returned = value_of(last[1])
  local assigned = last[1].tag == "Id" and assigned_to(ast, last[1].var) or {}
  local here, path = entry(returned.line and returned or last, returned), nil
  local keys = keys_of(text)
  local unknown = text:match("^unknown field '(.-)'")
  if unknown then keys = { unknown } end
  for _, key in ipairs(keys) do
    path = path and path .. "." .. key or tostring(key)
    local next_entry = assigned[path] or field_of(here.value, key)
    if not next_entry then break end
    here = next_entry
  end
  return here.line or 1
end

return M
