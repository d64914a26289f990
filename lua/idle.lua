-- Idleness: who uses which machine, when it is warned and stopped, and what its owner is told. The parts are in lua/idle:
-- timeline (signals to facts), chunk (a day as it is kept), tracker (what is known now), pass (when is decided).
--
--   idle.serve(settings)             [serve's] tracks every machine that runs, and decides
--   idle.input(id)                   a command was run on it for its user
--   idle.finish()                    [yields] what is not written yet goes to the store
--
-- What a machine's owner reads beside the record, and its last activity as of now:
-- "idle": {"verdict", "reason", "stops_at", "text", "generation"}, where text is one sentence:
-- "stops at 17:42 UTC: no input since 15:42 UTC"; and "health" (machines/health.lua).

local access = require "machines.access"
local agent_secret = require "machines.agent_secret"
local book = require "billing.book"
local changes = require "machines.changes"
local decisions = require "idle.decisions"
local errors = require "errors"
local health = require "machines.health"
local host_http = require "http"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local log = require "log"
local outbox = require "outbox"
local pass = require "idle.pass"
local policy = require "policy"
local providers = require "providers"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"
local timeline = require "idle.timeline"
local tracker = require "idle.tracker"

local M = {}

local POLLS = 16 -- agents asked at the same time

local settings = { interval = 300 }

-- ---- which machines

local function look(id, _, begins)
  local rec = store.get("instance", id)
  local track = tracker.get(id)
  local runs = rec and rec.status == "RUNNING" and rec.provider ~= "foreign"
  if not runs then return track and tracker.drop(id) end
  if not track then
    track = tracker.begin(rec, begins ~= false)
    track.found = begins == false
    for _, lease in ipairs(leases.of(id)) do leases.on_change(id, lease.id, time.parse(lease.expires_at), lease.reason) end
    pass.add(track)
  elseif track.record_version ~= rec.version then
    if track.status_at ~= rec.status_at then track.verdict = nil end
    tracker.refresh(rec)
  end
end

-- A user's plan has changed: what his machines' decisions are told has, too.
local function look_at_those_of(owner)
  for id, track in pairs(tracker.all()) do
    if track.owner == owner then
      track.record_version = 0
      look(id)
    end
  end
end

-- Another set's plans are in force: what they say of each machine, in slices between which others run.
local function look_at_plans()
  local ids, pause = {}, slices.new()
  for id in pairs(tracker.all()) do ids[#ids + 1] = id end
  for _, id in ipairs(ids) do
    local rec = tracker.get(id) and store.get("instance", id)
    if rec then tracker.refresh(rec) end
    if not pause() then return end
  end
end

local function look_at_all()
  local after
  repeat
    local page = store.scan("instance_running", { after = after, limit = 500 })
    for _, row in ipairs(page) do
      after = row.key
      look(row.value, nil, false)
    end
    task.sleep(0)
  until #page < 500
end

-- ---- signals

function M.input(id) tracker.event(id, "i") end
access.on_use = M.input

-- Leases are records, by the wall clock; what is known of a machine is on the clock of deadlines.
function leases.on_change(id, lease, ends, reason)
  tracker.event(id, "l", lease, ends > 0 and steady.of_wall(ends) or 0, reason)
end

local connected = {} -- [id] = how many there were

local function see_streams()
  for id in pairs(host_http.typed()) do tracker.event(id, "i") end
end

local function see_connections()
  local counts = host_http.stream_counts()
  for id, n in pairs(counts) do
    if connected[id] ~= n then tracker.event(id, "c", n) end
  end
  for id in pairs(connected) do
    if not counts[id] then tracker.event(id, "c", 0) end
  end
  connected = counts
end

-- Load in few words, so that a day of it is short.
local function level(load)
  if load < 0.05 then return 0 end
  if load < 1 then return math.floor(load * 20) / 20 end
  return math.min(64, math.floor(load * 2) / 2)
end

-- Since when leases are held on a machine, of whichever kind, without a pause (ms), or nil.
local function held_since(id)
  local track = tracker.get(id)
  return track and timeline.held_since(track.s, steady.now())
end
function leases.held_since(id)
  local since = held_since(id)
  return since and steady.to_wall(since)
end

function leases.on_refused(id)
  local track = tracker.get(id)
  if track then timeline.refused(track.s, steady.now()) end
end

-- Until when the policy grants a lease that somebody holds on the machine: it is capped like one from outside, and a new one
-- does not begin the count anew. On the clock of deadlines; the agent's times are the wall clock's.
local function granted_until(track, lease)
  local now, wanted = steady.now(), steady.of_wall(lease.until_at)
  local since = math.min(lease.since and steady.of_wall(lease.since) or now, held_since(track.id) or now)
  local ttl = math.max(0, math.ceil((wanted - now) / 1000))
  local _, seconds = policy.ask_for(track.owner, "idle.lease", {
    owner = track.owner, plan = track.static.plan, reason = lease.reason or "", ttl = math.min(ttl, 2592000),
    held = math.max(0, math.floor((now - since) / 1000)),
  })
  if seconds < 1 then timeline.refused(track.s, now) end
  if seconds >= ttl then return wanted end
  return math.floor(now / 1000 + seconds) * 1000
end

local function take_report(id, told)
  local track = tracker.get(id)
  if not track then return end
  local s = track.s
  local typed = told.last_input_at or 0
  -- The same once more is nothing new, also where a wall clock that was set makes it later than what we know of.
  if typed > 0 and typed ~= track.typed then
    local last = steady.of_wall(typed)
    if last > (s.last or 0) and last > steady.now() - 86400000 then tracker.event(id, "i") end
  end
  track.typed = typed
  for _, lease in ipairs(told.leases or {}) do
    local held, ends = s.leases["agent/" .. lease.id], granted_until(track, lease)
    if ends > steady.now() and (not held or held.ends ~= ends) then
      tracker.event(id, "l", "agent/" .. lease.id, ends, lease.reason or "")
    end
  end
  for name in pairs(s.leases) do
    local agents = name:match("^agent/(.*)$")
    local still = false
    for _, lease in ipairs(told.leases or {}) do still = still or lease.id == agents end
    if agents and not still then tracker.event(id, "l", name, 0, "") end
  end
  local load, foreground = level(told.load or 0), told.foreground or false
  local turn, ssh = told.turn == true, told.ssh_sessions or 0
  if not s.report or s.load ~= load or (s.foreground or false) ~= foreground or s.turn ~= turn or s.ssh ~= ssh or load >= 0.5
    or turn or ssh > 0 then
    tracker.event(id, "r", load, foreground, turn, ssh)
  end
end

-- Asks a machine's agent what it does, and takes in what it tells; whether it is well comes of that, too (machines/health.lua).
-- -> true | nil, err
function M.ask_agent(id)
  local rec = store.get("instance", id)
  local p, err = nil, nil
  if rec then p, err = providers.get(rec.provider) end
  if not p then return nil, err or errors.new("not_found", "no such machine") end
  if not p:capabilities().activity then return errors.fail("unsupported", "its provider tells nothing") end
  local told
  told, err = p:activity(rec.provider_id, { deadline = 10, secret = agent_secret.get(rec) })
  if not told then
    health.failed(rec, err)
    return nil, err
  end
  take_report(id, told)
  if told.unhealthy then
    health.unwell(rec, "provider", "the provider says that it is unhealthy")
  else
    health.well(rec)
  end
  return true
end
health.ask = M.ask_agent

-- Every machine's agent is asked once in the interval, evenly.
local function poll()
  local polling = 0
  while true do
    local ids = {}
    for id in pairs(tracker.all()) do ids[#ids + 1] = id end
    local pause = settings.interval / math.max(1, #ids)
    local begun = time.mono()
    for i, id in ipairs(ids) do
      while polling >= POLLS do
        local ok = task.sleep(0.01)
        if not ok then return end
      end
      polling = polling + 1
      task.spawn(function()
        pcall(M.ask_agent, id)
        polling = polling - 1
      end)
      local ahead = begun + i * pause * 1000 - time.mono()
      if ahead > 0 then
        local ok = task.sleep(math.min(ahead / 1000, settings.interval))
        if not ok then return end
      end
    end
    if #ids == 0 and not task.sleep(math.min(settings.interval, 5)) then return end
  end
end

-- ---- verdicts

-- reason: why it stops then; is: why not now. The two differ while something else than time keeps it.
local function sentence(stops_at, reason, is)
  if not stops_at then return reason end
  local at = os.date("!%H:%M UTC", stops_at / 1000)
  if stops_at - steady.now() > 20 * 3600000 then at = os.date("!%Y-%m-%d %H:%M UTC", stops_at / 1000) end
  if is and is ~= reason then return ("%s; if nothing else happens it stops at %s"):format(is, at) end
  return ("stops at %s: %s"):format(at, reason)
end

-- In an update: a mail to the owner of a machine that is about to stop, when his plan says so.
local function mail_owner(tx, owner, name, text)
  local user = owner ~= "operator" and tx:get("user", owner)
  local plan = user and book.plan(policy.data("plans", owner), user.plan)
  if not plan or not plan.warn_mail or user.status ~= "active" then return end
  outbox.put(tx, {
    to = user.email, subject = ("Your machine %s is about to stop"):format(name), hours = 1,
    text = ("Your machine %s %s.\n\nType something in it, or start it again later: its data stays.\n"):format(name, text),
  })
end
M.mail_owner = mail_owner

-- Until when a machine is spared (unix ms), while that is to come: one that ran before this process began to watch, and whose
-- agent cannot be asked. Who has worked in it meanwhile nobody has seen, and nobody has warned him: it has its whole threshold.
local function spared_until(track)
  local ends = track.began + track.static.threshold * 1000
  return track.found and track.blind and ends > steady.now() and ends or nil
end

-- When it stops if nothing else happens (ms) or nil, the reason of then, the reason of now.    [yields]
local function forecast(track)
  local stops_at, reason, is = pass.forecast(track)
  local spared = stops_at and spared_until(track)
  return spared and math.max(stops_at, spared) or stops_at, reason, is
end

local function warn(track, reason)
  local stops_at = forecast(track)
  local text = sentence(stops_at, reason)
  local ok, err = store.update(function(tx)
    if not tx:get("instance", track.id) then return true end
    mail_owner(tx, track.owner, track.static.name, text)
    tx:log("instance", track.id, "idle_warning", {
      reason = reason, text = text, generation = track.generation, stops_at = stops_at and time.rfc3339(stops_at) or nil,
    }, "policy")
    return true
  end)
  if not ok then log.error("idle", "a warning could not be noted", { machine = track.id, error = tostring(err) }) end
end

-- Stops a machine: asked once more what it does, for what is known may be minutes old.
local function stop(track)
  local told, why = M.ask_agent(track.id)
  local was = track.blind
  track.blind = was or not told and why and why.code ~= "unsupported" -- once told, that end holds
  if spared_until(track) then
    if not was then warn(track, track.reason) end
    return
  end
  see_streams() -- what was typed since the last second's look
  local rec = store.get("instance", track.id)
  if tracker.get(track.id) ~= track or not rec then return end
  local now = steady.now()
  if track.last_at < now - 1000 or track.version ~= track.stop_version then
    track.enforcing = true
    pass.decide(track, math.max(track.last_at + 1, math.floor(now / 1000) * 1000))
    track.enforcing = nil
    if track.verdict ~= "stop" then return end
  end
  local ok, err = instances.move({ admin = true, by = "policy", reason = track.reason, expects = rec.version, decision = {
    kind = "idle", generation = track.generation, at = time.rfc3339(track.last_at),
  } }, track.id, "stop", 0)
  if not ok and err.code ~= "state" and err.code ~= "conflict" and err.code ~= "precondition" then
    log.warn("idle", "a machine could not be stopped", { machine = track.id, error = tostring(err) })
  end
end

function pass.on_verdict(track, verdict, reason, _, before)
  if track.enforcing then return end
  if verdict == "warn" and before ~= "warn" then
    task.spawn(warn, track, reason)
  elseif verdict == "stop" and not track.stopping then
    track.stopping, track.stop_version = true, track.version
    task.spawn(function()
      local ok, why = xpcall(stop, debug.traceback, track)
      track.stopping = nil
      if not ok then log.error("idle", "stopping raised", { machine = track.id, traceback = why }) end
    end)
  end
end

-- ---- serving

local function forever(seconds, fn)
  task.spawn(function()
    repeat
      local ok, why = xpcall(fn, debug.traceback)
      if not ok then log.error("idle", "a periodic task raised", { traceback = why }) end
      local slept = task.sleep(seconds)
    until not slept
  end)
end

function M.serve(new)
  settings = { interval = new.ACTIVITY_CHECK_INTERVAL or 300 }
  tracker.setup { decide = pass.decide, threshold = new.IDLE_THRESHOLD or 7200, keep_days = new.LOG_DAYS }
  decisions.threshold = new.IDLE_THRESHOLD or 7200
  pass.setup(settings)
  changes.on("instance", look)
  changes.on("user", function(id, type)
    if type == "changed" then look_at_those_of(id) end
  end)
  look_at_all()
  task.spawn(poll)
  forever(1, pass.tick)
  forever(1, see_streams)
  forever(5, see_connections)
  forever(10, function() tracker.save() end)
  policy.on_change(function() task.spawn(look_at_plans) end)
end

function M.finish() return tracker.save(true) end

-- ---- reading

-- `text` is a machine's stored JSON.
function instances.as_seen(text)
  if not text:find('"status":"RUNNING"', 1, true) then return text end
  local track = tracker.get(text:match('"id":"([^"]+)"'))
  if not track then return text end
  local stops_at, reason, is = forecast(track)
  local m = tracker.facts(track, steady.now())
  local told = json.encode {
    verdict = track.verdict or "keep", reason = is or reason, text = sentence(stops_at, reason, is),
    stops_at = stops_at and time.rfc3339(stops_at) or json.null, generation = policy.number(track.owner),
  }
  text = text:gsub('"last_activity_at":"[^"]*"', '"last_activity_at":"' .. time.rfc3339(m.last_activity_at * 1000) .. '"', 1)
  return text:sub(1, -2) .. ',"health":' .. health.json(track.id) .. ',"idle":' .. told .. "}" -- app.tagged knows
end

function instances.last_used(id)
  local track = tracker.get(id)
  return track and time.rfc3339(tracker.facts(track, steady.now()).last_activity_at * 1000)
end

return M
