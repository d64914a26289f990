-- /healthz: is it alive? Open to everybody, so it tells nothing that is not for everybody.

local app = require "app"
local cli = require "cli"
local store = require "store"

local answer = ('{"status":"ok","db":"ok","version":"%s"}'):format(cli.version)
local ill = ('{"status":"unavailable","db":"unavailable","version":"%s"}'):format(cli.version)

app.get("/healthz", { open = true, rate = false }, function()
  return store.stats() and 200 or 503, store.stats() and answer or ill
end)
