-- client_memory.lua: RSS before and after the first outgoing request (libcurl is loaded by it).
local http = require "http"

local function rss()
  local f = assert(io.open("/proc/self/status"))
  local kib = f:read("*a"):match("VmRSS:%s+(%d+)")
  f:close()
  return kib
end

local server = assert(http.serve { host = "127.0.0.1", port = 0, handler = function(req) req:reply(200, "{}") end })
local host, port = server:addr()
print("memory.before_client: " .. rss() .. " KiB RSS")
assert(http.request { url = ("http://%s:%d/"):format(host, port), timeout = 5 })
print("memory.after_client: " .. rss() .. " KiB RSS")
server:close()
