-- cchost serve: the control plane.

local accounts = require "accounts.setup"
local billing = require "billing.watch"
local canary = require "policy.canary"
local certificates = require "certificates"
local changes = require "machines.changes"
local closing = require "accounts.closing"
local config = require "config"
local denials = require "policy.denials"
local expiring = require "accounts.expiring"
local expiry = require "expiry"
local idle = require "idle"
local jobs = require "schedule.jobs"
local log = require "log"
local metering = require "billing.metering"
local networks = require "networks.sweep"
local outbox = require "outbox"
local own_jobs = require "policy.own_jobs"
local reconcile = require "reconcile"
local reload = require "policy.reload"
local retention = require "retention"
local runner = require "runner"
local revocations = require "accounts.revocations"
local samples = require "policy.samples"
local setup = require "setup"
local steady = require "steady"
local stripe = require "stripe.serve"
local sys = require "sys"
local task = require "task"
local time = require "time"
local users = require "accounts.users"
local watch = require "machines.watch"

local EXPIRE_SECONDS = 2 -- what is held open by a session or token is closed so soon after its end, or a little later
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

-- The default headers, and that browsers shall never come without TLS where there is any.
local function headers_for(app, settings)
  local headers = {}
  for k, v in pairs(app.default_headers) do headers[k] = v end
  if settings.BASE_URL and settings.BASE_URL:match("^https:") then
    headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
  end
  return headers
end

local function listen(settings)
  local app = require "app"
  require "routes"
  local http = require "http"
  local at = settings.LISTEN_ADDR
  local tls = certificates.list(settings)
  local seen = tls and certificates.state(tls)
  local server, err = http.serve {
    host = at.host, port = at.port, unix = at.unix, handler = app.handle, headers = headers_for(app, settings),
    trusted = settings.TRUSTED_PROXIES, tls = tls,
    limits = {
      connections = settings.HTTP_CONNECTIONS, head_seconds = settings.HTTP_HEAD_SECONDS,
      idle_seconds = settings.HTTP_IDLE_SECONDS, body_rate = settings.HTTP_BODY_RATE,
    },
  }
  if server and tls then certificates.keep(server, tls, seen) end
  return server, err
end

local function url_of(settings, server)
  if settings.LISTEN_ADDR.unix then return "unix:" .. settings.LISTEN_ADDR.unix end
  local host, port = server:addr()
  local scheme = certificates.list(settings) and "https" or "http"
  return ("%s://%s:%d"):format(scheme, host:find(":", 1, true) and "[" .. host .. "]" or host, port)
end

-- In development: a link with which the admin signs in. -> "\n  sign in: ..." or ""
local function sign_in_line(settings)
  if settings.DEV_LOGIN ~= "on" then return "" end
  local url, err = require("routes.auth").link(users.admin_email)
  if not url then
    log.warn("serve", "no link to sign in could be made", { error = tostring(err) })
    return ""
  end
  return "\n  sign in:         " .. url
end

local function banner(url, key_place, settings)
  if not sys.isatty(1) then return end
  sys.stdout(([[

  cchost serves at %s
  operator's key:  %s%s

  try:
    KEY=$(cat %s)
    curl -H "X-API-Key: $KEY" -d '{"name":"first"}' %s/instances
    curl -H "X-API-Key: $KEY" -d '{"cmd":["sh","-c","id; echo $((6*7))"]}' %s/instances/first/exec

  Ctrl-C ends it; machines go on running.

]]):format(url, key_place, sign_in_line(settings), key_place, url, url))
end

-- Asked for before anybody is told that we are ready. -> a function that waits until the end is asked for
local function heed_end()
  local asked, signal = false, task.signal()
  for _, name in ipairs { "TERM", "INT" } do
    sys.signal(name, function()
      asked = true
      signal:fire()
    end)
  end
  return function()
    while not asked do signal:wait(3600) end
  end
end

-- Everything that may fail, in order; what was opened is closed with the VM.
local function start(settings)
  local ok, err = setup.open(settings, { serve = true })
  if not ok then return nil, err end
  local place
  place, err = accounts.serve(settings)
  if not place then return nil, err end
  reconcile.remember()
  canary.serve() -- before anybody is answered: users are decided for by the same set as before a restart
  denials.serve()
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
    local names = reconcile.in_use(settings.PROVIDER)
    for _, name in ipairs(names) do task.spawn(reconcile.sweep, name) end
    reconcile.follow_all(names)
  end)
  every(settings.SWEEP_SECONDS, function()
    local done, err = networks.run()
    if not done then log.warn("networks", "the sweep goes on later", { error = tostring(err) }) end
  end)
  every(WATCH_SECONDS, function()
    watch.expire()
    runner.resume()
  end)
  every(EXPIRE_SECONDS, expiring.sweep)
  every(60, closing.resume)
  revocations.follow()
  task.spawn(reload.follow)
  task.spawn(function() retention.tidy(steady.now()) end) -- and then as policies/schedule.lua says
  changes.follow()
  idle.serve(settings)
  expiry.serve()
  task.spawn(metering.catch_up)
  billing.serve()
  outbox.serve()
  stripe.serve()
  own_jobs.serve()
  every(600, samples.save)
end

function M.run(args)
  local settings, rest, told = config.load(args, "serve")
  if not settings then return complain(rest) end
  if #rest > 0 then return complain { "serve takes no arguments, only settings, written --name=value" } end
  log.setup { level = settings.LOG_LEVEL, json = settings.ENVIRONMENT == "production" }
  for _, w in ipairs(told.warnings) do log.warn("config", w, {}) end
  local server, place = start(settings)
  if not server then
    io.stderr:write("cchost: ", place.message, "\n")
    return 1
  end
  local url = url_of(settings, server)
  accounts.listening(settings, url)
  local wait_for_end = heed_end()
  local resumed = runner.resume()
  log.info("serve", "ready", {
    url = url, key = place, data = settings.DATA_DIR, provider = settings.PROVIDER, resumed = resumed,
  })
  banner(url, place, settings)
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
  jobs.stop()
  idle.finish()
  samples.save()
  canary.save()
  denials.finish()
  runner.finish(math.max(0, (until_ms - time.mono()) / 1000))
  return 0
end

return M
