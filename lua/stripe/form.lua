-- Stripe's form bodies and queries: nested tables as names with brackets. Pure.
--
--   form.encode(params) -> "customer=cus_1&line_items[0][price]=price_1&line_items[0][quantity]=1"; "" when nothing is in it
--
-- Texts, booleans, whole numbers up to 2^53, lists (numbered from 0) and tables of these; an empty table is nothing, for which
-- the form has no word. Anything else raises: a fraction would be money that nobody asked for. Names come sorted, so that the
-- same values are the same bytes: with an Idempotency-Key Stripe compares.

local M = {}

local MAX_DEPTH, MAX_EXACT = 10, 2 ^ 53

local function hex(c) return ("%%%02X"):format(c:byte()) end

local function escape(text) return (text:gsub("[^%w._~-]", hex)) end

-- A scalar as the form has it; raises on what is none.
local function text_of(value, name)
  local kind = type(value)
  if kind == "string" then return escape(value) end
  if kind == "boolean" then return value and "true" or "false" end
  if kind ~= "number" then error(("%s: a %s cannot be sent"):format(name, kind), 0) end
  if value ~= math.floor(value) or math.abs(value) > MAX_EXACT then
    error(("%s: a whole number of at most 2^53 expected"):format(name), 0)
  end
  return ("%d"):format(value)
end

-- The names in a table, sorted; of a list nil.
local function names_of(t, name)
  local names, is_list = {}, t[1] ~= nil
  for k in pairs(t) do
    if (type(k) == "number") ~= is_list then error(name .. ": neither a list nor a table of names", 0) end
    -- a bracket in a name would become structure on the other side
    if not is_list and (type(k) ~= "string" or k == "" or k:find("[%[%]]")) then error(name .. ": not a name", 0) end
    names[#names + 1] = k
  end
  if is_list then
    if #names ~= #t then error(name .. ": a list with holes", 0) end
    return nil
  end
  table.sort(names)
  return names
end

local add

local function add_table(out, name, t, depth)
  if depth > MAX_DEPTH then error(name .. ": nested too deeply", 0) end
  local names = names_of(t, name)
  if names then
    for _, k in ipairs(names) do add(out, name == "" and escape(k) or name .. "[" .. escape(k) .. "]", t[k], depth) end
  else
    for i, value in ipairs(t) do add(out, ("%s[%d]"):format(name, i - 1), value, depth) end
  end
end

function add(out, name, value, depth)
  if type(value) == "table" then return add_table(out, name, value, depth + 1) end
  out[#out + 1] = name .. "=" .. text_of(value, name)
end

function M.encode(params)
  local out = {}
  if params[1] ~= nil then error("names expected, not a list", 0) end
  add_table(out, "", params, 1)
  return table.concat(out, "&")
end

return M
