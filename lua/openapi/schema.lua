-- A field as requests are checked by (schema.lua) or as an answer is described by, as JSON Schema (2020-12).
--
--   schema.of(field, is_answer) -> a table for json.encode
--   schema.of_body(spec) -> that of a body whose fields these are
--
-- Beside what schema.lua looks at a field may say: about (a sentence), format, default, example, types (of "any"). In a request
-- what is not `required` may be absent, and nothing else may be there; of an answer nothing is absent but what is `maybe`, a
-- later version may tell more, and `null` may stand for what has it. A text in the place of a field names a shared one
-- (schemas.lua); {"choice", of = {field, ...}} is one of some.

local json = require "json"
local pattern = require "openapi.pattern"

local M = {}

local make = {}

function make.any(f) return f.types and { type = json.array(f.types) } or {} end
function make.boolean() return { type = "boolean" } end

function make.number(f) return { type = f[1], minimum = f.min, maximum = f.max } end
make.integer = make.number

function make.string(f)
  local out = { type = "string", minLength = f.min, maxLength = f.max, format = f.format }
  if f.pattern then out.pattern = pattern.regex(f.pattern) end
  if f.one_of then out.enum = json.array { unpack(f.one_of) } end
  return out
end

function make.list(f, is_answer) return { type = "array", maxItems = f.max, items = M.of(f.of, is_answer) } end

function make.map(f, is_answer)
  local names = f.key and pattern.regex(f.key)
  return {
    type = "object", additionalProperties = M.of(f.of, is_answer), maxProperties = f.max,
    propertyNames = names and { pattern = names } or nil,
  }
end

function make.object(f, is_answer)
  local out = { type = "object", properties = {}, required = json.array {} }
  for name, field in pairs(f.fields) do
    out.properties[name] = M.of(field, is_answer)
    local always = is_answer and not (type(field) == "table" and field.maybe) or not is_answer and field.required
    if always then out.required[#out.required + 1] = name end
  end
  table.sort(out.required)
  if not out.required[1] then out.required = nil end
  if not is_answer then out.additionalProperties = false end
  return out
end

-- One of some.
function make.choice(f, is_answer)
  local out = { oneOf = json.array {} }
  for i, field in ipairs(f.of) do out.oneOf[i] = M.of(field, is_answer) end
  return out
end

function make.ref(f) return { ["$ref"] = "#/components/schemas/" .. f.to } end

local function or_null(out)
  if not out.type then return { oneOf = json.array { out, { type = "null" } } } end
  local types = type(out.type) == "table" and out.type or { out.type }
  out.type = json.array { unpack(types) }
  out.type[#types + 1] = "null"
  if out.enum then out.enum[#out.enum + 1] = json.null end
  return out
end

function M.of(f, is_answer)
  if type(f) == "string" then f = { "ref", to = f } end
  local out = make[f[1]](f, is_answer)
  if f.null then out = or_null(out) end
  out.description = f.about or f.hint
  out.default = f.default
  if f.example ~= nil then out.examples = json.array { f.example } end
  return out
end

function M.of_body(spec) return M.of { "object", fields = spec } end

return M
