-- What routes say of themselves beside their handlers, in full: what follows from what they need is added here, once. Both the
-- document and the tables of docs/api.md are made of it. A route says, in its options (app.lua):
--
--   does      one line: what it does             more     what else there is to say
--   body      the fields of its body; `fields` where something else checks them, `takes` {media type = field or false} where
--             it is no JSON; `example`: one
--   query     the fields of its query            values   {name = field} of its path, where openapi/names.lua has another
--   gives     {status = what}: a field (openapi/schema.lua), a media type, or false for no body; `also`: another media type
--   fails     its own errors, beside those of what it needs
--   begins    its answer's Location tells where the work is       versioned   it minds If-Match
--   group     where its path does not say it     passes   errors may be another's
--
--   routes.all() -> {description, ...} by path and method
--   routes.fault(route) -> what its description lacks, or nil
-- A description: {route, method, path (as OpenAPI writes it), id, group, does, more, params, query, body, gives, fails}

local app = require "app"
local names = require "openapi.names"
local sorted_keys = require "sorted_keys"

local M = {}

local function path_of(pattern) return (pattern:gsub("%*$", "{path}")) end

-- "getInstancesByIdLogs"
local function id_of(method, path)
  local words = { method:lower() }
  for s in path:gmatch("[^/]+") do
    local name = s:match("^{(.+)}$")
    for word in s:gmatch("%w+") do
      words[#words + 1] = (name and "By" or "") .. word:sub(1, 1):upper() .. word:sub(2)
      name = nil
    end
  end
  return table.concat(words)
end

local function params_of(route, path)
  local out = {}
  for name in path:gmatch("{(%w+)}") do
    local field = (route.options.values or {})[name] or names.values[name] or { "string" }
    local about = name == "id" and names.objects[route.options.object]
    if about then field = { "string", about = about } end
    out[#out + 1] = { name = name, field = field }
  end
  return out
end

-- Parameters of the query, in the order of their names.
local function query_of(options)
  local out = {}
  for _, name in ipairs(sorted_keys(options.query or {})) do out[#out + 1] = { name = name, field = options.query[name] } end
  return out
end

-- The errors that it may answer with: its own, and those of what it needs.
local function fails_of(route)
  local o, set = route.options, {}
  for _, status in ipairs(o.fails or {}) do set[status] = true end
  if not o.open then set[401], set[403] = true, true end
  if o.body or o.query and next(o.query) then set[400] = true end
  if o.object then set[404] = true end
  if o.versioned then set[412] = true end
  if o.upgrade then set[426] = true end
  if o.rate ~= false then set[429] = true end
  if route.method == "POST" and not o.open and o.body ~= "raw" then set[409], set[422] = true, true end
  for status in pairs(o.gives or {}) do set[status] = nil end
  return sorted_keys(set)
end

local function one_line(text) return text and (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")) end

function M.of(route)
  local path, o = path_of(route.pattern), route.options
  return {
    route = route, method = route.method, path = path, id = id_of(route.method, path), group = o.group or names.group_of(path),
    does = o.does, more = one_line(o.more), params = params_of(route, path), query = query_of(o),
    body = type(o.body) == "table" and o.body or nil, gives = o.gives, fails = fails_of(route),
  }
end

function M.fault(route)
  local o, at = route.options, route.method .. " " .. route.pattern
  if type(o.does) ~= "string" or o.does == "" then return at .. ": `does` is not said" end
  if #o.does > 120 or o.does:find("\n", 1,
    true) then return at .. ": `does` is one line of at most 120 characters; `more` tells more" end
  if type(o.gives) ~= "table" or next(o.gives) == nil then return at .. ": `gives` is not said" end
  if type(o.body) == "table" and next(o.body) and o.example == nil then return at .. ": `example` is not said, of its body" end
end

function M.all()
  local out = {}
  for _, route in ipairs(app.router.all) do out[#out + 1] = M.of(route) end
  table.sort(out, function(a, b) return a.path < b.path or a.path == b.path and a.method < b.method end)
  return out
end

return M
