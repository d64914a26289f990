-- Sends one mail: cchost tests/mail/send.lua FILE (JSON of what mail.send takes; count = n sends it n times at once).
-- Prints a JSON line for each: { ok } or { code, message, retryable }; USR1 gives up. Says "ready" once it can be told so.

local fs = require "fs"
local json = require "json"
local mail = require "mail"
local sys = require "sys"
local task = require "task"

local o = json.decode(assert(fs.read((...))))
local sends = {}

sys.signal("USR1", function()
  for _, t in ipairs(sends) do t:cancel("given up") end
end)
sys.stdout('"ready"\n')
for i = 1, o.count or 1 do
  sends[i] = task.spawn(function() return mail.send(o) end)
end
for _, t in ipairs(sends) do
  local ok, err = t:join()
  sys.stdout(json.encode(ok and { ok = true } or { code = err.code, message = err.message, retryable = err.retryable }) .. "\n")
end
sys.signal("USR1", nil)
