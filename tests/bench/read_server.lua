-- read_server.lua DIR PORT [CACHE]: the API's own router and middleware over the store of DIR, with Bearer tokens as
-- credential (the read job of the figures). CACHE: tokens remembered, 0 for none.
local app = require "app"
local errors = require "errors"
local http = require "http"
local jwt = require "jwt"
local store = require "store"
local task = require "task"
local sys = require "sys"

local dir, port, cache = ...
assert(store.open { dir = dir, serve = true })
require "routes.health"
require "routes.instances"

local verifier = jwt.new { { secret = "perf-anchor-secret-0123456789abcdef" }, cache = tonumber(cache or 4096) }

function app.authenticate(req)
  local text = req:header("authorization")
  local user, purpose
  if text then user, purpose = verifier:bearer(text) end
  if not user or purpose ~= "session" then return errors.fail("unauthorized", "invalid token") end
  return { user = user }
end

local server = assert(http.serve {
  host = "127.0.0.1", port = tonumber(port), handler = app.handle, headers = app.default_headers,
})
local stop = task.signal()
sys.signal("TERM", function() stop:fire() end)
repeat
  local told = stop:wait(3600)
until told
server:drain(1)
