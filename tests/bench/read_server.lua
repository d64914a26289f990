-- read_server.lua DIR PORT [CACHE [LOG [RATIO]]]: the API's own router, access and services over the store of DIR, with the
-- sessions of its users as credential (the read job of the figures). CACHE: credentials remembered, 0 for none. LOG: a file that
-- gets a line of JSON for each request, as a server writes it; none when absent. RATIO: instead, so many requests are traced.
local app = require "app"
local credentials = require "accounts.credentials"
local http = require "http"
local store = require "store"
local task = require "task"
local sys = require "sys"

local dir, port, cache, file, ratio = ...
assert(store.open { dir = dir, serve = true })
require "routes.health"
require "routes.instances"

credentials.remembered = tonumber(cache or 10000)
credentials.setup { "perf-anchor-secret-0123456789abcdef" }

if ratio then -- this part of the requests is traced, and sent nowhere: what is full goes as if it had been
  local trace = require "trace"
  trace.sampler(tonumber(ratio), true)
  assert(trace.open(file .. ".spans"))
  require("observe.spans").active = true
  task.spawn(function()
    while trace.wait(5, 512) do
      repeat
        local _, n = trace.take(512)
        trace.sent()
      until n < 512
    end
  end)
elseif file then
  local log = require "log"
  log.setup { level = "info", json = true }
  assert(log.start { file = file })
end

local server = assert(http.serve {
  host = "127.0.0.1", port = tonumber(port), handler = app.handle, headers = app.default_headers,
  access_log = file ~= nil and not ratio,
})
local stop = task.signal()
sys.signal("TERM", function() stop:fire() end)
repeat
  local told = stop:wait(3600)
until told
server:drain(1)
