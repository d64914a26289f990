-- What is done about a machine that fails: what policies/health.lua says, asked at each failure that counts (health.lua).
--
--   healing.serve()     [serve's]
--
-- A restart is a workflow of its own (machines/workflows.lua). That it was asked for goes into the commit that counts it, so that
-- no crash lets a machine be restarted more often than HEALTH_RESTARTS_PER_HOUR says, whatever the policy does.

local errors = require "errors"
local health = require "machines.health"
local instances = require "instances"
local kept = require "policy.kept"
local log = require "log"
local policy = require "policy"
local steady = require "steady"
local time = require "time"
local tracker = require "idle.tracker"

local M = {}

local function seconds(text) return math.floor(time.parse(text) / 1000) end

local function input_of(rec, h, ms)
  local track = tracker.get(rec.id)
  if not track then return nil end
  local m = tracker.facts(track, ms)
  return {
    id = rec.id, name = rec.name, type = rec.type, provider = rec.provider, labels = rec.labels, owner = rec.owner, plan = m.plan,
    started_at = m.started_at, failing_since = seconds(h.since), failures = h.failures, source = h.source, error = h.error,
    restarts = h.tries, restarts_hour = #health.recent(h.restarts), most = health.settings.restarts,
    connections = m.connections, input_at = m.input_at, busy_at = m.busy_at, lease_until = m.lease_until,
    lease_reason = m.lease_reason, widespread = health.widespread(rec.provider),
  }
end

function health.decide(rec, h)
  local ms = steady.now()
  local input = input_of(rec, h, ms)
  if not input then return nil end
  local gen, verdict, reason = policy.ask_for(rec.owner, "health.decide", input, math.floor(ms / 1000))
  return kept.decision("health.decide", gen, input, verdict, reason, ms)
end

-- Counts it, in the commit that asks for it. -> why it would be one too many, or nil
local function counted(tx, rec)
  local ok = health.edit_in(tx, rec, function(h)
    if #health.recent(h.restarts) >= health.settings.restarts then return false end
    h.restarts[#h.restarts + 1] = steady.after(0)
    h.tries = h.tries + 1
    return true
  end)
  if not ok then
    return errors.new("limit", ("%d restarts within an hour are all that HEALTH_RESTARTS_PER_HOUR allows"):format(
      health.settings.restarts))
  end
end

local REFUSED = { state = true, conflict = true, precondition = true, limit = true }

function health.heal(rec, decision)
  if decision.verdict ~= "restart" then return end
  local done, err = instances.restart({
    admin = true, by = "policy", reason = decision.reason, expects = rec.version, decision = decision,
    refusal = function(tx) return counted(tx, rec) end,
  }, rec.id, 0)
  if done == nil then
    if not REFUSED[err.code] then
      log.warn("health", "a machine could not be restarted", { machine = rec.id, error = tostring(err) })
    end
    return
  end
  health.refresh(rec.id)
  log.warn("health", "a machine that fails is restarted", { machine = rec.id, reason = decision.reason })
end

function M.serve() health.serve() end

return M
