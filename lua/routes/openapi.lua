-- GET /openapi.json: what this API is, for programs; made of the route table (openapi/document.lua).

local app = require "app"
local crypto = require "crypto"

local tag

app.get("/openapi.json", {
  open = true, does = "This description: OpenAPI 3.1", gives = { [200] = { "map", of = { "any" } }, [304] = false },
  more = "`cchost openapi` prints the same; `/docs/api` shows it to people.",
}, function(req)
  local text = require("openapi.document").text() -- not before somebody asks: it is large
  tag = tag or '"' .. crypto.hex(crypto.sha256(text)):sub(1, 16) .. '"'
  local headers, have = { ETag = tag, ["Cache-Control"] = "public, no-cache" }, req.http:header "if-none-match"
  if have and (have == "*" or have:find(tag, 1, true)) then return 304, "", headers end
  return 200, text, headers
end)
