-- A server for tests of rights: X-User says who asks ("root" is the operator). The mock provider; streams that say
-- something every 50 ms when they are silent.
--
--   cchost tests/api/two_users.lua FOLDER     prints "listening PORT"; TERM drains it and ends the process

local app = require "app"
local errors = require "errors"
local events = require "events"
local http = require "http"
local sys = require "sys"
local task = require "task"

local dir = ...
assert(require("setup").open({
  DATA_DIR = dir, STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = {}, PROVIDER = "mock",
  QUOTA_INSTANCES = 10, ORPHANS = "report", ORPHAN_GRACE_SECONDS = 0,
}, { serve = true }))
require "routes.events"
require "routes.instances"

events.quiet_ms = 50

function app.authenticate(req)
  local user = req:header("x-user")
  if not user then return errors.fail("unauthorized", "missing API key") end
  return user == "root" and { admin = true } or { user = user }
end

local server = assert(http.serve { port = 0, handler = app.handle })
local ended = task.signal()
sys.signal("TERM", function() ended:fire() end)
sys.stdout(("listening %d\n"):format(select(2, server:addr())))
ended:wait(600)
events.finish()
assert(server:drain(10))
