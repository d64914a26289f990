-- Do the records say what the providers have? A sweep lists a provider's machines once (never a poll per machine),
-- compares, and asks for the work that brings the two together. What it finds are events and counters.
--
--   drift      a record and its machine disagree: judge() says what follows. It is confirmed by asking for that one
--              machine before anything is done, because a list may lag.
--   orphans    machines that carry our label and that no record knows: reported, or with ORPHANS=delete destroyed when
--              they have been seen for ORPHAN_GRACE_SECONDS.
--   freshness  a provider that cannot be listed makes its machines' records stale (machines/freshness.lua), nothing else.
--
-- Sweeps stay inside the provider's budget: PROVIDER_REQUESTS_PER_HOUR counts all its calls, and a sweep waits when
-- less than half of it is left, so that it never takes from what users ask for.
--
-- What could not be put right is tried again by later sweeps, after pauses that double up to an hour (`drift` in the
-- record: {work, count, next_at}).
--
-- The record "provider" (id: its name): {id, ok, error, since = of that, orphans = {short = {since, count, next_at}},
-- operation, queue, version}. A provider that was once asked has one, and is swept from then on.

local errors = require "errors"
local freshness = require "machines.freshness"
local json = require "json"
local kept = require "policy.kept"
local log = require "log"
local policy = require "policy"
local providers = require "providers"
local record = require "machines.record"
local runner = require "runner"
local statuses = require "statuses"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"
local workflow = require "workflow"

local M = {}

M.settings = { sweep_seconds = 30, orphans = "report", grace_seconds = 3600 }
-- How many: sweeps done, failed and put off (budget); records that disagreed; orphans of the last sweeps; changes that
-- providers have told by themselves.
M.counters = { sweeps = 0, failures = 0, deferred = 0, drift = 0, orphans = 0, told = 0 }

local orphans_of = {} -- [provider] = how many its last sweep saw
local errors_of = {}  -- [provider] = why it could not be listed, the last time

local function now_text() return time.rfc3339(time.now()) end

-- ---- the provider's own record, a subject of workflows like a machine

local subject = { edit = record.edit, differs = record.differs }

function subject.get(tx, name)
  return tx:get("provider", name) or {
    id = name, owner = "", ok = true, since = now_text(), orphans = {}, operation = json.null, queue = json.array {}, version = 0,
  }
end

function subject.save(tx, old, rec, type, by, note)
  rec.version = old.version + 1
  local data = {}
  for k, v in pairs(note or {}) do data[k] = v end
  data.changes, data.removed = record.changes(old, rec)
  tx:put("provider", rec.id, rec)
  tx:log("provider", rec.id, type, data, by)
end

workflow.subject("provider", subject)

-- In an update of its own. change(rec, tx) -> event type or nil, note
local function update_provider(name, change)
  return store.update(function(tx)
    local old = subject.get(tx, name)
    local rec = subject.edit(old)
    local type, note = change(rec, tx)
    if type then subject.save(tx, old, rec, type, "system", note) end
    return true
  end)
end

workflow.define("destroy_orphan", {
  subject = "provider", event = "orphan_deleted",
  steps = { { name = "destroy", run = function(x)
    local p, err = providers.get(x.rec.id)
    if not p then return nil, err end
    if store.lookup("instance_short", x.op.input.short) then return true end -- it has come to be known meanwhile
    return p:destroy("cc-" .. x.op.input.short, { deadline = x.seconds })
  end } },
  finish = function(rec, op)
    rec.orphans = record.edit(rec.orphans)
    rec.orphans[op.input.short] = nil
  end,
  fail = function() end,
})

-- Asks for the end of one orphan, whatever its age and ORPHANS; without waiting for it. -> its operation's id | nil, err
function M.remove_orphan(name, short, by)
  local id
  local ok, err = store.update(function(tx)
    local old = subject.get(tx, name)
    if not old.orphans[short] then return errors.fail("not_found", "no such orphan: it may have come to be known, or be gone") end
    if workflow.current(tx, old) then return errors.fail("state", "others are being removed: try again in a moment") end
    local rec = subject.edit(old)
    id = workflow.ask(tx, "provider", rec, "destroy_orphan", { short = short }, by)
    subject.save(tx, old, rec, "orphans_due", by, { orphans = json.array { short } })
    return true
  end)
  if not ok then return nil, err end
  runner.drive("provider", name)
  return id
end

local good = {}   -- [provider] = when it was last listed, RFC 3339
local seen, before = {}, {} -- [provider] = the same on the clock of deadlines, and of the list before that one

-- The last time at which a machine that reads RUNNING is known to have been alive: what it cost ends there (or, if it was
-- never listed since it began to run, when it began: billing/meter.lua sees to that). A process that has listed nothing
-- itself, as a script or a serve that has just begun, takes the last list of whoever did.
local function last_seen(rec)
  local known = not before[rec.provider] and store.get("provider", rec.provider)
  return before[rec.provider] or known and known.listed_at or time.rfc3339(0)
end

-- ---- judging

-- A machine that a provider calls "starting" for longer than this is half-made, and will not come up by itself.
local COMING_UP_SECONDS = 300

-- What is to be done about a settled record whose machine is `state` at the provider ("absent": not there), `age` seconds
-- after its status was entered. Pure. -> workflow kind or "adopt", event type, reason | nil
function M.judge(rec, state, age)
  local up = state == "running" or state == "starting" and age < COMING_UP_SECONDS
  if rec.status == "RUNNING" and rec.suspended_at and state == "suspended" then return end
  if rec.status == "RUNNING" and rec.suspended_at and state == "running" then
    return "adopt", "adopted", "it goes on at the provider"
  end
  if rec.status == "RUNNING" and not up then
    return "recover", "found_down", "the provider says " .. state
  elseif rec.status == "STOPPED" and (state == "running" or state == "starting" or state == "suspended") then
    return "stop", "found_running", "it runs at the provider, though it was stopped"
  elseif rec.status == "DELETED" and state ~= "absent" then
    return "cleanup", "found_again", "it is at the provider, though it was deleted"
  elseif rec.status == "ERROR" and rec.desired == "DELETED" then
    return "delete", "delete_again", "it is still to be deleted"
  elseif rec.status == "ERROR" and rec.desired == "RUNNING" and state == "running" then
    return "adopt", "adopted", "it runs at the provider after all"
  elseif rec.status == "ERROR" and rec.desired == "RUNNING" and (state == "stopped" or state == "suspended") then
    return "recover", "found_down", ("it is %s at the provider, though it is to run"):format(state)
  elseif rec.status == "ERROR" and rec.desired == "STOPPED" and state == "stopped" then
    return "adopt", "adopted", "it is stopped at the provider after all"
  elseif rec.status == "ERROR" and rec.desired == "STOPPED" and (up or state == "suspended") then
    return "stop", "found_running", "it runs at the provider, though it was to be stopped"
  end
end

local LAST_PAUSE, FORGIVEN = 3600, 7200 -- seconds

-- The account of what is tried again and again: nil when it is too early, else the account with this try.
local function next_try(tried, work)
  if not tried or tried.work ~= work or -steady.left(tried.next_at) > FORGIVEN then tried = { count = 0 } end
  if tried.next_at and steady.left(tried.next_at) > 0 then return nil end
  local pause = tried.count > 0 and math.min(LAST_PAUSE, M.settings.sweep_seconds * 2 ^ (tried.count - 1)) or 0
  return { work = work, count = tried.count + 1, next_at = steady.after(pause) }
end

local function age_of(rec) return -steady.left(rec.status_at) end

-- Commits what judge says, if the record is still of the version that it had before the provider was asked. -> true when
-- something follows
local function act(id, version, state)
  local kind
  local done = store.update(function(tx)
    kind = nil
    local old = record.get(tx, id)
    if not old or old.version ~= version or workflow.current(tx, old) then return false end
    local rec = record.edit(old)
    local type, reason
    kind, type, reason = M.judge(rec, state, age_of(rec))
    local tried = kind and next_try(rec.drift, kind)
    if not tried then
      kind = nil
      return false
    end
    rec.drift = tried
    if type == "found_down" and old.status == "RUNNING" then rec.ran_until = last_seen(old) end
    if kind == "adopt" then
      record.enter(rec, state == "stopped" and "STOPPED" or "RUNNING")
      rec.error, rec.provider_id = nil, "cc-" .. rec.short
    else
      workflow.ask(tx, "instance", rec, kind, nil, "system")
    end
    record.save(tx, old, rec, type, "system", { reason = reason }, true)
    return true
  end)
  if not done or not kind then return false end
  M.counters.drift = M.counters.drift + 1
  log.warn("reconcile", "a record and its machine disagreed", { machine = id, state = state, work = kind })
  runner.drive("instance", id)
  return true
end

-- What the provider says of one machine: its state, "absent", or nil, err.
local function state_of(p, short)
  local info, err = p:status("cc-" .. short, { deadline = providers.seconds })
  if info then return info.state == "gone" and "absent" or info.state end
  if err.code == "not_found" then return "absent" end
  return nil, err
end

-- Asks for this machine alone, because something that needs it failed, or a list says otherwise. -> whether something
-- follows | nil, err
function M.look(rec)
  local p = providers.get(rec.provider)
  if not p then return end
  local state, err = state_of(p, rec.short)
  if not state then return nil, err end
  return act(rec.id, rec.version, state)
end

-- ---- one sweep

local LISTED_MS = 60000

-- Its machines' records were true at the last good list; before this process had one, when the provider's record says.
local function lost(name, err)
  M.counters.failures = M.counters.failures + 1
  local why = json.text(tostring(err)) -- it is kept as JSON
  errors_of[name] = why
  local known = store.get("provider", name)
  local since = good[name] or known and (known.listed_at or known.since) or now_text()
  if not freshness.since(name) then
    log.error("reconcile", "the provider's machines cannot be listed", { provider = name, error = why, since = since })
  end
  freshness.lost(name, since)
  if known and not known.ok then return end
  update_provider(name, function(rec)
    rec.ok, rec.error, rec.since = false, why, since
    return "unreachable", { error = rec.error }
  end)
end

-- When it was last listed, for a process that begins while it cannot be; now and then, and not as an event: nothing has
-- changed.
local function note_listed(name, known)
  if known.listed_at and time.now() - time.parse(known.listed_at) < LISTED_MS then return end
  store.update(function(tx)
    local rec = tx:get("provider", name)
    if not rec then return true end
    rec.listed_at = good[name]
    tx:put("provider", name, rec)
    return true
  end)
end

local function found(name)
  if freshness.since(name) then log.info("reconcile", "the provider can be listed again", { provider = name }) end
  freshness.found(name)
  errors_of[name] = nil
  local known = store.get("provider", name)
  before[name] = seen[name] or known and known.listed_at or time.rfc3339(0) -- the list that is here now is proof of nothing
  seen[name], good[name] = steady.after(0), now_text()
  if known and known.ok then return note_listed(name, known) end
  update_provider(name, function(rec, tx)
    if not known then return tx:put("provider", name, rec) and nil end -- the first time: nothing has changed
    rec.ok, rec.error, rec.since = true, nil, good[name]
    return "reachable"
  end)
end

-- At the start of serve: what was out of reach when the last one ended is so until it has been asked.
function M.remember()
  for _, row in ipairs(store.list("provider")) do
    local rec = json.decode(row.json)
    if not rec.ok then freshness.lost(rec.id, rec.since) end
  end
end

-- -> {short = state} of ours
local function by_short(infos)
  local out = {}
  for _, info in ipairs(infos) do
    local short = info.provider_id:match("^cc%-(%x+)$") or (info.name or ""):match("^cc%-(%x+)$")
    if short then out[short] = info.state end
  end
  return out
end

-- Records that the list contradicts, each asked for once more, as long as the provider answers. `candidates`: uuids.
local function confirm(name, candidates)
  for i, id in ipairs(candidates) do
    if not task.sleep(0) then return end -- there may be thousands: each is a place to rest at (upgrade.lua)
    local rec, _, err = store.get("instance", id), nil, nil
    local allowed = providers.within_budget(name, 0.25)
    if allowed and rec then _, err = M.look(rec) end
    if err or not allowed then
      M.counters.deferred = M.counters.deferred + #candidates - i + 1
      if err and err.code ~= "cancelled" then
        log.warn("reconcile", "the rest waits for the next sweep", { provider = name, error = tostring(err) })
      end
      return
    end
  end
end

-- uuids of this provider's records under an index "provider/short", each with its short.
local function each(index, name, fn)
  local after
  repeat
    local page = store.scan(index, { prefix = name .. "/", after = after, limit = 500 })
    for _, entry in ipairs(page) do
      after = entry.key
      fn(entry.key:sub(#name + 2), entry.value)
    end
    task.sleep(0)
  until #page < 500
end

-- -> uuids to be looked at, shorts that no record knows
local function compare(name, states)
  local candidates, orphans, n = {}, {}, 0
  for short, state in pairs(states) do
    local id = store.lookup("instance_short", short)
    local rec = id and store.get("instance", id)
    if not id then
      orphans[#orphans + 1] = short
    elseif rec and rec.provider == name and M.judge(rec, state, age_of(rec)) then
      candidates[#candidates + 1] = id
    end
    n = n + 1
    if n % 200 == 0 then task.sleep(0) end
  end
  for _, index in ipairs { "instance_running", "instance_undeleted" } do
    each(index, name, function(short, id)
      if not states[short] then candidates[#candidates + 1] = id end
    end)
  end
  return candidates, orphans
end

local KEPT = 100 -- decisions of one sweep that are kept

-- What the policy says of an orphan, as it is kept. Its age is measured on the clock of deadlines.
local function decided(name, short, known)
  local ms = time.now()
  local now = math.floor(ms / 1000)
  local input = {
    provider = name, short = short, since = now + math.ceil(steady.left(known.since)), setting = M.settings.orphans,
    grace = M.settings.grace_seconds,
  }
  local gen, verdict, reason = policy.ask_for(nil, "orphans.decide", input, now)
  return kept.decision("orphans.decide", gen, input, verdict, reason, ms)
end

-- What the list of orphans becomes, with those that are new, those whose end is due now, and what was decided about both.
local function next_orphans(name, was, shorts)
  local is, fresh, ripe, decisions = {}, {}, {}, {}
  for _, short in ipairs(shorts) do
    local known = was[short]
    if not known then fresh[#fresh + 1] = short end
    known = known or { since = steady.after(0) }
    local decision = decided(name, short, known)
    local new = not was[short]
    if decision.verdict == "delete" then
      local tried = next_try(known.count and { work = "destroy", count = known.count, next_at = known.next_at }, "destroy")
      if tried then
        ripe[#ripe + 1], new = short, true
        known = { since = known.since, count = tried.count, next_at = tried.next_at }
      end
    end
    if new and #decisions < KEPT then decisions[#decisions + 1] = decision end
    is[short] = known
  end
  return is, fresh, ripe, kept.list(decisions)
end

-- Keeps the list of orphans, and asks for the end of those whose time has come.
local function keep_orphans(name, shorts)
  local known = store.get("provider", name)
  orphans_of[name] = #shorts
  M.counters.orphans = 0
  for _, n in pairs(orphans_of) do M.counters.orphans = M.counters.orphans + n end
  if #shorts == 0 and (known == nil or next(known.orphans) == nil) then return end
  local fresh, ripe
  update_provider(name, function(rec, tx)
    fresh, ripe = {}, {}
    if workflow.current(tx, rec) then return end -- some are being destroyed: the next sweep sees what is left
    local was = rec.orphans
    local decisions
    rec.orphans, fresh, ripe, decisions = next_orphans(name, was, shorts)
    for _, short in ipairs(ripe) do
      workflow.ask(tx, "provider", rec, "destroy_orphan", { short = short }, "system")
    end
    if #fresh > 0 then return "orphans_found", { orphans = json.array(fresh), decisions = decisions } end
    if #ripe > 0 then return "orphans_due", { orphans = json.array(ripe), decisions = decisions } end
    if record.differs({ o = was }, { o = rec.orphans }) then return "orphans_gone" end
  end)
  for _, short in ipairs(fresh) do
    log.warn("reconcile", "the provider has a machine that no record knows", { provider = name, machine = "cc-" .. short })
  end
  if #ripe > 0 then runner.drive("provider", name) end
end

local sweeping = {} -- [provider]
local STALE_MS = 600000 -- records of a provider that no sweep could ask for so long are stale

-- The budget does not allow a sweep now.
local function put_off(name)
  M.counters.deferred = M.counters.deferred + 1
  if good[name] and time.now() - time.parse(good[name]) > STALE_MS then freshness.lost(name, good[name]) end
end

local function sweep(name)
  local p, err = providers.get(name)
  if p and not providers.within_budget(name, 0.5) then return put_off(name) end
  local infos
  if p then infos, err = p:list { deadline = providers.seconds } end
  if not infos then
    if err.code == "limit" then return put_off(name) end -- the driver's own account of its requests
    if err.code ~= "cancelled" then lost(name, err) end
    return nil
  end
  found(name)
  M.counters.sweeps = M.counters.sweeps + 1
  local candidates, orphans = compare(name, by_short(infos))
  confirm(name, candidates)
  keep_orphans(name, orphans)
  return true
end

-- Compares one provider's machines with the records, unless that is under way. -> true, or nil when it could not be done
function M.sweep(name)
  if sweeping[name] then return nil end
  sweeping[name] = true
  local ok, done = xpcall(sweep, debug.traceback, name)
  sweeping[name] = nil
  if not ok then error(done, 0) end
  return done
end

-- ---- what a provider tells by itself

-- One machine of ours changed there; by our own work, most of the time.
local function changed(short)
  local id = store.lookup("instance_short", short)
  local rec = id and store.get("instance", id)
  if rec and statuses.settled(rec.status) then M.look(rec) end
end

-- Follows a provider that tells what changes there, so that nobody waits for the next sweep; those that do not are swept,
-- and nothing else. Returns when the process ends.
function M.follow(name)
  local p = providers.get(name)
  if not p or not p.capabilities or not p:capabilities().watch then return end
  repeat
    local changes, behind = p:changes()
    for _, c in ipairs(changes or {}) do
      M.counters.told = M.counters.told + 1
      changed(c.id:sub(4))
    end
    if changes and behind then M.sweep(name) end
  until not changes
end

-- How the sweeps stand: {[provider] = {listed_at = RFC 3339 or nil: not by this process, stale_since =, error =}}
function M.state()
  local out = {}
  for _, name in ipairs(providers.names()) do
    if good[name] or errors_of[name] then
      out[name] = { listed_at = good[name], stale_since = freshness.since(name), error = errors_of[name] }
    end
  end
  return out
end

local following = {} -- [provider]

-- At each sweep: whatever is in use by now is followed.
function M.follow_all(names)
  for _, name in ipairs(names) do
    if not following[name] and providers.opened(name) then
      following[name] = true
      task.spawn(function()
        local ok, why = xpcall(M.follow, debug.traceback, name)
        if ok then return end
        log.error("reconcile", "following a provider raised", { provider = name, traceback = why })
        following[name] = nil -- the next sweep follows it again
      end)
    end
  end
end

local function has_any(index, name) return #store.scan(index, { prefix = name .. "/", limit = 1 }) > 0 end

-- The providers that have, or may have, machines of ours.
function M.in_use(default)
  local out = { default }
  for _, name in ipairs(providers.names()) do
    if name ~= default and (providers.opened(name) or store.raw("provider", name) or has_any("instance_running", name)
      or has_any("instance_undeleted", name)) then
      out[#out + 1] = name
    end
  end
  return out
end

return M
