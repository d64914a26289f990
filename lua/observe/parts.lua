-- What this process consists of, and how each part is now.
--
-- parts.list      {{name, look}, ...}      look() -> ok, why, more; waits for nothing
--   ok: whether it does what it is for      why: a sentence, when not      more: {last_success =, ...}, what else it says
-- What it says is for admins: errors name hosts and paths. Secrets are in none of it.

local attempt = require "webhooks.attempt"
local courier = require "webhooks.courier"
local jobs = require "schedule.jobs"
local log = require "log"
local mailer = require "accounts.mailer"
local machines = require "machines.health"
local outbox = require "outbox"
local queue = require "stripe.queue"
local reconcile = require "reconcile"
local steady = require "steady"
local store = require "store"
local time = require "time"
local traces = require "observe.traces"
local watch = require "machines.watch"

local M = {}

local MOST = 1000      -- counted of what waits
local BEHIND = 10000   -- entries of the log that webhooks may not have been looked at for yet
local DROPPED_MS = 300000

local function several(n, one, many) return n == 1 and "1 " .. one or ("%d %s"):format(n, many) end

local function sweep()
  local bad, newest, providers = {}, nil, reconcile.state()
  for name, p in pairs(providers) do
    if p.stale_since then bad[#bad + 1] = ("%s since %s: %s"):format(name, p.stale_since, p.error or "no time for it") end
    if p.listed_at and (not newest or p.listed_at > newest) then newest = p.listed_at end
  end
  table.sort(bad)
  return #bad == 0, "not asked with success: " .. table.concat(bad, "; "), { last_success = newest, providers = providers }
end

local function workflows()
  local late, now = 0, steady.now()
  for _, entry in ipairs(store.scan("instance_due", { limit = MOST })) do
    if not watch.due(tonumber(entry.key:sub(1, 15)), now, watch.began) then break end
    late = late + 1
  end
  return late == 0, several(late, "machine is", "machines are") .. " past the deadline",
    { waiting = #store.scan("work", { limit = MOST }) }
end

local function fleet()
  local failing = machines.count()
  return failing == 0, several(failing, "machine fails", "machines fail"), { failing = failing }
end

local function schedule()
  local bad, newest = {}, nil
  for _, job in ipairs(jobs.list()) do
    if job.ok == false then bad[#bad + 1] = ("%s: %s"):format(job.name, tostring(job.error)) end
    local at = job.ok == true and type(job.ended_at) == "string" and job.ended_at
    if at and (not newest or at > newest) then newest = at end
  end
  return #bad == 0, "failed the last time: " .. table.concat(bad, "; "), { last_success = newest }
end

local dropped, dropped_at = 0, nil

local function the_log()
  local st = log.stats()
  if st.dropped > dropped then dropped, dropped_at = st.dropped, time.mono() end
  return not dropped_at or time.mono() - dropped_at > DROPPED_MS, ("%d lines were dropped"):format(st.dropped),
    { written = st.lines, dropped = st.dropped }
end

local function mail()
  if not mailer.configured() then return true, nil, { off = true } end
  local st = outbox.state
  return not st.failed_at, ("since %s: %s"):format(st.failed_at or "", st.error or ""),
    { last_success = st.sent_at, pending = #store.list("outbox", { limit = MOST }) }
end

-- A receiver that takes nothing is its owner's matter: this is whether the log is followed.
local function webhooks()
  local behind = courier.behind()
  return behind < BEHIND, ("%d entries of the log are not told yet"):format(behind), {
    last_success = attempt.last.delivered, last_failure = attempt.last.failed, behind = behind,
  }
end

local function stripe()
  local parked, pending = 0, 0
  for kind in pairs(queue.all) do
    parked = parked + #store.scan(kind .. "_parked", { limit = MOST })
    pending = pending + #store.scan(kind .. "_pending", { limit = MOST })
  end
  return parked == 0, several(parked, "entry is", "entries are") .. " parked: see `cchost stripe`",
    { parked = parked, pending = pending }
end

local function tracing()
  local st = traces.state()
  return not st.failing, "the collector takes no spans", { off = not st.on or nil }
end

M.list = {
  { "sweep", sweep }, { "machines", fleet }, { "workflows", workflows }, { "schedule", schedule }, { "log", the_log },
  { "mail", mail }, { "webhooks", webhooks }, { "stripe", stripe }, { "traces", tracing },
}

return M
