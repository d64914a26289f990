-- What a request body may hold, as data.
--
-- schema.check(spec, value) -> value, or nil, err (code "invalid", message naming the field)
-- A spec is {name = field}; a field is {kind, required=, min=, max=, pattern=, hint=, one_of=, of=field, check=function}.
--   kind: "any" (its check decides) | "string" | "integer" | "number" | "boolean" | "list" | "map" | "object" (with fields=spec)
-- Unknown fields are refused by name: a typing error must not be a silent default.
-- Patterns are matched with a count (host/script/pattern.h), of all that one check may take: a pattern that would try for hours
-- refuses the text.
--
-- schema.fault(spec) -> why it cannot be a spec, or nil: for those that operators write

local fence = require "fence"
local json = require "json"
local sorted_keys = require "sorted_keys"
local task = require "task"

local M = {}

local STEPS = 1000000
local steps_left

local function bad(field, message)
  return nil, task.error { code = "invalid", message = field .. ": " .. message, field = field, retryable = false }
end

local function kind_of(v)
  if v == json.null then return "null" end
  if type(v) == "table" then return json.is_array(v) and "list" or "object" end
  if type(v) == "number" then return v == math.floor(v) and "integer" or "number" end
  return type(v)
end

local article = { integer = "an integer", object = "an object" }
local function a(kind) return article[kind] or ("a " .. kind) end

-- Whether the pattern fits. -> true | false, why not
local function fits(text, pattern, hint)
  local does, left = fence.match(text, pattern, steps_left)
  if does == nil then return false, "it cannot be looked at: " .. left end
  steps_left = left
  return does, (hint or "another form") .. " expected"
end

local function characters(n) return n == 1 and "1 character expected" or ("%d characters expected"):format(n) end

local check = {}

function check.string(f, v, name)
  if f.min and #v < f.min then return bad(name, "at least " .. characters(f.min)) end
  if #v > (f.max or 4096) then return bad(name, "at most " .. characters(f.max or 4096)) end
  if v:find("%z") then return bad(name, "no NUL character expected") end
  if f.pattern then
    local ok, why = fits(v, f.pattern, f.hint)
    if not ok then return bad(name, why) end
  end
  if f.one_of then
    for _, o in ipairs(f.one_of) do
      if o == v then return v end
    end
    return bad(name, "one of " .. table.concat(f.one_of, ", ") .. " expected, not '" .. v:sub(1, 40) .. "'")
  end
  return v
end

function check.integer(f, v, name)
  if v < (f.min or -2 ^ 53) or v > (f.max or 2 ^ 53) then
    return bad(name, ("a number from %d to %d expected"):format(f.min or -2 ^ 53, f.max or 2 ^ 53))
  end
  return v
end
check.number = check.integer

local field, object

function check.boolean(_, v) return v end
function check.any(_, v) return v end

function check.list(f, v, name)
  if #v > (f.max or 100) then return bad(name, ("at most %d entries expected"):format(f.max or 100)) end
  for i, item in ipairs(v) do
    local ok, err = field(f.of, item, ("%s[%d]"):format(name, i - 1))
    if ok == nil then return nil, err end
  end
  return v
end

function check.map(f, v, name)
  local n = 0
  for key, item in pairs(v) do
    n = n + 1
    if n > (f.max or 100) then return bad(name, ("at most %d members expected"):format(f.max or 100)) end
    if #key > 128 or not fits(key, f.key or "^[%w_.-]+$") then
      return bad(name, ("the name '%s' is not allowed"):format(key:sub(1, 40)))
    end
    local ok, err = field(f.of, item, name .. "." .. key)
    if ok == nil then return nil, err end
  end
  return v
end

function check.object(f, v, name) return object(f.fields, v, name .. ".") end

local accepts = { map = { object = true }, number = { integer = true, number = true } }

-- One value against one field. `name` is how errors call it.
function field(f, v, name)
  local kind = f[1]
  local got = kind_of(v)
  if kind == "any" then got = kind end
  if got ~= kind and not (accepts[kind] and accepts[kind][got]) then
    return bad(name, ("%s expected, not %s"):format(a(kind == "map" and "object" or kind), a(got)))
  end
  local ok, err = check[kind](f, v, name)
  if ok == nil then return nil, err end
  if f.check then
    local why = f.check(v)
    if why then return bad(name, why) end
  end
  return v
end

function object(spec, value, prefix)
  if kind_of(value) ~= "object" then
    return bad(prefix == "" and "body" or prefix:sub(1, -2), "an object expected, not " .. a(kind_of(value)))
  end
  for _, name in ipairs(sorted_keys(value)) do
    if not spec[name] then
      local names = sorted_keys(spec)
      return bad(prefix .. name, "unknown field; " .. (names[1] and "expected: " .. table.concat(names, ", ") or "none expected"))
    end
  end
  for _, name in ipairs(sorted_keys(spec)) do
    local f, v = spec[name], value[name]
    if v == nil then
      if f.required then return bad(prefix .. name, "missing") end
    else
      local ok, err = field(f, v, prefix .. name)
      if ok == nil then return nil, err end
    end
  end
  return value
end

function M.check(spec, value, prefix)
  steps_left = STEPS
  return object(spec, value, prefix or "")
end

-- ---- is it a spec?

local function is_count(v) return type(v) == "number" and v >= 0 and v % 1 == 0 end
local function is_number(v) return type(v) == "number" and v == v end
local function is_text(v) return type(v) == "string" end
local function is_flag(v) return v == true or v == false end
local function is_texts(v)
  if type(v) ~= "table" or #v == 0 then return false end
  for k, text in pairs(v) do
    if type(k) ~= "number" or type(text) ~= "string" then return false end
  end
  return true
end

local number = { min = is_number, max = is_number }
local may_have = {
  any = {}, boolean = {}, integer = number, number = number,
  string = { min = is_count, max = is_count, pattern = is_text, hint = is_text, one_of = is_texts },
  list = { max = is_count, of = true }, map = { max = is_count, key = is_text, of = true }, object = { fields = true },
}

local function field_fault(f, name)
  local kind = type(f) == "table" and f[1]
  local may = type(kind) == "string" and may_have[kind]
  if not may then
    return ("%s: a table like {\"string\", required = true} expected, of one of the kinds %s"):format(name,
      table.concat(sorted_keys(may_have), ", "))
  end
  for k, v in pairs(f) do
    local is = k == 1 or k == "required" and is_flag or may[k]
    if not is then return ("%s: a %s has no '%s'"):format(name, kind, tostring(k)) end
    if type(is) == "function" and not is(v) then return ("%s: '%s' cannot be that"):format(name, k) end
  end
  local why = f.pattern and fence.pattern_fault(f.pattern) or f.key and fence.pattern_fault(f.key)
  if why then return name .. ": " .. why end
  if may.of then return field_fault(f.of, name .. ".of") end
  if may.fields then return M.fault(f.fields, name .. ".") end
end

function M.fault(spec, prefix)
  prefix = prefix or ""
  if type(spec) ~= "table" then return (prefix == "" and "" or prefix .. "fields: ") .. "a table of fields expected" end
  for name, f in pairs(spec) do
    if type(name) ~= "string" then return prefix .. tostring(name) .. ": names of fields expected, not a list" end
    local why = field_fault(f, prefix .. name)
    if why then return why end
  end
end

return M
