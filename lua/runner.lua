-- Who does the steps of workflows: one task per record with work, which reads what is to be done, does it, commits what
-- came of it, and looks again. It holds nothing that matters: killed at any point, the next process goes on from the
-- store (runner.resume).
--
-- Every process that begins operations has a token, locked in DATA_DIR/run as long as it lives. An operation names the
-- token of who runs it, so that serve and scripts leave each other's alone, and take over those of the dead.

local crypto = require "crypto"
local errors = require "errors"
local fs = require "fs"
local json = require "json"
local log = require "log"
local spans = require "observe.spans"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"
local walk = require "walk"
local workflow = require "workflow"

local M = {}

M.seconds = 60 -- at most, for one try of a step

local LOOK_SECONDS = 2    -- how often a waiting runner looks whether somebody else wants its record
local FIRST_DELAY, LAST_DELAY = 0.2, 60

-- ["instance/<id>"] = {signal = fired when the walk has ended, task =, wake = signal, op, note = observe/spans.lua's,
-- trying = the operation that a try is under way for, interrupted =}
local running = {}
local waiting = {} -- [operation id] = {signal =, n = waiters}
local folder
local ending = false
local stopped = false  -- no try is begun any more, for now
local elsewhere        -- tells the process whose work it is from now on that there is some

-- ---- processes

-- Must be called before work is begun: `dir` is DATA_DIR. -> true | nil, err
function M.setup(dir)
  folder = dir .. "/run"
  local ok, err = fs.mkdir(folder, tonumber("700", 8))
  if not ok then return nil, err end
  workflow.me = crypto.token(8)
  M.lock, err = fs.lock(folder .. "/" .. workflow.me)
  return M.lock and true, err
end

-- Whether another process, of which this is the token, lives.   [yields]
local function alive(token)
  return token ~= workflow.me and token ~= "none" and fs.locked(folder .. "/" .. token)
end
M.alive = alive

-- Removes the files of processes that have ended; with their locks held, for one may be just about to begin.
function M.tidy()
  for _, name in ipairs(fs.list(folder) or {}) do
    local lock = name ~= workflow.me and fs.lock(folder .. "/" .. name)
    if lock then
      fs.remove(folder .. "/" .. name)
      lock:close()
    end
  end
end

-- ---- committing what was done

local function tell(id)
  local w = waiting[id]
  if w then w.signal:fire() end
end

-- Runs change(tx, rec, op) on the operation if it is still as `seen`; its result names the event. A store that cannot be
-- written is tried until it can, for the effect has taken place.
-- A record that did not change is not written. -> true, or nil when this process ends
local function commit(subject, id, seen, change)
  local adapter = workflow.adapter(subject)
  local pause = 1
  while true do
    local over
    local ok, err = store.update(function(tx)
      local op = tx:get("operation", seen.id)
      if not op or op.version ~= seen.version then return true end
      local old = adapter.get(tx, id)
      local rec = adapter.edit(old)
      local type, note, named = change(tx, rec, op)
      over = workflow.over(op)
      if type and adapter.differs(old, rec) then adapter.save(tx, old, rec, type, "system", note, named) end
      return true
    end)
    if ok then
      if over then tell(seen.id) end
      return true
    end
    if err.code == "cancelled" then return nil end
    if pause == 1 then
      log.error("runner", "cannot record what was done; trying on", { subject = id, operation = seen.id, error = tostring(err) })
    end
    local _, interrupted = task.sleep(pause)
    if interrupted then return nil end
    pause = math.min(pause * 2, 30)
  end
end

-- ---- one try

-- The pause after the nth failed try, in seconds: doubling, with jitter, and not less than the error asks for.
function M.delay(attempts, err)
  local most = math.min(LAST_DELAY, FIRST_DELAY * 2 ^ math.min(attempts - 1, 20))
  local byte = crypto.random(1):byte()
  return math.max(most * (0.5 + byte / 512), err.retry_after or 0)
end

local function protected(fn, x)
  local ok, result, err = xpcall(fn, debug.traceback, x)
  if ok then
    if type(err) == "table" and type(err.message) == "string" then err.message = json.text(err.message) end -- it is kept as JSON
    return result, err
  end
  log.error("runner", "a step raised", { operation = x.op.id, step = x.op.step, traceback = result })
  return errors.fail("internal", "the step " .. x.op.step .. " failed by a fault of cchost", { traceback = result })
end

local function try(run, rec, op)
  local step = workflow.definition(op).steps[op.step]
  local left = steady.left(op.deadline_at)
  if left <= 0 then return errors.fail("timeout", "its time is over") end
  run.trying = op
  local span = spans.step(op)
  local result, err = protected(op.state == "undoing" and step.undo or step.run,
    { rec = rec, op = op, seconds = math.min(M.seconds, left) })
  if span then span:finish(result == nil and err or nil) end
  run.trying = nil
  return result, err
end

local function event_of(op, what) return ("%s_%s"):format(op.kind, what) end

-- What the record's event says of a step that failed for good, or of an undoing that did.
local function note_of(err) return { error = err.code .. ": " .. err.message } end

local function again(subject, rec, op, err)
  local delay = M.delay(op.attempts, err)
  if not err.retryable or delay >= steady.left(op.deadline_at) then return false end
  log.warn("runner", "a step failed and is tried again", {
    subject = rec.id, operation = op.id, kind = op.kind, step = op.step, attempt = op.attempts, error = tostring(err),
    seconds = math.floor(delay * 10 + 0.5) / 10,
  })
  return commit(subject, rec.id, op, function(tx, now, o) workflow.step_again(tx, now, o, err, delay) end)
end

-- Commits what came of a try. -> true, or nil when this process ends
local function settle(subject, rec, op, result, err)
  if op.state == "undoing" then
    if result ~= nil then
      return commit(subject, rec.id, op, function(tx, now, o)
        workflow.step_undone(tx, now, o)
        return event_of(o, "undone"), { error = o.error and o.error.message }
      end)
    end
    local more = again(subject, rec, op, err)
    if more ~= false then return more end
    return commit(subject, rec.id, op, function(tx, now, o)
      workflow.ended(tx, now, o, false)
      return event_of(o, "failed"), note_of(err)
    end)
  end
  if result ~= nil then
    return commit(subject, rec.id, op, function(tx, now, o)
      workflow.step_done(tx, now, o, result)
      if o.error then return event_of(o, "failed"), note_of(o.error) end -- the last step, and something is lacking
      local event = workflow.over(o) and workflow.definition(o).event
      return event or event_of(o, o.state), nil, event ~= nil and event ~= false
    end)
  end
  local more = again(subject, rec, op, err)
  if more ~= false then return more end
  return commit(subject, rec.id, op, function(tx, now, o)
    workflow.step_failed(tx, now, o, err)
    return event_of(o, "failed"), note_of(err)
  end)
end

-- ---- the walk

local function read(subject, id)
  local rec = store.get(subject, id)
  local op = rec and rec.operation and rec.operation ~= json.null and store.get("operation", rec.operation)
  if op and not workflow.over(op) then return rec, op end
end

-- Until the operation may be tried, or somebody else wants the record. -> true, or nil when this process ends
local function pause(run, op)
  local left = steady.left(op.next_at)
  if left <= 0 then return true end
  local _, err = run.wake:wait(math.min(left, LOOK_SECONDS))
  return not (err and err.code == "cancelled") or nil
end

-- One round. -> true to go on, nil to end
local function round(run, subject, rec, op)
  if op.runner ~= workflow.me then
    if alive(op.runner) then
      log.debug("runner", "left to its runner", { subject = rec.id, operation = op.id, runner = op.runner })
      return nil
    end
    return commit(subject, rec.id, op, function(tx, now, o)
      workflow.take_over(tx, now, o)
      return "taken_over"
    end)
  end
  if op.state == "running" and op.attempts > 1 and #rec.queue > 0 then
    return commit(subject, rec.id, op, function(tx, now, o)
      if #now.queue == 0 then return end -- what waited has been cancelled
      workflow.give_way(tx, now, o)
      return event_of(o, "superseded")
    end)
  end
  if op.next_at ~= json.null and steady.left(op.next_at) > 0 then return pause(run, op) end
  local result, err = try(run, rec, op)
  if result == nil and err.code == "cancelled" then
    if run.interrupted then -- by a delete or a cancel, which has changed the operation: look again
      run.interrupted = false
      return true
    end
    local _, ends = task.sleep(0.01)
    if ends then return nil end
    err = errors.new("unavailable", "the provider gave the call up: " .. err.message, { retryable = true })
  end
  return settle(subject, rec, op, result, err)
end

-- There is work on a record that is gone.
local function drop(subject, id)
  store.update(function(tx)
    if not workflow.adapter(subject).get(tx, id) then tx:unindex("work", subject .. "/" .. id) end
    return true
  end)
end

-- A fault of cchost in what follows a step: the operation ends, or its effect would be had again and again. The
-- record keeps its status; the watch ends that.
local function broken(subject, rec, op, traceback)
  log.error("runner", "a workflow raised", { subject = rec.id, operation = op.id, step = op.step, traceback = traceback })
  return commit(subject, rec.id, op, function(tx, now, o)
    workflow.expire(tx, now, "the step " .. tostring(o.step) .. " failed by a fault of cchost")
    return event_of(o, "failed")
  end)
end

local function go_on(run, subject, id)
  while true do
    local rec, op = read(subject, id)
    spans.follow(run, rec, op)
    if stopped then return end
    if not rec then
      if not store.raw(subject, id) then drop(subject, id) end
      return
    end
    local ok, on = xpcall(round, debug.traceback, run, subject, rec, op)
    if not ok then on = broken(subject, rec, op, on) end
    if not on then return end
  end
end

-- Starts the work on a record unless this process does it already.
function M.drive(subject, id)
  local key = subject .. "/" .. id
  if elsewhere then return elsewhere() end
  if stopped then return end -- runner.stay takes it up
  if running[key] then
    running[key].wake:fire()
    return
  end
  local run = { signal = task.signal(), wake = task.signal() }
  running[key] = run
  run.task = task.work(function()
    task.carry("machine", subject == "instance" and id or nil)
    local ok, why = pcall(go_on, run, subject, id)
    spans.leave(run)
    running[key] = nil
    run.signal:fire()
    if not ok then error(why, 0) end
  end)
end

-- Ends the try that is under way here, if what it is for is no longer wanted: its operation is over, or is being undone.
function M.interrupt(subject, id)
  local run = running[subject .. "/" .. id]
  local trying = run and run.trying
  local op = trying and store.get("operation", trying.id)
  if trying and (not op or op.state ~= trying.state) then
    run.interrupted = true
    run.task:cancel("it is no longer wanted")
  end
end

function M.busy(subject, id) return running[subject .. "/" .. id] ~= nil end

-- Nobody is kept waiting any more: the program is about to end.
function M.release()
  ending = true
  for _, w in pairs(waiting) do w.signal:fire() end
end

-- Waits until an operation is over. -> the operation, which may still be under way after `seconds` | nil, err
function M.wait(id, seconds)
  local ends = time.mono() + seconds * 1000
  while true do
    local op, err = store.get("operation", id)
    if not op then return nil, err or errors.new("not_found", "no such operation") end
    local left = (ends - time.mono()) / 1000
    if workflow.over(op) or left <= 0 or ending then return op end
    local w = waiting[id] or { signal = task.signal(), n = 0 }
    waiting[id], w.n = w, w.n + 1
    local mine = not elsewhere and (op.runner == workflow.me or op.runner == nil) -- else nobody tells us: look often
    local _, werr = w.signal:wait(math.min(left, mine and 0.5 or 0.1))
    w.n = w.n - 1
    if w.n == 0 then waiting[id] = nil end
    if werr and werr.code == "cancelled" then return nil, werr end
  end
end

-- Takes up what has no living runner: what an earlier process, or a script, left under way. -> how many records
function M.resume()
  local n = 0
  for row in walk.index("work") do
    if not running[row.key] then
      n = n + 1
      M.drive(row.key:match("^([^/]+)/(.+)$"))
    end
  end
  return n
end

-- ---- handing over (upgrade.lua)

-- Each walk ends behind the try that is under way, and none begins.
function M.stop()
  stopped = true
  for _, run in pairs(running) do run.wake:fire() end
end

-- Walks begin again. What waits is for runner.resume.
function M.stay() stopped = false end

-- Another process does the work, also what is begun here; fn() tells it that there is some.
function M.leave(fn) elsewhere = fn end

-- Whatever names this process as its runner is taken over by who looks next.
function M.give_up_lock()
  M.lock:close()
end

-- At the end of the program: waits for the work under way, `seconds` at most; the rest is the next process's.
function M.finish(seconds)
  local ends = time.mono() + seconds * 1000
  while next(running) and time.mono() < ends do
    local _, run = next(running)
    local _, err = run.signal:wait(math.max(0, ends - time.mono()) / 1000)
    if err and err.code == "cancelled" then return end
  end
end

return M
