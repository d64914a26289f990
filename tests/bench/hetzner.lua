-- cchost tests/bench/hetzner.lua DIR URL TOKEN: lists all machines, over and over, until the driver's budget says that users come
-- first. A line for each list: machines, ms; then what the last one was told.
local provider = require "provider"
local time = require "time"

local dir, url, token = ...
local p = assert(provider.open("hetzner", { dir = dir, token = token, endpoint = url }))
while true do
  local from = time.mono()
  local list, err = p:list { deadline = 60 }
  if not list then
    print("wait", err.code, err.retry_after or 0)
    break
  end
  print("list", #list, time.mono() - from)
end
p:close()
