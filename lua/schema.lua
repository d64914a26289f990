-- What a request body may hold, as data.
--
-- schema.check(spec, value) -> value, or nil, err (code "invalid", message naming the field)
-- A spec is {name = field}; a field is {kind, required=, min=, max=, pattern=, hint=, one_of=, of=field, check=function}.
--   kind: "any" (its check decides) | "string" | "integer" | "number" | "boolean" | "list" | "map" | "object" (with fields=spec)
-- Unknown fields are refused by name: a typing error must not be a silent default.

local json = require "json"
local task = require "task"

local M = {}

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

local check = {}

function check.string(f, v, name)
  if f.min and #v < f.min then return bad(name, ("at least %d characters expected"):format(f.min)) end
  if #v > (f.max or 4096) then return bad(name, ("at most %d characters expected"):format(f.max or 4096)) end
  if v:find("%z") then return bad(name, "no NUL character expected") end
  if f.pattern and not v:match(f.pattern) then return bad(name, (f.hint or "another form") .. " expected") end
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

function check.boolean(_, v) return v end
function check.any(_, v) return v end

function check.list(f, v, name)
  if #v > (f.max or 100) then return bad(name, ("at most %d entries expected"):format(f.max or 100)) end
  for i, item in ipairs(v) do
    local ok, err = M.field(f.of, item, ("%s[%d]"):format(name, i - 1))
    if ok == nil then return nil, err end
  end
  return v
end

function check.map(f, v, name)
  local n = 0
  for key, item in pairs(v) do
    n = n + 1
    if n > (f.max or 100) then return bad(name, ("at most %d members expected"):format(f.max or 100)) end
    if not key:match(f.key or "^[%w_.-]+$") or #key > 128 then
      return bad(name, ("the name '%s' is not allowed"):format(key:sub(1, 40)))
    end
    local ok, err = M.field(f.of, item, name .. "." .. key)
    if ok == nil then return nil, err end
  end
  return v
end

function check.object(f, v, name) return M.check(f.fields, v, name .. ".") end

local accepts = { map = { object = true }, number = { integer = true, number = true } }

-- One value against one field. `name` is how errors call it.
function M.field(f, v, name)
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

local function sorted_names(t)
  local names = {}
  for k in pairs(t) do names[#names + 1] = k end
  table.sort(names)
  return names
end

function M.check(spec, value, prefix)
  prefix = prefix or ""
  if kind_of(value) ~= "object" then
    return bad(prefix == "" and "body" or prefix:sub(1, -2), "an object expected, not " .. a(kind_of(value)))
  end
  for _, name in ipairs(sorted_names(value)) do
    if not spec[name] then
      local names = sorted_names(spec)
      return bad(prefix .. name, "unknown field; " .. (names[1] and "expected: " .. table.concat(names, ", ") or "none expected"))
    end
  end
  for _, name in ipairs(sorted_names(spec)) do
    local f, v = spec[name], value[name]
    if v == nil then
      if f.required then return bad(prefix .. name, "missing") end
    else
      local ok, err = M.field(f, v, prefix .. name)
      if ok == nil then return nil, err end
    end
  end
  return value
end

return M
