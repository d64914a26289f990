-- What routes say of themselves, and what becomes of fields and patterns in the description.
local t = require "t"
local app = require "app"
local json = require "json"
local pattern = require "openapi.pattern"
local routes = require "openapi.routes"
local schema = require "openapi.schema"
local schemas = require "openapi.schemas"

require "routes"

t.test("every route says what it is", function()
  t.ok(#app.router.all > 150)
  for _, route in ipairs(app.router.all) do t.eq(routes.fault(route), nil) end
end)

t.test("one that does not is found", function()
  local function fault(options) return routes.fault { method = "GET", pattern = "/x", options = options } end
  local gives = { [200] = "Done" }
  t.eq(fault { open = true }, "GET /x: `does` is not said")
  t.eq(fault { does = "", gives = gives }, "GET /x: `does` is not said")
  t.eq(fault { does = ("x"):rep(121), gives = gives }, "GET /x: `does` is one line of at most 120 characters; `more` tells more")
  t.eq(fault { does = "Tells" }, "GET /x: `gives` is not said")
  t.eq(fault { does = "Tells", gives = {} }, "GET /x: `gives` is not said")
  t.eq(fault { does = "Tells", gives = gives, body = { a = { "string" } } }, "GET /x: `example` is not said, of its body")
  t.eq(fault { does = "Tells", gives = gives, body = {} }, nil)
end)

-- Every $ref in a schema.
local function refs(v, out)
  for key, item in pairs(v) do
    if key == "$ref" then out[#out + 1] = item:match("^#/components/schemas/(%w+)$") end
    if type(item) == "table" and item ~= json.null then refs(item, out) end
  end
  return out
end

t.test("every schema that is named is there, and every one that is there is named", function()
  local named, doc = {}, require("openapi.document").make()
  for _, name in ipairs(refs(doc, {})) do named[name] = true end
  for name in pairs(named) do t.ok(schemas[name], name) end
  for name in pairs(schemas) do t.ok(named[name], name) end
end)

t.test("the ids of operations are theirs alone", function()
  local seen = {}
  for _, d in ipairs(routes.all()) do
    t.eq(seen[d.id], nil)
    seen[d.id] = true
  end
end)

t.test("patterns of Lua as regular expressions", function()
  local cases = {
    ["^[%w_-]+$"] = "^[A-Za-z0-9_\\-]+$", ["^[^%c]+$"] = "^[^\\x00-\\x1f\\x7f]+$",
      ["^%x[%x-]+$"] = "^[A-Fa-f0-9][A-Fa-f0-9\\-]+$",
    ["^/[^%c]+$"] = "^\\/[^\\x00-\\x1f\\x7f]+$", ["a-b"] = "a*?b", ["%."] = "\\.", ["a.c"] = "a[\\s\\S]c", ["[a-f]"] = "[a-f]",
      ["[]x]"] = "[\\]x]",
    ["%D"] = "[^0-9]", ["x$y"] = "x\\$y", ["^[%w/_.:@+-]+$"] = "^[A-Za-z0-9/_.:@+\\-]+$", ["[%]]"] = "[\\]]", ["{}"] = "\\{\\}",
  }
  for lua, regex in pairs(cases) do t.eq(pattern.regex(lua), regex) end
  for _, lua in ipairs { "%b()", "%f[%a]", "(a)%1", "[a" } do t.eq(pattern.regex(lua), nil) end
end)

local function same(got, want) t.eq(json.encode(got), json.encode(want)) end

t.test("a body and an answer of the same fields", function()
  local fields = { a = { "string", required = true, max = 3 }, b = { "integer", min = 1, about = "How many" } }
  same(schema.of_body(fields), {
    type = "object", additionalProperties = false, required = { "a" },
    properties = { a = { type = "string", maxLength = 3 }, b = { type = "integer", minimum = 1, description = "How many" } },
  })
  same(schema.of({ "object", fields = { a = { "string", null = true }, b = { "boolean", maybe = true }, c = "Done" } }, true), {
    type = "object", required = { "a", "c" }, properties = {
      a = { type = { "string", "null" } }, b = { type = "boolean" }, c = { ["$ref"] = "#/components/schemas/Done" },
    },
  })
  same(schema.of({ "any", types = { "string", "integer" }, null = true }, true), { type = { "string", "integer", "null" } })
  same(schema.of({ "ref", to = "Done", null = true }, true),
    { oneOf = { { ["$ref"] = "#/components/schemas/Done" }, { type = "null" } } })
end)

return t.done()
