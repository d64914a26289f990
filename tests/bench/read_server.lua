-- read_server.lua DIR PORT [CACHE]: the API's own router, access and services over the store of DIR, with the sessions of its
-- users as credential (the read job of the figures). CACHE: credentials remembered, 0 for none.
local app = require "app"
local credentials = require "accounts.credentials"
local http = require "http"
local store = require "store"
local task = require "task"
local sys = require "sys"

local dir, port, cache = ...
assert(store.open { dir = dir, serve = true })
require "routes.health"
require "routes.instances"

credentials.remembered = tonumber(cache or 10000)
credentials.setup { "perf-anchor-secret-0123456789abcdef" }

local server = assert(http.serve {
  host = "127.0.0.1", port = tonumber(port), handler = app.handle, headers = app.default_headers,
})
local stop = task.signal()
sys.signal("TERM", function() stop:fire() end)
repeat
  local told = stop:wait(3600)
until told
server:drain(1)
