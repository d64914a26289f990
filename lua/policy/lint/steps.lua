-- Workflows: a step with `run` says how it is undone, or why not.
--
-- steps.of_table(c, table)             a table constructor: that of a field `steps`, `prepare` or `finalize` in it
-- steps.of_field(c, target, value)     x.steps = value

local M = {}

local LISTS = { steps = true, prepare = true, finalize = true }

-- The table constructor that an expression is, or that a variable holds for good.
local function constructor(node)
  if node.tag == "Id" and node.var and #node.var.values == 1 then node = node.var.values[1].node or node end
  return node.tag == "Table" and node or nil
end

local function fields_of(node)
  local fields = {}
  for _, item in ipairs(node) do
    if item.tag == "Pair" and item[1].tag == "String" then fields[item[1][1]] = item[2] end
  end
  return fields
end

local function is_there(value) return value ~= nil and value.tag ~= "Nil" and value.tag ~= "False" end

local function check_step(c, step, i)
  local f = fields_of(step)
  if not is_there(f.run) or is_there(f.undo) then return end
  local name = f.name and f.name.tag == "String" and f.name[1] or tostring(i)
  local why = f.no_undo
  if not is_there(why) then
    local right = 'write undo, or no_undo = "why nothing is to be undone"'
    c.report("error", step, ("step '%s' has run and no undo; %s"):format(name, right))
  elseif why.tag == "String" and not why[1]:find("%S") or why.tag == "True" or why.tag == "Number" or why.tag == "Table" then
    c.report("error", step, ("step '%s': no_undo is a text that says why nothing is to be undone"):format(name))
  end
end

local function check_list(c, value)
  local list = constructor(value)
  if not list or list.steps_seen then return end
  list.steps_seen = true
  local i = 0
  for _, item in ipairs(list) do
    if item.tag ~= "Pair" then
      i = i + 1
      local step = constructor(item)
      if step then check_step(c, step, i) end
    end
  end
end

function M.of_table(c, node)
  local fields = fields_of(node)
  for name in pairs(LISTS) do
    if fields[name] then check_list(c, fields[name]) end
  end
end

function M.of_field(c, target, value)
  if target and target.tag == "Index" and target[2].tag == "String" and LISTS[target[2][1]] then check_list(c, value) end
end

return M
