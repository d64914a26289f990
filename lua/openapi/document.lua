-- The OpenAPI 3.1 document of the API, of the route table (openapi/routes.lua) and nothing else.
--
--   document.make() -> table
--   document.text() -> its JSON, made once: names are sorted, so the same routes give the same text

local cli = require "cli"
local errors = require "errors"
local json = require "json"
local names = require "openapi.names"
local routes = require "openapi.routes"
local schema = require "openapi.schema"
local schemas = require "openapi.schemas"
local rights = require "rights"
local sorted_keys = require "sorted_keys"

local M = {}

local function content(media, what) return { [media] = { schema = what } } end

-- ---- one operation

local function parameter(place, p)
  local what = schema.of(p.field)
  local about, example = what.description, what.examples
  what.description, what.examples = nil, nil
  return {
    name = p.name, ["in"] = place, required = place == "path" or p.field.required == true, description = about, schema = what,
    example = example and example[1],
  }
end

local function parameters(d)
  local out = json.array {}
  for _, p in ipairs(d.params) do out[#out + 1] = parameter("path", p) end
  for _, p in ipairs(d.query) do out[#out + 1] = parameter("query", p) end
  local o = d.route.options
  local function shared(name) out[#out + 1] = { ["$ref"] = "#/components/parameters/" .. name } end
  if d.method == "POST" and not o.open and o.body ~= "raw" then shared "IdempotencyKey" end
  if d.method ~= "GET" and o.versioned then shared "IfMatch" end
  if d.method == "GET" and o.gives[304] ~= nil then shared "IfNoneMatch" end
  return out[1] and out or nil
end

local function body(d)
  local o = d.route.options
  if o.takes then
    local kinds = {}
    for media, field in pairs(o.takes) do
      kinds[media] = { schema = field and schema.of(field) or {}, example = field and o.example or nil }
    end
    return { content = kinds }
  end
  local spec = d.body or o.fields
  if not spec then return nil end
  local what, needs = schema.of_body(spec), false
  for _, field in pairs(spec) do needs = needs or field.required == true end
  return { required = needs, content = { ["application/json"] = { schema = what, example = o.example } } }
end

-- `what`: a field, a media type, or false for none.
local function answer(d, status, what)
  local out = { description = names.statuses[status] }
  if type(what) == "string" and what:find("/", 1, true) then
    out.content = content(what, what:match("^text/") and { type = "string" } or {})
  elseif what then
    out.content = content("application/json", schema.of(what, true))
  end
  local o = d.route.options
  if o.also and status == 200 then out.content[o.also] = { schema = { type = "string" } } end
  if o.part and status == 200 then
    out.content[o.part] = { schema = {
      type = "array", items = { type = "object" }, description = "With `fields`: of each those that were asked for",
    } }
  end
  local headers = {}
  if status == 202 or status == 201 and o.begins then headers.Location = { ["$ref"] = "#/components/headers/Location" } end
  if status == 200 and (o.gives[304] ~= nil or o.versioned and d.method ~= "GET") then
    headers.ETag = { ["$ref"] = "#/components/headers/ETag" }
  end
  if status == 200 and o.query and o.query.after then headers.Link = { ["$ref"] = "#/components/headers/Link" } end
  out.headers = next(headers) and headers or nil
  return out
end

local function answers(d)
  local out = { default = { ["$ref"] = "#/components/responses/Error" } }
  for _, status in ipairs(d.fails) do
    out[("%d"):format(status)] = { ["$ref"] = ("#/components/responses/Error%d"):format(status) }
  end
  for status, what in pairs(d.gives) do out[("%d"):format(status)] = answer(d, status, what) end
  if d.route.options.passes then -- errors are the machine's own, too
    out.default = { description = "What it answers there, or an error of ours" }
  end
  return out
end

local function needs(o)
  if o.open then return json.array {} end
  local scopes = o.scope ~= "any" and json.array { o.scope } or json.array {}
  local out = json.array { { bearer = scopes }, { session = json.array {} } }
  if not o.user and not o.session then out[3] = { key = json.array {} } end
  return out
end

local function told(d)
  local o, out = d.route.options, { d.more }
  if o.scope and o.scope ~= "any" then out[#out + 1] = ("Scope `%s`."):format(o.scope) end
  if o.admin then out[#out + 1] = "An admin's." end
  if o.user then out[#out + 1] = "An account's own: not with the operator's key." end
  if o.session then out[#out + 1] = "In a session alone, not with an API token." end
  return out[1] and table.concat(out, "\n\n") or d.does .. "."
end

local function operation(d)
  return {
    operationId = d.id, summary = d.does, description = told(d), tags = json.array { names.groups[d.group][1] },
    parameters = parameters(d), requestBody = body(d), responses = answers(d), security = needs(d.route.options),
  }
end

-- ---- the whole

local function header(about, what) return { description = about, schema = what or { type = "string" } } end

local function headers()
  return {
    ETag = header "Version of what is told, for If-Match and If-None-Match",
    Link = header "The next page, as `<...>; rel=\"next\"`; absent at the end",
    Location = header "Where the work that was begun, or what was made, is told of",
  }
end

local function in_header(name, about, example)
  return { name = name, ["in"] = "header", description = about, schema = { type = "string" }, example = example }
end

local function shared_parameters()
  return {
    IdempotencyKey = in_header("Idempotency-Key",
    "The same key with the same request has one effect, and gives the same answer for 24 hours",
      "4f1c0d5e"),
    IfMatch = in_header("If-Match", "Only if the record has this version; else 412", '"3"'),
    IfNoneMatch = in_header("If-None-Match", "304 if the record still has this version", '"3"'),
  }
end

local function responses()
  local what = content("application/json", { ["$ref"] = "#/components/schemas/Error" })
  local out = { Error = { description = "It could not be done; `error` says why", content = what } }
  for status, about in pairs(names.statuses) do
    if status >= 400 then out[("Error%d"):format(status)] = { description = about, content = what } end
  end
  return out
end

local function security()
  return {
    bearer = { type = "http", scheme = "bearer",
    description = "A session, or an API token (`cct_...`), which may be limited to scopes" },
    key = { type = "apiKey", ["in"] = "header", name = "X-API-Key",
    description = "The operator's key: an admin without an account" },
    session = { type = "apiKey", ["in"] = "cookie", name = "session", description = "A browser's session" },
  }
end

-- Those responses that no route refers to are not told.
local function used_only(doc)
  local text = json.encode(doc.paths)
  for _, part in ipairs { "responses", "headers", "parameters" } do
    for name in pairs(doc.components[part]) do
      if not text:find(('#/components/%s/%s"'):format(part, name):gsub("/", "\\/"), 1, true)
        and not text:find(('#/components/%s/%s"'):format(part, name), 1, true) then
        doc.components[part][name] = nil
      end
    end
  end
end

local intro = [[
JSON in and out; times are RFC 3339 UTC with milliseconds; lists are arrays, with the next page in `Link`; integers are exact.
Fields and parameters that a route does not know are refused by name. Errors are `{"error": sentence, "code": stable word}`.]]

local function scopes()
  local out = { "\n\nScopes of API tokens:\n" }
  for _, name in ipairs(rights.scope_names) do out[#out + 1] = ("- `%s`: %s"):format(name, rights.scopes[name]) end
  return table.concat(out, "\n")
end

function M.make()
  local doc = {
    openapi = "3.1.0",
    info = {
      title = "cchost", version = cli.version, description = intro .. scopes(),
      summary = "Machines to develop on, that stop when nobody uses them",
    },
    servers = json.array { { url = "/", description = "This server" } },
    tags = json.array {}, paths = {},
    components = {
      schemas = {}, headers = headers(), parameters = shared_parameters(), responses = responses(), securitySchemes = security(),
    },
  }
  local groups = {}
  for _, d in ipairs(routes.all()) do
    doc.paths[d.path] = doc.paths[d.path] or {}
    doc.paths[d.path][d.method:lower()] = operation(d)
    groups[d.group] = true
  end
  for key, group in pairs(names.groups) do
    if groups[key] then doc.tags[#doc.tags + 1] = { name = group[1], description = group[2] } end
  end
  table.sort(doc.tags, function(a, b) return a.name < b.name end)
  for name, field in pairs(schemas) do doc.components.schemas[name] = schema.of(field, true) end
  doc.components.schemas.Error.properties.code.enum = json.array(sorted_keys(errors.status))
  used_only(doc)
  return doc
end

local text

function M.text()
  text = text or json.encode(M.make())
  return text
end

return M
