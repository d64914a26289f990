-- What the figures of the application are called, and where each comes from. What happens often is counted where it
-- happens, in C (host/observe/metrics.h); what is read from what is there anyhow, when somebody asks.
--
-- metrics.serve{server = fn() -> the HTTP server whose connections are told, version =}     [serve's]
-- metrics.text(open_metrics) -> text          [yields] all of it, for Prometheus
--
-- A label is a word out of a few: a status, a step, a provider, a verdict. Never an id, an address or what a user wrote.

local attempt = require "webhooks.attempt"
local census = require "observe.census"
local changes = require "machines.changes"
local courier = require "webhooks.courier"
local event_types = require "event_types"
local fs = require "fs"
local health = require "machines.health"
local host_http = require "http"
local kinds = require "policy.kinds"
local log = require "log"
local metrics = require "metrics"
local policy = require "policy"
local providers = require "providers"
local queue = require "stripe.queue"
local reconcile = require "reconcile"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local works = require "observe.works"

local M = {}

local server

local function gauge(name, help, labels, unit) return metrics.gauge { name = name, help = help, labels = labels, unit = unit } end
local function counter(name, help, labels, unit)
  return metrics.counter { name = name, help = help, labels = labels, unit = unit }
end

-- ---- each of these fills its families from what is now; it waits, if at all, before the first

local function machines()
  local counts = census.counts()
  if not counts then return end
  local rows = {}
  for status, n in pairs(counts) do rows[#rows + 1] = { n, status } end
  gauge("cloudcode_instances", "Machines by status.", { "status" }):fill(rows)
  gauge("cloudcode_instances_active", "Machines that run."):set(counts.RUNNING or 0)
  gauge("cloudcode_instances_unhealthy", "Machines that run and have failed HEALTH_FAILURES times in a row."):set(health.count())
end

local function work()
  local rows, oldest = works.now()
  if not rows then return end
  gauge("cchost_workflows", "Workflows under way or queued, by kind and step.", { "kind", "step" }):fill(rows)
  gauge("cchost_workflow_oldest_age_seconds", "Age of the oldest workflow that is not over, by kind.", { "kind" }, "seconds")
    :fill(oldest)
end

local function decisions()
  local rows = {}
  for _, name in ipairs(kinds.functions()) do
    for _, verdict in ipairs(kinds.find(name).verdicts or { "answered" }) do rows[#rows + 1] = { 0, name, verdict } end
    rows[#rows + 1] = { 0, name, "failed" }
  end
  for name, verdicts in pairs(policy.counts()) do
    for verdict, n in pairs(verdicts) do rows[#rows + 1] = { n, name, verdict } end
  end
  counter("cchost_decisions", "Decisions of policies, by verdict; failed: the safe answer was given.", { "decision", "verdict" })
    :fill(rows)
  local status = policy.status()
  gauge("cchost_policy_generation", "Number of the policies in force."):set(status.generation or 0)
  gauge("cchost_policy_faults", "Faults for which the newest edit of the policies is refused."):set(#status.faults)
end

local POOL = {
  threads = "Threads of a provider's pool.", busy = "Threads of a provider's pool that are at work.",
  queued = "Calls that wait for a thread of a provider's pool.", waiting = "Tasks that wait for a provider.",
  abandoned = "Calls that were given up and have not returned.",
}

local POOLS = { "general", "mail", "network", "tls" } -- as cc_pool_new is given them; those of providers are their own

local function pools()
  local rows, ends = { threads = {}, busy = {}, queued = {} }, {}
  for _, name in ipairs(POOLS) do
    local st = metrics.pool(name)
    for field, list in pairs(rows) do list[#list + 1] = { st[field], name } end
    for _, how in ipairs { "timed_out", "cancelled" } do ends[#ends + 1] = { st[how], name, how } end
    ends[#ends + 1] = { st.finished - st.timed_out - st.cancelled, name, "done" }
  end
  gauge("cchost_pool_threads", "Threads for what blocks: files and commands, mail, networks, TLS.", { "pool" }):fill(rows.threads)
  gauge("cchost_pool_busy", "Threads of a pool that are at work.", { "pool" }):fill(rows.busy)
  gauge("cchost_pool_queued", "Jobs that wait for a thread of a pool.", { "pool" }):fill(rows.queued)
  counter("cchost_pool_jobs", "Jobs of a pool: done, given up by who wanted them, or past their time.", { "pool", "how" })
    :fill(ends)
end

local function provider_pools()
  local rows, ends = {}, {}
  for _, name in ipairs(providers.names()) do
    local st = providers.opened(name) and providers.get(name):stats()
    for field in pairs(st and POOL or {}) do
      rows[field] = rows[field] or {}
      table.insert(rows[field], { st[field], name })
    end
    if st then
      for _, how in ipairs { "failed", "timed_out", "cancelled" } do ends[#ends + 1] = { st[how], name, how } end
      ends[#ends + 1] = { st.calls, name, "begun" }
    end
  end
  for field, help in pairs(POOL) do
    gauge("cchost_provider_pool_" .. field, help, { "provider" }):fill(rows[field] or {})
  end
  counter("cchost_provider_calls", "Calls of providers: begun, and of those failed, timed_out and cancelled.",
    { "provider", "how" }):fill(ends)
end

local function the_store()
  local st = store.stats()
  if not st then return end
  counter("cchost_store_commits", "Commits of the store."):fill { { st.commits } }
  counter("cchost_store_updates", "Updates of the store, by what became of them.", { "how" }):fill {
    { st.updates, "done" }, { st.conflicts, "conflict" }, { st.failures, "failed" },
  }
  gauge("cchost_store_pending_updates", "Updates that wait to be durable."):set(st.pending)
  gauge("cchost_store_records", "Records in the store."):set(st.records)
  gauge("cchost_store_log_entries", "Number of the newest entry of the log."):set(st.log_seq)
  gauge("cchost_store_used_bytes", "Bytes of the store's file in use.", nil, "bytes"):set(st.used_bytes)
  gauge("cchost_store_map_bytes", "Bytes that the store's file may grow to before it is mapped anew.", nil, "bytes")
    :set(st.map_bytes)
  gauge("cchost_store_readers", "Readers of the store, of all processes."):set(st.readers)
end

local function connections()
  local st = server():stats()
  gauge("cchost_http_connections", "Open connections of clients, by what they are.", { "kind" }):fill {
    { st.connections, "http" }, { st.upgraded, "upgraded" },
  }
  gauge("cchost_http_requests_running", "Requests that wait for their answer."):set(st.running)
  counter("cchost_http_connections_accepted", "Connections that were accepted."):fill { { st.accepted } }
  counter("cchost_http_refused", "What was not answered by a route, by why.", { "why" }):fill {
    { st.refused, "malformed" }, { st.turned_away, "full" }, { st.given_up, "idle_when_full" }, { st.timed_out, "slow" },
  }
  counter("cchost_tls_handshakes", "TLS handshakes, by what became of them.", { "how" }):fill {
    { st.handshakes, "done" }, { st.handshakes_failed, "failed" },
  }
  local n = 0
  for _, streams in pairs(host_http.stream_counts()) do n = n + streams end
  gauge("cchost_proxy_connections", "Connections that are passed on to machines."):set(n)
end

local PENDING_MAX = 1000

local function size(index) return #(store.scan(index, { limit = PENDING_MAX }) or {}) end

local function queues()
  local hooks = courier.figures()
  if not hooks then return end
  local mails = store.list("outbox", { limit = PENDING_MAX }) or {}
  local rows = { { hooks.events, "webhooks", "pending" }, { #mails, "mail", "pending" } }
  for kind in pairs(queue.all) do
    rows[#rows + 1] = { size(kind .. "_pending"), kind, "pending" }
    rows[#rows + 1] = { size(kind .. "_parked"), kind, "parked" }
  end
  gauge("cchost_queue_length", "What waits to be done for others' services, and is parked; 1000: or more.", { "queue", "state" })
    :fill(rows)
  rows = {}
  for _, state in ipairs { "level", "behind", "retrying", "disabled" } do rows[#rows + 1] = { hooks[state], state } end
  gauge("cchost_webhooks", "Webhooks: level with the log, behind it, trying one event again, disabled.", { "state" }):fill(rows)
  gauge("cchost_webhook_oldest_event_age_seconds", "Age of the oldest event that waits for a webhook.", nil, "seconds")
    :set(hooks.age)
  local running, waiting = attempt.now()
  gauge("cchost_webhook_deliveries_now", "Deliveries under way, and those that wait for a place among them.", { "state" })
    :fill { { running, "running" }, { waiting, "waiting" } }
end

local function sweeps()
  local c, rows = reconcile.counters, {}
  for _, name in ipairs { "sweeps", "failures", "deferred", "drift", "told" } do rows[#rows + 1] = { c[name], name } end
  counter("cchost_reconcile", "Comparisons of records and providers, and what they found.", { "what" }):fill(rows)
  gauge("cchost_orphans", "Machines at providers that no record knows."):set(c.orphans)
end

local CLOCK_TICKS, PAGE_BYTES = 100, 4096 -- of Linux on the machines that this is built for

local function process()
  local stat, fds = fs.read("/proc/self/stat", 4096), fs.list("/proc/self/fd")
  local limits = fs.read("/proc/self/limits", 4096) or ""
  local fields, i = {}, 2
  for word in (stat or ""):gsub("^.*%) ", ""):gmatch("%S+") do i, fields[i + 1] = i + 1, tonumber(word) end
  if not fields[24] then return end
  counter("process_cpu_seconds", "CPU time of the process.", nil, "seconds"):fill { { (fields[14] + fields[15]) / CLOCK_TICKS } }
  gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", nil, "bytes"):set(fields[24] * PAGE_BYTES)
  gauge("process_virtual_memory_bytes", "Addresses of the process.", nil, "bytes"):set(fields[23])
  gauge("process_threads", "Threads of the process."):set(fields[20])
  gauge("process_open_fds", "Descriptors of the process."):set(fds and #fds or 0)
  gauge("process_max_fds", "Descriptors that it may have."):set(tonumber(limits:match("Max open files%s+(%d+)")) or 0)
  gauge("process_start_time_seconds", "When it began, in seconds since 1970.", nil, "seconds"):set(M.began / 1000)
end

local function the_rest()
  local used, held = sys.heap()
  gauge("cchost_heap_used_bytes", "Memory of C that is in use: what a leak would fill.", nil, "bytes"):set(used)
  gauge("cchost_heap_bytes", "Memory of C that is held: what is not in use is free for what comes.", nil, "bytes"):set(held)
  gauge("cchost_lua_memory_bytes", "Memory of the main Lua state.", nil, "bytes"):set(collectgarbage("count") * 1024)
  gauge("cchost_tasks", "Tasks that are alive."):set(task.count())
  local st = log.stats()
  counter("cchost_log_lines", "Lines of the log, by what became of them.", { "how" }):fill {
    { st.lines, "written" }, { st.dropped, "dropped" },
  }
end

local collectors = { machines, work, process, decisions, pools, provider_pools, the_store, connections, queues, sweeps, the_rest }

function M.text(open_metrics)
  for _, collect in ipairs(collectors) do
    local ok, why = xpcall(collect, debug.traceback)
    if not ok then log.error("metrics", "a figure could not be had", { traceback = why }) end
  end
  return metrics.text(open_metrics)
end

-- Every type has its series from the beginning: a rate is right from the first entry on, and no series comes later.
local function entries_of(kind, count)
  for _, type in ipairs(event_types.list(kind)) do count:add(0, type) end
  changes.on(kind, function(_, type) count:add(1, type) end)
end

function M.serve(o)
  server, M.began = o.server, time.now()
  gauge("cchost_build_info", "1; the version is the label.", { "version" }):set(1, o.version)
  metrics.watch_loop()
  census.serve()
  entries_of("instance", counter("cchost_machine_events", "Entries of machines' logs, by type.", { "type" }))
  entries_of("ledger", counter("cchost_ledger_entries", "Entries of the accounts' books, by type.", { "type" }))
end

return M
