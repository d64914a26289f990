-- cchost routes: every route of the API and what it needs.

local app = require "app"
local command = require "command"
local json = require "json"

local M = {}

M.help = [[
usage: cchost routes [--json]

Prints one line per route: method, path, what it needs: "open" to all, or the scope that an API token must have, with
"admin" (an admin's alone), "user" (an account's, not the operator's key), "session" (not by an API token).

  --json   one JSON object a line: method, path, and whichever of open, scope, admin, user, session, object, rate apply
]]

local flags = { "open", "admin", "user", "session", "upgrade" }

local function row(route)
  local o = route.options
  local rate = o.rate == nil and "api" or o.rate
  local out = { method = route.method, path = route.pattern, scope = o.scope, object = o.object, rate = rate }
  for _, name in ipairs(flags) do out[name] = o[name] or nil end
  return out
end

local function needs(r)
  local words = { r.scope }
  for _, name in ipairs(flags) do
    if r[name] then words[#words + 1] = name end
  end
  return table.concat(words, ", ")
end

function M.run(argv)
  local options = command.read(argv, { usage = "cchost routes [--json]", options = { json = "flag" }, words = { 0, 0 } })
  require "routes"
  local rows = {}
  for i, route in ipairs(app.router.all) do rows[i] = row(route) end
  table.sort(rows, function(a, b) return a.path < b.path or a.path == b.path and a.method < b.method end)
  for _, r in ipairs(rows) do
    if options.json then
      command.out("%s", json.encode(r))
    else
      command.out("%-6s %-38s %s", r.method, r.path, needs(r))
    end
  end
end

return M
