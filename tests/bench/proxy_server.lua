-- proxy_server.lua PORT BACKEND_PORT: proxies /ws to a WebSocket server on loopback after a credential was checked, as the
-- terminal route does (the proxy job of the figures).
local http = require "http"
local jwt = require "jwt"
local sys = require "sys"
local task = require "task"

local port, backend = ...
local verifier = jwt.new { { secret = "perf-anchor-secret-0123456789abcdef" } }

local server = assert(http.serve {
  host = "127.0.0.1", port = tonumber(port), limits = { connections = 30000 },
  handler = function(req)
    if req:path() == "/healthz" then return req:reply(200, '{"status":"ok"}') end
    local text = req:header("authorization")
    if not text or not verifier:bearer(text) then return req:reply(401, '{"error":"invalid token"}') end
    local ok, err = req:proxy { host = "127.0.0.1", port = tonumber(backend), path = "/ws" }
    if not ok then req:reply(502, '{"error":"' .. err.code .. '"}') end
  end,
})
local stop = task.signal()
sys.signal("TERM", function() stop:fire() end)
repeat
  local told = stop:wait(3600)
until told
server:drain(1)
