-- A script on the store of a server that runs: creates, stops, starts, deletes and patches machines by instances.*, for
-- the clients of make crash. An acknowledged change is an answer to them, in the form that the server's answers have.
--
--   DATA_DIR=... cchost tests/crash/second.lua     says "listening PORT" on stderr, and works until it is killed

local app = require "app"
local http = require "http"
local instances = require "instances"
local script = require "script"
local task = require "task"
require "routes.instances"
require "routes.operations"

function app.authenticate() return instances.operator end

script.open()
local server = script.must(http.serve { port = 0, handler = app.handle })
io.stderr:write(("listening %d\n"):format(select(2, server:addr())))
task.signal():wait(3600)
