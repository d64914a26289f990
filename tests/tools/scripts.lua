-- For connect.test.js: prints connect.script for machines of every provider, hostile ones too, as one line of JSON each.
-- scripts.lua '{"name": {"rec": {...}, "key": [key, manager] or null, "address": text or null}, ...}'
local connect = require "connect"
local errors = require "errors"
local json = require "json"
local sys = require "sys"

local unset_key, unset_address = connect.device_key, connect.address

for name, case in pairs(json.decode((...))) do
  connect.device_key, connect.address = unset_key, unset_address
  if case.key then
    connect.device_key = function(rec)
      if rec.id ~= case.rec.id then return errors.fail("internal", "another machine") end
      return case.key[1], case.key[2]
    end
  end
  if case.address then connect.address = function() return case.address end end
  sys.stdout(json.encode { name = name, script = connect.script(case.rec, case.url or "http://localhost:8080") } .. "\n")
end
