-- cchost openapi: what the API is, for programs (OpenAPI 3.1) or as the tables of docs/api.md.

local command = require "command"

local M = {}

M.help = [[
usage: cchost openapi [--markdown]

Prints the OpenAPI 3.1 document of the API, as GET /openapi.json gives it. It is made of the route table, so it is complete.

  --json       nothing else than without it: it is JSON
  --markdown   the tables of docs/api.md instead
]]

function M.run(argv)
  local options = command.read(argv, { usage = "cchost openapi [--markdown]", options = { markdown = "flag" }, words = { 0, 0 } })
  require "routes"
  local text = options.markdown and require("openapi.markdown").text() or require("openapi.document").text()
  command.out("%s", text)
end

return M
