-- tls_server.lua PORT CERT KEY: one answer of 300 bytes, over TLS on PORT and plain on PORT + 1.
local http = require "http"
local sys = require "sys"
local task = require "task"

local port, cert, key = ...
local body = ("x"):rep(300)
local function handler(req) return req:reply(200, body, { ["Content-Type"] = "application/json; charset=utf-8" }) end

local limits = { idle_seconds = 3600, connections = 20000 }
local secure = assert(http.serve {
  port = tonumber(port), handler = handler, limits = limits, tls = { { cert = cert, key = key } },
})
local plain = assert(http.serve { port = tonumber(port) + 1, handler = handler, limits = limits })
local stop = task.signal()
sys.signal("TERM", function() stop:fire() end)
repeat
  local told = stop:wait(3600)
until told
secure:drain(1)
plain:drain(1)
