-- Whether machines that run are well: how often in a row one has failed to be, since when and why. It is no round of its own: who
-- asks agents what they do (idle.lua) tells what came of it; one that has failed is asked again sooner.
--
-- A machine is well when its agent answers and its provider does not say otherwise (docker's `unhealthy`). What a provider that
-- cannot be reached, or a machine that its provider calls stopped, does not answer, says nothing of it: sweeps see to those.
--
-- The record "health" (id: the machine's) is there while one fails, so that its count outlives this process: {failures, since,
-- error, source = "agent" or "provider", told = a warning was given, restarts = times of the last hour's, tries = how many of
-- them since it fails, verdict = {verdict, reason, generation}}; afterwards while `restarts` has any. What fails and was started
-- again by somebody else's work (a recovery, a resize) fails on until it is well; one that is to be off fails no more.
--
--   health.well(rec), health.failed(rec, err), health.unwell(rec, source, why)      what came of asking [yields]
--   health.told(id) -> {status = "healthy" | "failing" | "unknown", failures, since, error, text, restarted_at}     the last
--       two also for an hour, and a little, after a restart that has helped
--   health.json(id) -> the same as JSON
--   health.count() -> how many that run have failed health.settings.failures times
--   health.widespread(provider) -> whether more than a few of the provider's fail so now, and more than a share of them
--   health.ask(id)            hook of idle.lua: asks it [yields]
--   health.decide(rec, h)     hook of healing.lua, at a failure that counts -> decision (policy/kept.lua) or nil
--   health.heal(rec, decision)      [yields] carries it out, after what was found is written
--   health.edit_in(tx, rec, change), health.refresh(id)     in healing.lua's update, and after it
--   health.setup(settings), health.serve()            [serve's]

local agent = require "machines.agent"
local changes = require "machines.changes"
local due = require "due"
local freshness = require "machines.freshness"
local json = require "json"
local log = require "log"
local record = require "machines.record"
local steady = require "steady"
local store = require "store"
local time = require "time"
local tracker = require "idle.tracker"

local M = { settings = { failures = 3, retry = 30, grace = 60, restarts = 4 } }

local HOUR = 3600
local MOST = 16     -- asked again at the same time
local NEXT = 500    -- ms until the next try when so many are
local FEW, SHARE = 2, 0.25
local COUNT_MS = 2000 -- how long a count of machines is good

local known = {}    -- [id] = the record "health"
local well = {}     -- [id] = status_at of the machine when it was found well
local queue, asking = nil, 0

function M.setup(settings)
  M.settings = {
    failures = settings.HEALTH_FAILURES or 3, retry = settings.HEALTH_RETRY_SECONDS or 30,
    grace = settings.HEALTH_GRACE_SECONDS or 60, restarts = settings.HEALTH_RESTARTS_PER_HOUR or 4,
  }
end

function M.ask() end
function M.decide() end
function M.heal() end

-- ---- the record

-- Restarts of the last hour alone.
local function recent(list)
  local out = json.array {}
  for _, at in ipairs(list or {}) do
    if -steady.left(at) < HOUR then out[#out + 1] = at end
  end
  return out
end
M.recent = recent

local function write(tx, id, h, owner)
  h.restarts = recent(h.restarts)
  if h.failures == 0 and #h.restarts == 0 then return tx:del("health", id) end
  tx:put("health", id, h, owner)
end

local function read(tx, id) return tx:get("health", id) or { failures = 0, tries = 0, restarts = json.array {} } end

-- In an update: change(h, tx, rec) -> false: nothing is to be written; what it gives is given back
function M.edit_in(tx, rec, change)
  local h = read(tx, rec.id)
  local told = change(h, tx, rec)
  if told ~= false then write(tx, rec.id, h, rec.owner) end
  return told, h
end

-- What another's update has written is what is known.
function M.refresh(id) known[id] = store.get("health", id) end

-- In an update of its own. -> what is kept now, or nil | nil, err
function M.edit(id, change)
  local now
  local ok, err = store.update(function(tx)
    now = known[id]
    local rec = record.get(tx, id)
    if not rec then return true end
    local _, h = M.edit_in(tx, rec, change)
    now = h
    return true
  end)
  if not ok then
    log.error("health", "what was found of a machine could not be noted", { machine = id, error = tostring(err) })
    return nil, err
  end
  known[id] = now and (now.failures > 0 or #now.restarts > 0) and now or nil
  return now
end

local function forget(h) -- it fails no more
  h.failures, h.tries, h.since, h.error, h.source, h.told, h.verdict = 0, 0, nil, nil, nil, nil, nil
end

-- ---- what was found

local function up(rec) return rec ~= nil and rec.status == "RUNNING" and not rec.suspended_at end

function M.well(rec)
  if not up(rec) then return end
  well[rec.id] = rec.status_at
  local k = known[rec.id]
  if not k or k.failures == 0 and #recent(k.restarts) == #k.restarts then return end
  queue:forget(rec.id)
  M.edit(rec.id, function(h, tx)
    if h.told then
      tx:log("instance", rec.id, "healthy", {
        failures = h.failures, since = h.since, error = h.error, restarts = h.tries,
        seconds = math.max(0, math.floor(-steady.left(h.since))),
      }, "system")
      log.info("health", "a machine is well again", { machine = rec.id, failures = h.failures, restarts = h.tries })
    end
    forget(h)
  end)
end

local function pause() return 1000 * M.settings.retry end

local function is_told(h) return h.failures >= M.settings.failures end

local function tell(tx, rec, h, decision)
  h.told = true
  tx:log("instance", rec.id, "unhealthy", {
    failures = h.failures, since = h.since, error = h.error, source = h.source, decision = decision,
  }, "system")
end

-- A failure that counts; `source`: who says so; `why`: a sentence for its owner; `err`: what the log is told.
function M.unwell(rec, source, why, err)
  if not up(rec) or -steady.left(rec.status_at) < M.settings.grace then return end
  local decision
  local h = M.edit(rec.id, function(h, tx, now)
    decision = nil
    if not up(now) or now.status_at ~= rec.status_at then return false end
    h.failures, h.since = h.failures + 1, h.since or steady.after(0)
    h.error, h.source = why, source
    if not is_told(h) then return end
    decision = M.decide(now, h)
    h.verdict = decision and { verdict = decision.verdict, reason = decision.reason, generation = decision.generation } or nil
    if not h.told then tell(tx, now, h, decision) end
  end)
  if not h or h.failures == 0 then return end
  well[rec.id] = nil
  if h.failures == M.settings.failures then
    log.warn("health", "a machine fails", { machine = rec.id, failures = h.failures, since = h.since, why = why,
      error = err and tostring(err) or nil })
  end
  queue:later(rec.id, pause())
  if decision then M.heal(rec, decision, h) end
end

-- What says nothing of a machine: it was not asked, or its provider says that it does not run.
local NOTHING = { cancelled = true, state = true, not_found = true, limit = true, unsupported = true }

-- What is told of an error: who owns the machine reads it, and where its agent is on this host is not for him.
local function plainly(err)
  return err.code == "timeout" and "no answer in time" or "it cannot be reached"
end

-- It did not tell what it does. That its agent is alive it says without a secret, past its provider's pool of threads.
function M.failed(rec, err)
  if NOTHING[err.code] or not up(rec) or freshness.since(rec.provider) then return end
  local answers, why = agent.answers(rec)
  if answers then return M.well(rec) end
  if why and why.code == "cancelled" then return end
  M.unwell(rec, "agent", plainly(why and why.code ~= "unsupported" and why or err), why or err)
end

-- ---- asking again

-- Of one whose agent was silent it is enough that it is silent still: that is known sooner than what it does. [yields]
local function look(id)
  local rec, h = store.get("instance", id), known[id]
  if up(rec) and h and h.source == "agent" then
    local answers, why = agent.answers(rec)
    if not answers and not (why and NOTHING[why.code]) then
      if freshness.since(rec.provider) then return queue:later(id, pause()) end
      return M.unwell(rec, "agent", why and plainly(why) or h.error, why)
    end
  end
  M.ask(id)
end

local function decide(id)
  local h = known[id]
  if not h or h.failures == 0 then return nil end
  if asking >= MOST then return steady.now() + NEXT end
  asking = asking + 1
  return steady.now() + pause(), function()
    local ok, why = xpcall(look, debug.traceback, id)
    asking = asking - 1
    if not ok then error(why, 0) end
    return true
  end
end

queue = due.new("health", decide)

-- What is to be off, or gone, fails no more; what was stopped by our own work and comes back goes on to fail.
local function on_change(id)
  local rec = store.get("instance", id)
  if not up(rec) or well[id] ~= rec.status_at then well[id] = nil end
  local k = known[id]
  if not k then return end
  if not rec or rec.status == "DELETED" then
    known[id] = nil
    queue:forget(id)
    store.update(function(tx)
      tx:del("health", id)
      return true
    end)
  elseif (rec.desired ~= "RUNNING" or rec.suspended_at) and k.failures > 0 then
    queue:forget(id)
    M.edit(id, function(h) forget(h) end)
  end
end

local function load()
  for _, row in ipairs(store.list("health")) do
    local h = json.decode(row.json)
    known[row.id] = h
    if h.failures > 0 then queue:later(row.id, pause()) end
    on_change(row.id)
  end
end

function M.serve()
  load()
  changes.on("instance", on_change)
  queue:serve()
end

-- ---- reading

local counted = { at = -math.huge }

local function counts()
  local now = time.mono()
  if now - counted.at < COUNT_MS then return counted end
  counted = { at = now, failing = {}, running = {} }
  for id, track in pairs(tracker.all()) do
    local name, h = track.static.provider, known[id]
    counted.running[name] = (counted.running[name] or 0) + 1
    if h and is_told(h) then counted.failing[name] = (counted.failing[name] or 0) + 1 end
  end
  return counted
end

function M.widespread(provider)
  local c = counts()
  local failing = c.failing[provider] or 0
  return failing > FEW and failing > c.running[provider] * SHARE
end

function M.count()
  local n = 0
  for id, h in pairs(known) do
    if is_told(h) and tracker.get(id) then n = n + 1 end
  end
  return n
end

local function at(text) return os.date("!%H:%M UTC", math.floor(time.parse(text) / 1000)) end

local function times(n) return n == 1 and "once" or n == 2 and "twice" or ("%d times"):format(n) end

-- What is wrong, and what was done about it, for people.
local function sentence(h)
  local what = h.source == "provider" and "its own check fails" or "its agent does not answer"
  local parts = { ("%s since %s (%s: %s)"):format(what, at(h.since), times(h.failures), h.error) }
  if h.tries > 0 and h.restarts[1] then
    local all = h.tries > 1 and (", %s in all"):format(times(h.tries)) or ""
    parts[2] = ("restarted at %s%s"):format(at(h.restarts[#h.restarts]), all)
  end
  local v = h.verdict
  if v and v.verdict ~= "restart" then parts[#parts + 1] = v.reason end
  return table.concat(parts, "; ")
end

function M.told(id)
  local h = known[id] or { failures = 0, restarts = {} }
  local failing, restarted = is_told(h), h.restarts[#h.restarts]
  local text = failing and sentence(h) or restarted and ("restarted at %s, for it failed"):format(at(restarted))
  return {
    status = failing and "failing" or well[id] and "healthy" or "unknown", failures = h.failures,
    since = h.since or json.null, error = h.error or json.null, text = text or json.null, restarted_at = restarted or json.null,
  }
end

local usual = {}

-- The same as JSON: that of most is one text.
function M.json(id)
  if known[id] then return json.encode(M.told(id)) end
  local how = well[id] and "healthy" or "unknown"
  usual[how] = usual[how] or json.encode(M.told(id))
  return usual[how]
end

return M
