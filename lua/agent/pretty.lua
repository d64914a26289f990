-- JSON for people: a member a line, names in their order.
--
-- pretty.encode(value) -> text

local json = require "json"

local M = {}

local write

local function members(value)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function block(open, close, parts, indent)
  if #parts == 0 then return open .. close end
  local inner = indent .. "  "
  return ("%s\n%s%s\n%s%s"):format(open, inner, table.concat(parts, ",\n" .. inner), indent, close)
end

function write(value, indent)
  if type(value) ~= "table" or value == json.null then return json.encode(value) end
  local parts = {}
  if json.is_array(value) then
    for i, v in ipairs(value) do parts[i] = write(v, indent .. "  ") end
    return block("[", "]", parts, indent)
  end
  for i, name in ipairs(members(value)) do parts[i] = json.encode(name) .. ": " .. write(value[name], indent .. "  ") end
  return block("{", "}", parts, indent)
end

function M.encode(value) return write(value, "") end

return M
