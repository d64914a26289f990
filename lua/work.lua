-- Work on machines: drives each from what it is to what is wanted, and survives a crash.
--
-- Whoever changes a machine's wish commits, in one update, the record (desired, status), an operation record and
-- an entry in the index "work"; then calls work.drive(id). One task per machine walks the statuses: it reads the
-- record, does the one provider call that its status needs, commits the result, and looks again, until the status
-- is settled. The index is what a new process finds after a crash (work.resume).
--
-- Every provider call is idempotent, so a call that a crash cut off is simply made again.

local errors = require "errors"
local log = require "log"
local providers = require "providers"
local statuses = require "statuses"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local ATTEMPTS = 5

local running = {} -- [machine id] = signal that is fired when the work on it has ended

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

-- The provider call of each transient status, and the status that its success leads to.
local steps = {
  STARTING = { call = start_machine, to = "RUNNING" },
  STOPPING = {
    call = function(p, rec, deadline)
      if not rec.provider_id then return {} end
      local info, err = p:stop(rec.provider_id, deadline)
      if not info and err.code == "not_found" then return {} end
      return info, err
    end,
    to = "STOPPED",
  },
  DELETING = {
    call = function(p, rec, deadline) return p:destroy("cc-" .. rec.short, deadline) end,
    to = "DELETED",
  },
}

-- Ends the operation that the machine's record names, if it is still under way.
local function finish_operation(tx, rec, state, err)
  local op = rec.operation and tx:get("operation", rec.operation)
  if not op or op.state ~= "running" then return end
  op.state = state
  op.error = err and { code = err.code, message = err.message } or nil
  op.finished_at = time.rfc3339(time.now())
  tx:put("operation", op.id, op, rec.owner)
end

local function event_data(from, rec, err)
  return { from = from, status = rec.status, operation = rec.operation, error = err and tostring(err) or nil }
end

-- Writes `status` if the machine is still in `from`: a wish that came meanwhile is not overwritten. One that was stopped
-- only to be started again (resize) goes on to STARTING.
local function settle(id, from, status, info, err)
  return store.update(function(tx)
    local rec = tx:get("instance", id)
    if not rec or rec.status ~= from then return rec or false end
    if status == "STOPPED" and rec.desired == "RUNNING" then status = "STARTING" end
    rec.status = status
    rec.error = err and err.message or nil
    rec.provider_id = info and info.provider_id or rec.provider_id
    rec.unenforced = info and info.unenforced or rec.unenforced
    rec.version = rec.version + 1
    rec.updated_at = time.rfc3339(time.now())
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
    tx:put("instance", id, rec, rec.owner)
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

-- One call with retries; stops early when the machine is wanted in another status.
local function attempt(rec, step)
  local p, err = providers.get(rec.provider)
  if not p then return nil, err end
  local info
  for n = 1, ATTEMPTS do
    info, err = step.call(p, rec, { deadline = providers.seconds })
    if info or not err.retryable then return info, err end
    note_attempt(rec, n, err)
    if n < ATTEMPTS then task.sleep(math.min(0.2 * 2 ^ (n - 1), 5)) end
    local now = store.get("instance", rec.id)
    if not now or now.status ~= rec.status then return nil, err end
  end
  return nil, err
end

local function walk(id)
  while true do
    local rec = store.get("instance", id)
    local step = rec and steps[rec.status]
    if not step then return end
    local info, err = attempt(rec, step)
    local ok, werr = settle(id, rec.status, info and step.to or "ERROR", info or nil, not info and err or nil)
    if ok == nil then
      log.error("work", "cannot record what was done", { machine = id, error = tostring(werr) })
      task.sleep(1)
    end
  end
end

-- Starts the work on a machine unless it is under way already.
function M.drive(id)
  if running[id] then return end
  local signal = task.signal()
  running[id] = signal
  task.spawn(function()
    local ok, why = pcall(walk, id)
    running[id] = nil
    signal:fire()
    if not ok then error(why, 0) end
  end)
end

-- Waits until no work is under way on the machine. -> true | nil, err (code "timeout")
function M.wait(id, seconds)
  local until_ms = time.mono() + seconds * 1000
  while running[id] do
    local left = (until_ms - time.mono()) / 1000
    if left <= 0 then return errors.fail("timeout", "still under way") end
    running[id]:wait(left)
  end
  return true
end

-- Takes up what an earlier process left under way. -> how many machines
function M.resume()
  local n, after = 0, nil
  repeat
    local page = store.scan("work", { after = after, limit = 500 })
    for _, entry in ipairs(page) do
      M.drive(entry.key)
      n, after = n + 1, entry.key
    end
  until #page < 500
  return n
end

function M.transient(status) return not statuses[status].settled end

return M
