-- What the agent answers where its C does not (host/agent/main.c). Each request runs in a task of its own.
--
-- A route's handler gets (req, value...), the values of its pattern's {names}, and returns
--   status, body [, headers]   a table goes as JSON, a string as it is
--   nil, err                   an error value: its code says the status (errors.status), and goes along
--   nothing                    it has answered by itself (a stream, a WebSocket)
-- A part of the agent is one file, agent/NAME.lua, that returns function(add): add("GET", "/path/{name}", handler).

local at_work = require "agent.at_work"
local errors = require "errors"
local json = require "json"
local log = require "log"
local machine = require "machine"
local router = require "router"
local services = require "agent.services"
local task = require "task"
local update = require "update"

local parts = { "chat", "files", "projects", "update" }

local routes = router.new()

-- light: an update need not wait for its end.
local function add(method, pattern, handler, options)
  local light = options and options.light
  routes:add(method, pattern, { open = true, light = light }, handler) -- who may ask is decided before a request comes here
end

local function run(route, req, first, second)
  if route.options.light then return route.handler(req, first, second) end
  at_work.n = at_work.n + 1
  local function ended(ok, ...)
    at_work.n = at_work.n - 1
    if not ok then error((...), 0) end
    return ...
  end
  return ended(xpcall(route.handler, debug.traceback, req, first, second))
end

for _, name in ipairs(parts) do require("agent." .. name)(add) end
services.routes(add)
task.spawn(function()
  -- Without them the agent serves all else; unwell it would be ended, with every terminal.
  local ok, why = xpcall(services.begin, debug.traceback, machine.saved and json.decode(machine.saved).services)
  if not ok then log.error("services", "the services could not begin", { traceback = why }) end
  while machine.saved and not update.well() do task.sleep(0.1) end
  machine.saved = nil -- it may be long
end)

local function reply_error(req, err, headers)
  local body = { error = err.message, code = err.code }
  req:reply(err.status or errors.status[err.code] or 500, json.encode(body), headers)
end

local function reply(req, status, body, headers)
  if status == nil and body ~= nil then return reply_error(req, body) end
  if status == nil then return end
  req:reply(status, type(body) == "table" and json.encode(body) or body, headers)
end

return function(req)
  local route, first, second = routes:find(req:method(), req:path())
  if route then return reply(req, run(route, req, first, second)) end
  if not first then return reply_error(req, errors.new("not_found", "no such route")) end
  reply_error(req, errors.new("invalid", "that route has other methods", { status = 405 }),
    { allow = table.concat(first, ", ") })
end
