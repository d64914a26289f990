-- Work on machines: drives each from what it is to what is wanted, and survives a crash.
--
-- Whoever changes a machine's wish commits, in one update, the record (desired, status), an operation record and
-- an entry in the index "work"; then calls work.drive(id). One task per machine walks the statuses: it reads the
-- record, does the one provider call that its status needs, commits the result, and looks again, until the status
-- is settled. The index is what a new process finds after a crash (work.resume), and what a running one looks at
-- now and then for the work that a script left behind.
--
-- Every provider call is idempotent, so a call that a crash cut off, or that two processes make, does no harm.

local crypto = require "crypto"
local errors = require "errors"
local log = require "log"
local providers = require "providers"
local statuses = require "statuses"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local ATTEMPTS = 5

-- [machine id] = {signal = fired when the work has ended, task =, calling = in a provider call, overtaken = }
local running = {}

local function now_text() return time.rfc3339(time.now()) end

-- What the provider is to make, from the record.
local function spec_of(rec)
  return {
    id = rec.id, short = rec.short, name = rec.name, image = rec.image, vcpu = rec.resources.vcpu,
    memory_mib = rec.resources.memory_mib, disk_gib = rec.resources.disk_gib, env = rec.env, cmd = rec.cmd,
    network = rec.network, volumes = rec.volumes, labels = rec.labels,
  }
end

-- Volumes that a machine names are made when they are not there yet; they outlive it.
local function make_volumes(p, rec, deadline)
  for _, v in ipairs(rec.volumes) do
    local made, err = p:volume_create({ id = v.id, size_gib = rec.resources.disk_gib }, deadline)
    if not made and err.code ~= "exists" then return nil, err end
  end
  return true
end

local function start_machine(p, rec, deadline)
  local ok, verr = make_volumes(p, rec, deadline)
  if not ok then return nil, verr end
  if rec.provider_id then
    local info, err = p:start(rec.provider_id, deadline, spec_of(rec))
    if info or err.code ~= "not_found" then return info, err end
  end
  -- create finds a machine that a cut-off attempt made; that one may be stopped by now
  local info, err = p:create(spec_of(rec), deadline)
  if info and info.state == "stopped" then return p:start(info.provider_id, deadline, spec_of(rec)) end
  return info, err
end

-- By its deterministic name: a create that was overtaken may have made it without our knowing its id.
local function stop_machine(p, rec, deadline)
  local info, err = p:stop("cc-" .. rec.short, deadline)
  if not info and err.code == "not_found" then return {} end
  return info, err
end

-- The provider call of each transient status, and the status that its success leads to.
local steps = {
  STARTING = { call = start_machine, to = "RUNNING" },
  STOPPING = { call = stop_machine, to = "STOPPED" },
  DELETING = { call = function(p, rec, deadline) return p:destroy("cc-" .. rec.short, deadline) end, to = "DELETED" },
}

-- In an update: writes a machine's record. The index "instance_running" holds those that should be found running, so
-- that a sweep need not read every record.
function M.save(tx, rec)
  tx:put("instance", rec.id, rec, rec.owner)
  local key = rec.provider .. "/" .. rec.short
  local there = tx:lookup("instance_running", key) ~= nil
  if rec.status == "RUNNING" and not there then
    tx:index("instance_running", key, rec.id)
  elseif rec.status ~= "RUNNING" and there then
    tx:unindex("instance_running", key)
  end
end

-- In an update: a new operation on `rec`, which the caller then puts. -> its id
function M.begin(tx, kind, rec, by)
  local old = rec.operation and tx:get("operation", rec.operation)
  if old and old.state == "running" then
    old.state, old.finished_at = "superseded", now_text()
    tx:put("operation", old.id, old, rec.owner)
  end
  local id = crypto.uuid()
  tx:put("operation", id, {
    id = id, kind = kind, machine = rec.id, state = "running", attempts = 0, created_at = now_text(), by = by,
  }, rec.owner)
  rec.operation = id
  tx:index("work", rec.id, id)
  return id
end

-- Ends the operation that the machine's record names, if it is still under way.
local function finish_operation(tx, rec, state, err)
  local op = rec.operation and tx:get("operation", rec.operation)
  if not op or op.state ~= "running" then return end
  op.state = state
  op.error = err and { code = err.code, message = err.message } or nil
  op.finished_at = now_text()
  tx:put("operation", op.id, op, rec.owner)
end

local function event_data(from, rec, err)
  return { from = from, status = rec.status, operation = rec.operation, error = err and tostring(err) or nil }
end

-- Writes what a call made known, and `status` if the machine is still in `from`: a wish that came meanwhile is not
-- overwritten. One that was stopped only to be started again (resize) goes on to STARTING.
local function settle(id, from, status, info, err)
  return store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec then return false end
    rec.provider_id = info and info.provider_id or rec.provider_id
    rec.unenforced = info and info.unenforced or rec.unenforced
    if rec.status ~= from then
      M.save(tx, rec)
      return rec
    end
    if status == "STOPPED" and rec.desired == "RUNNING" then status = "STARTING" end
    rec.status = status
    rec.error = err and err.message or nil
    rec.version = rec.version + 1
    rec.updated_at = now_text()
    if status == "RUNNING" then rec.last_activity_at = rec.updated_at end
    if status == "DELETED" then
      rec.deleted_at = rec.updated_at
      tx:unindex("instance_name", rec.owner .. "/" .. rec.name)
      tx:unindex("instance_live", id)
    end
    if statuses[status].settled then
      finish_operation(tx, rec, err and "failed" or "done", err)
      tx:unindex("work", id)
    end
    M.save(tx, rec)
    tx:log("instance", id, err and "failed" or status:lower(), event_data(from, rec, err), "system")
    return rec
  end)
end

local function note_attempt(rec, n, err)
  log.warn("work", "a provider call failed", { machine = rec.id, status = rec.status, attempt = n, error = tostring(err) })
  return store.update(function(tx)
    local op = rec.operation and tx:get("operation", rec.operation)
    if not op or op.state ~= "running" then return true end
    op.attempts = n
    op.last_error = { code = err.code, message = err.message }
    tx:put("operation", op.id, op, rec.owner)
    return true
  end)
end

local function call(run, step, p, rec)
  run.calling = true
  local info, err = step.call(p, rec, { deadline = providers.seconds })
  run.calling = false
  return info, err
end

-- One call with retries; stops early when the machine is wanted in another status.
local function attempt(run, rec, step)
  local p, err = providers.get(rec.provider)
  if not p then return nil, err end
  local info
  for n = 1, ATTEMPTS do
    info, err = call(run, step, p, rec)
    if info or not err.retryable then return info, err end
    note_attempt(rec, n, err)
    if n < ATTEMPTS then task.sleep(math.min(0.2 * 2 ^ (n - 1), 5)) end
    local now = store.get("instance", rec.id)
    if not now or now.status ~= rec.status then return nil, err end
  end
  return nil, err
end

-- A wait that was cancelled is the end of the program (the next one resumes) or a delete that overtakes (look again).
local function walk(id, run)
  while true do
    local rec = store.get("instance", id)
    local step = rec and steps[rec.status]
    if not step then return end
    local info, err = attempt(run, rec, step)
    if info or err.code ~= "cancelled" then
      local ok, werr = settle(id, rec.status, info and step.to or "ERROR", info or nil, not info and err or nil)
      if ok == nil and werr.code ~= "cancelled" then
        log.error("work", "cannot record what was done", { machine = id, error = tostring(werr) })
        local _, interrupted = task.sleep(1)
        err = interrupted
      elseif ok == nil then
        err = werr
      end
    end
    if err and err.code == "cancelled" then
      if not run.overtaken then return end
      run.overtaken = false
    end
  end
end

-- Starts the work on a machine unless it is under way in this process already.
function M.drive(id)
  if running[id] then return end
  local run = { signal = task.signal() }
  running[id] = run
  run.task = task.spawn(function()
    local ok, why = pcall(walk, id, run)
    running[id] = nil
    run.signal:fire()
    if not ok then error(why, 0) end
  end)
end

-- Ends the provider call that is under way, if any: what it was for is no longer wanted (a delete).
function M.overtake(id)
  local run = running[id]
  if run and run.calling then
    run.overtaken = true
    run.task:cancel("a delete overtakes it")
  end
end

-- Waits until no work is under way on the machine. -> true | nil, err (code "timeout", or "cancelled")
function M.wait(id, seconds)
  local until_ms = time.mono() + seconds * 1000
  while running[id] do
    local left = (until_ms - time.mono()) / 1000
    if left <= 0 then return errors.fail("timeout", "still under way") end
    local ok, err = running[id].signal:wait(left)
    if not ok and err.code == "cancelled" then return nil, err end
  end
  return true
end

-- Takes up what an earlier process, or a script, left under way. -> how many machines
function M.resume()
  local n, after = 0, nil
  repeat
    local page = store.scan("work", { after = after, limit = 500 })
    for _, entry in ipairs(page) do
      if not running[entry.key] then n = n + 1 end
      M.drive(entry.key)
      after = entry.key
    end
  until #page < 500
  return n
end

-- At the end of the program: waits for the work under way, `seconds` at most; the rest is the next process's.
function M.finish(seconds)
  local until_ms = time.mono() + seconds * 1000
  while next(running) and time.mono() < until_ms do
    if not M.wait(next(running), (until_ms - time.mono()) / 1000) then return end
  end
end

-- A machine whose record says RUNNING was found not to run: it is started again, as it is wanted to run.
-- `seen_ms`: when the provider was asked; what changed since is not judged by that.
local function recover(id, seen_ms, why)
  local rec = store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec or rec.status ~= "RUNNING" or time.parse(rec.updated_at) >= seen_ms then return false end
    rec.status = "STARTING"
    rec.version = rec.version + 1
    rec.updated_at = now_text()
    M.begin(tx, "recover", rec, "system")
    M.save(tx, rec)
    tx:log("instance", id, "found_down", { reason = why }, "system")
    return rec
  end)
  if rec then
    log.warn("work", "a machine was found down and is started again", { machine = id, reason = why })
    M.drive(id)
  end
end

-- Asks the provider whether a RUNNING machine runs, because something that needs it failed.
function M.check(rec)
  local p, seen_ms = providers.get(rec.provider), time.now()
  local info, err = p:status(rec.provider_id, { deadline = providers.seconds })
  if info and info.state ~= "running" and info.state ~= "starting" then
    recover(rec.id, seen_ms, "the provider says " .. info.state)
  elseif not info and err.code == "not_found" then
    recover(rec.id, seen_ms, "the provider does not know it")
  end
end

-- Compares one provider's machines with the records, once, by a single list: what should run and does not is
-- started; what is there and unknown to the store is reported. Meant for the start of serve.
function M.sweep(name)
  local p, err = providers.get(name)
  local seen_ms, infos = time.now(), nil
  if p then infos, err = p:list { deadline = providers.seconds } end
  if not infos then
    log.error("work", "the provider's machines could not be listed", { provider = name, error = tostring(err) })
    return
  end
  local state, after = {}, nil
  for _, info in ipairs(infos) do state[info.provider_id] = info.state end
  repeat
    local page = store.scan("instance_running", { prefix = name .. "/", after = after, limit = 500 })
    for _, entry in ipairs(page) do
      after = entry.key
      local known = state["cc-" .. entry.key:sub(#name + 2)]
      if known ~= "running" and known ~= "starting" then
        recover(entry.value, seen_ms, "the provider's list says " .. (known or "nothing of it"))
      end
    end
    task.sleep(0)
  until #page < 500
  for id in pairs(state) do
    if not store.lookup("instance_short", id:sub(4)) then
      log.warn("work", "the provider has a machine that the store does not know", { provider = name, machine = id })
    end
  end
end

function M.transient(status) return not statuses[status].settled end

return M
