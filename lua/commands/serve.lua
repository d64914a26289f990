-- cchost serve: the control plane.

local accounts = require "accounts.setup"
local billing = require "billing.watch"
local canary = require "policy.canary"
local certificates = require "certificates"
local changes = require "machines.changes"
local closing = require "accounts.closing"
local claude = require "machines.claude"
local cli = require "cli"
local config = require "config"
local courier = require "webhooks.courier"
local denials = require "policy.denials"
local expiring = require "accounts.expiring"
local expiry = require "expiry"
local healing = require "machines.healing"
local health = require "observe.health"
local idle = require "idle"
local jobs = require "schedule.jobs"
local log = require "log"
local logging = require "observe.logging"
local metering = require "billing.metering"
local metrics = require "observe.metrics"
local networks = require "networks.sweep"
local outbox = require "outbox"
local own_jobs = require "policy.own_jobs"
local reconcile = require "reconcile"
local reload = require "policy.reload"
local retention = require "retention"
local runner = require "runner"
local revocations = require "accounts.revocations"
local samples = require "policy.samples"
local service = require "service"
local setup = require "setup"
local steady = require "steady"
local stripe = require "stripe.serve"
local sys = require "sys"
local task = require "task"
local time = require "time"
local traces = require "observe.traces"
local update = require "machines.update"
local upgrade = require "upgrade"
local users = require "accounts.users"
local wishes = require "upgrade_wish"
local watch = require "machines.watch"

local EXPIRE_SECONDS = 2 -- what is held open by a session or token is closed so soon after its end, or a little later
local WATCH_SECONDS = 2 -- between two looks for what is past its deadline, or has lost its runner

local M = {}

M.help = [[
usage: cchost serve [--SETTING=VALUE ...]

Runs the control plane until TERM or INT; then lets running requests end. HUP loads certificates anew. USR2 starts the
program anew and hands everything to it (cchost upgrade). Under systemd it tells when it is ready, and takes its sockets.

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

-- sockets: of somebody who listens already, instead of LISTEN_ADDR
local function listen(settings, sockets)
  local app = require "app"
  require "routes"
  local http = require "http"
  local at = settings.LISTEN_ADDR
  local tls = certificates.list(settings)
  local seen = tls and certificates.state(tls)
  local server, err = http.serve {
    host = at.host, port = at.port, unix = at.unix, fds = sockets and #sockets > 0 and sockets or nil,
    handler = app.handle, access_log = true, headers = headers_for(app, settings),
    trusted = settings.TRUSTED_PROXIES, tls = tls,
    limits = {
      connections = settings.HTTP_CONNECTIONS, head_seconds = settings.HTTP_HEAD_SECONDS,
      idle_seconds = settings.HTTP_IDLE_SECONDS, body_rate = settings.HTTP_BODY_RATE,
    },
  }
  if server and tls then certificates.keep(server, tls, seen) end
  return server, err
end

local function try_for_metrics(at)
  local server, err = require("http").serve {
    host = at.host, port = at.port, unix = at.unix, handler = require("routes.metrics").alone, limits = { connections = 64 },
  }
  if not server then return nil, err end
  local host, port = server:addr()
  log.info("serve", "figures are served", { at = at.unix and "unix:" .. at.unix or ("http://%s:%d/metrics"):format(host, port) })
  return true
end

-- The listener that has the figures alone; of an upgrade it is the process's before us until that has gone. -> true | nil, err
local function listen_for_metrics(settings, handed)
  local at = settings.METRICS_ADDR
  if not at then return true end
  if not handed then return try_for_metrics(at) end
  task.spawn(function()
    while not try_for_metrics(at) and task.sleep(0.5) do end -- luacheck: ignore 542
  end)
  return true
end

local function url_of(settings, server)
  if settings.LISTEN_ADDR.unix then return "unix:" .. settings.LISTEN_ADDR.unix end
  local host, port = server:addr()
  if not host then return "unix:(a socket that was given)" end
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

-- Asked for before anybody is told that we are ready. USR2 ends nobody, from before it can be known who we are.
local early = false
local function heed_early() sys.signal("USR2", function() early = true end) end

-- on_end(): as soon as an end is asked for. -> a function that waits -> "end" or "upgrade", what is asked for; and one that asks
-- for an upgrade
local function heed(on_end)
  local asked, signal = early and "upgrade" or nil, task.signal()
  local function on(name, what)
    sys.signal(name, function()
      if asked ~= "end" then asked = what end
      signal:fire()
      if what == "end" then on_end() end
    end)
  end
  on("TERM", "end")
  on("INT", "end")
  on("USR2", "upgrade")
  return function()
    while not asked do signal:wait(3600) end
    local what = asked
    if what ~= "end" then asked = nil end
    return what
  end, function() asked = asked or "upgrade" end
end

-- Everything that may fail, and that needs no socket. What was opened is closed with the VM. -> place of the key | nil, err
local function prepare(settings, parent)
  local ok, err = setup.open(settings, { serve = true, parent = parent })
  if not ok then return nil, err end
  local place
  place, err = accounts.serve(settings)
  if not place then return nil, err end
  ok, err = require("providers").get(settings.PROVIDER)
  if not ok then return nil, err end
  traces.open(settings, cli.version)
  return place
end

-- -> server | nil, err
local function open(settings, sockets, handed)
  reconcile.remember()
  canary.serve() -- before anybody is answered: users are decided for by the same set as before a restart
  denials.serve()
  local server, err = listen(settings, sockets)
  if not server then return nil, err end
  local ok, why = listen_for_metrics(settings, handed)
  if not ok then return nil, why end
  return server
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
  task.spawn(reload.follow)
  task.spawn(function() retention.tidy(steady.now()) end) -- and then as policies/schedule.lua says
  healing.serve() -- before any agent is asked
  idle.serve(settings)
  expiry.serve()
  claude.serve()
  update.serve()
  task.spawn(metering.catch_up)
  billing.serve()
  outbox.serve()
  stripe.serve()
  courier.serve()
  own_jobs.serve()
  every(600, samples.save)
end

-- What is begun here goes on by itself, and rests while another process takes our place.
local function go_on(settings)
  traces.serve()
  look_after(settings)
  local watchdog = tonumber(sys.env("WATCHDOG_USEC") or "")
  if watchdog and watchdog > 0 then
    task.work(function() -- also while the rest waits
      repeat service.notify("WATCHDOG=1") until not task.sleep(watchdog / 3e6)
    end)
  end
end

-- -> the server, the place of the operator's key | nil, the error
local function start(settings, parent)
  local place, err = prepare(settings, parent)
  if not place then return nil, err end
  if parent then
    local ours
    ours, err = parent:wait("prepared")
    if not ours then return nil, err end
  end
  local sockets = parent and parent.sockets or service.sockets()
  local server, why = task.duty(open, settings, sockets, parent ~= nil):join()
  if not server then return nil, why end
  return server, place
end

local function serve(settings, server, place, parent)
  local url = url_of(settings, server)
  accounts.listening(settings, url)
  local it = { settings = settings, server = server, listen = function(sockets) return listen(settings, sockets) end }
  local wanted, ask = heed(function() upgrade.stop(it) end)
  revocations.follow()
  changes.follow()
  metrics.serve { server = function() return it.server end, version = cli.version }
  task.duty(go_on, settings)
  if parent then parent:ready(runner.resume) else upgrade.begin() end
  health.serving(true)
  health.serve()
  local resumed = runner.resume()
  log.info("serve", "ready", {
    url = url, key = place, data = settings.DATA_DIR, provider = settings.PROVIDER, resumed = resumed,
  })
  service.notify("READY=1\nSTATUS=serves at " .. url)
  if not parent then banner(url, place, settings) end
  if wishes.is(settings) then ask() end -- of the process before us, which did not hear it
  while wanted() == "upgrade" do
    local state = upgrade.run(it)
    if state ~= "abandoned" then return state, it.server end
  end
  return "end", it.server
end

local function finish(settings, server)
  health.serving(false)
  log.info("serve", "ending; new connections are refused", {})
  service.notify("STOPPING=1")
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
end

function M.run(args)
  heed_early()
  local settings, rest, told = config.load(args, "serve")
  local parent = upgrade.parent()
  if not settings then
    if parent then parent:failed(table.concat(rest, "; ")) end
    return complain(rest)
  end
  if #rest > 0 then return complain { "serve takes no arguments, only settings, written --name=value" } end
  local written, why = logging.of_server(settings)
  if not written then
    if parent then parent:failed(why.message) end
    return complain { why.message }
  end
  for _, w in ipairs(told.warnings) do log.warn("config", w, {}) end
  local server, place = start(settings, parent)
  if not server then
    if parent then parent:failed(place.message) end
    io.stderr:write("cchost: ", place.message, "\n")
    return 1
  end
  local ended
  ended, server = serve(settings, server, place, parent)
  if ended == "end" then finish(settings, server) end
  traces.finish()
  return ended == "lost" and 1 or 0
end

return M
