-- cchost serve: the control plane.

local config = require "config"
local crypto = require "crypto"
local fs = require "fs"
local log = require "log"
local reconcile = require "reconcile"
local runner = require "runner"
local retention = require "retention"
local setup = require "setup"
local steady = require "steady"
local sys = require "sys"
local task = require "task"
local time = require "time"
local watch = require "machines.watch"

local WATCH_SECONDS = 2 -- between two looks for what is past its deadline, or has lost its runner

local M = {}

M.help = [[
usage: cchost serve [--SETTING=VALUE ...]

Runs the control plane until TERM or INT; then lets running requests end.

settings:
]] .. config.help()

local function complain(faults)
  for _, f in ipairs(faults) do io.stderr:write("cchost: ", f, "\n") end
  return 2
end

-- The operator's key: the one set, or the one made once into DATA_DIR/api_key (0600).
local function api_key(settings)
  if settings.API_KEY then return settings.API_KEY, "API_KEY" end
  local path = settings.DATA_DIR .. "/api_key"
  local key, err = fs.read(path, 4096)
  if not key and err.code == "not_found" then
    local ok, werr = fs.write(path, crypto.token(24) .. "\n", { mode = tonumber("600", 8), exclusive = true })
    if not ok and werr.code ~= "exists" then return nil, werr end
    key, err = fs.read(path, 4096)
  end
  if not key then return nil, err end
  key = key:match("^%s*(%S+)%s*$")
  if not key or #key < 16 then
    return nil, task.error { code = "invalid", message = path .. " holds no key of at least 16 characters", retryable = false }
  end
  return key, path
end

local function listen(settings)
  local app = require "app"
  require "routes.events"
  require "routes.health"
  require "routes.instances"
  require "routes.operations"
  require "routes.providers"
  local http = require "http"
  local at = settings.LISTEN_ADDR
  return http.serve {
    host = at.host, port = at.port, unix = at.unix, handler = app.handle, headers = app.default_headers,
    trusted = settings.TRUSTED_PROXIES,
    limits = {
      connections = settings.HTTP_CONNECTIONS, head_seconds = settings.HTTP_HEAD_SECONDS,
      idle_seconds = settings.HTTP_IDLE_SECONDS, body_rate = settings.HTTP_BODY_RATE,
    },
  }
end

local function url_of(settings, server)
  if settings.LISTEN_ADDR.unix then return "unix:" .. settings.LISTEN_ADDR.unix end
  local host, port = server:addr()
  return ("http://%s:%d"):format(host:find(":", 1, true) and "[" .. host .. "]" or host, port)
end

local function banner(url, key_place)
  if not sys.isatty(1) then return end
  sys.stdout(([[

  cchost serves at %s
  operator's key:  %s

  try:
    KEY=$(cat %s)
    curl -H "X-API-Key: $KEY" -d '{"name":"first"}' %s/instances
    curl -H "X-API-Key: $KEY" -d '{"cmd":["sh","-c","id; echo $((6*7))"]}' %s/instances/first/exec

  Ctrl-C ends it; machines go on running.

]]):format(url, key_place, key_place, url, url))
end

local function wait_for_end()
  local signal = task.signal()
  for _, name in ipairs { "TERM", "INT" } do
    sys.signal(name, function() signal:fire() end)
  end
  repeat
    local told = signal:wait(3600)
  until told
end

-- Everything that may fail, in order; what was opened is closed with the VM.
local function start(settings)
  local ok, err = setup.open(settings, { serve = true })
  if not ok then return nil, err end
  local key, place = api_key(settings)
  if not key then return nil, place end
  require("app").api_key = key
  reconcile.remember()
  ok, err = require("providers").get(settings.PROVIDER)
  if not ok then return nil, err end
  local server
  server, err = listen(settings)
  if not server then return nil, err end
  return server, place
end

-- Runs fn every so many seconds until the program ends. A fault in it is logged, and it goes on.
local function every(seconds, fn)
  task.spawn(function()
    repeat
      local ok, why = xpcall(fn, debug.traceback)
      if not ok then log.error("serve", "a periodic task raised", { traceback = why }) end
      local _, err = task.sleep(seconds)
    until err
  end)
end

-- What a serving process does besides answering.
local function look_after(settings)
  every(settings.SWEEP_SECONDS, function()
    for _, name in ipairs(reconcile.in_use(settings.PROVIDER)) do task.spawn(reconcile.sweep, name) end
  end)
  every(WATCH_SECONDS, function()
    watch.expire()
    runner.resume()
  end)
  every(3600, runner.tidy)
  every(3600, function() retention.tidy(steady.now()) end)
end

function M.run(args)
  local settings, rest = config.load(args)
  if not settings then return complain(rest) end
  if #rest > 0 then return complain { "serve takes no arguments, only settings: " .. rest[1] } end
  log.setup { level = settings.LOG_LEVEL, json = settings.ENVIRONMENT == "production" }
  local server, place = start(settings)
  if not server then
    io.stderr:write("cchost: ", place.message, "\n")
    return 1
  end
  local url = url_of(settings, server)
  local resumed = runner.resume()
  log.info("serve", "ready", {
    url = url, key = place, data = settings.DATA_DIR, provider = settings.PROVIDER, resumed = resumed,
  })
  banner(url, place)
  look_after(settings)
  wait_for_end()
  log.info("serve", "ending; new connections are refused", {})
  local until_ms = time.mono() + settings.DRAIN_SECONDS * 1000
  require("events").finish()
  runner.release()
  local drained, err = server:drain(settings.DRAIN_SECONDS)
  if not drained then
    log.warn("serve", "requests were cut", { error = tostring(err) })
    server:close()
  end
  runner.finish(math.max(0, (until_ms - time.mono()) / 1000))
  return 0
end

return M
