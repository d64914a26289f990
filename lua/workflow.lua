-- Workflows: durable work on one record (its subject), step by step. This file is the state machine: what an operation
-- is, and every change of one, each inside the caller's update. runner.lua is who does the steps.
--
-- A definition:
--   workflow.define("resize", {
--     subject = "instance",            kind of record; its adapter {get, edit, differs, save} is given to workflow.subject
--     overtakes = true                 supersedes all that is under way (delete), else it waits its turn
--     cancel = true                    may be cancelled while it runs
--     undone_to_yield = true           is undone before it gives way to what waits: its effect, which a try may have had, is
--                                      not one that the next operation puts right
--     refuses = function(rec, op) -> sentence or nil     asked again when it has waited and is to begin
--     event = "resized"                name of the entry in the log that says that it is done
--     begin = function(rec, op)        what the record says while the first step runs
--     steps = { { name =,
--       when = function(rec, op)       absent: always; false: the step is left out
--       enter = function(rec, op)      what the record says from now on
--       run = function(x) -> result | nil, err      [yields] the effect; x = {rec =, op =, seconds = for this try}
--       done = function(rec, result, op)            the record afterwards, in the commit that says that it is done
--       undo = function(x) -> true | nil, err       [yields] takes the effect back, also a half one
--       undoing, undone = function(rec, op) } },    the record while that goes on, and after it
--     lacks = function(rec) -> err or nil    what is missing although all steps are done: then the whole has failed
--     finish = function(rec, op)       the record when all is done
--     instead = function(rec, op) -> input or nil   what failed and was undone is tried anew with this input: as another
--                                      operation, which op.next names; the record may be changed for it
--     fail = function(rec, op, err, undone) })      and when it is not; undone: all effects were taken back
-- run and undo must be idempotent: what was cut off is done again.  `rec` is a flat copy to be changed.
--
-- An operation is the record of one run: {id, kind, machine (the subject's id), state, step, attempts, next_at, deadline_at,
-- input, results, last_error, error, created_at, started_at, finished_at, by, runner, version, trace (the traceparent of what
-- asked for it; absent: nobody's request)}.  States: queued ->
-- running -> done; running -> undoing -> failed | cancelled; queued or running -> superseded; queued -> cancelled.
-- What it says of step and attempt is committed before the effect: a step that is named may have taken place.
--
-- One operation per subject runs, the others wait in the subject's `queue`, in order.  One that has failed a try gives
-- way when another waits; one that overtakes does not wait.  The index "work" holds the subjects with work.

local crypto = require "crypto"
local errors = require "errors"
local json = require "json"
local steady = require "steady"
local task = require "task"
local time = require "time"

local M = {}

M.me = "none" -- the token of this process: who runs what it begins (runner.setup)

local FORWARD = 2 / 3     -- of a status's time is for trying, the rest for undoing
local UNTIMED = 600       -- seconds, where the subject's status has no deadline
local TAKEN_SECONDS = 60  -- what is left at least to an operation whose runner died
local MAX_TAKEN = 5       -- how often

local definitions, subjects = {}, {}

function M.define(kind, def)
  assert(not definitions[kind], "a second workflow called " .. kind)
  for _, step in ipairs(def.steps) do
    assert(step.name and step.run, kind .. ": a step needs a name and run")
    assert(not def.steps[step.name], kind .. ": two steps are called " .. step.name)
    def.steps[step.name] = step
  end
  def.kind = kind
  definitions[kind] = def
end

-- A hook for kinds whose steps a policy has: resolve[kind](op) -> the definition that the operation began under;
-- stamp[kind](rec) -> what op.generation says of one that is asked for.
M.resolve, M.stamp = {}, {}

local function def_of(op)
  local resolve = op.generation and M.resolve[op.kind]
  return resolve and resolve(op) or definitions[op.kind]
end

function M.definition(op) return def_of(op) end

-- {[kind] = {step, ...}} of all that are defined
function M.kinds()
  local out = {}
  for kind, def in pairs(definitions) do
    out[kind] = {}
    for i, step in ipairs(def.steps) do out[kind][i] = step.name end
  end
  return out
end

-- -> {[kind] = the event that is its end, or false} of one subject's workflows
function M.of(subject)
  local out = {}
  for kind, def in pairs(definitions) do
    if def.subject == subject then out[kind] = def.event or false end
  end
  return out
end

function M.subject(kind, adapter) subjects[kind] = adapter end
function M.adapter(kind) return subjects[kind] end

local over = { done = true, failed = true, cancelled = true, superseded = true }
function M.over(op) return over[op.state] == true end

local function now_text() return time.rfc3339(time.now()) end

local function plain(err) return { code = err.code, message = err.message } end

local function put(tx, op, owner)
  op.version = op.version + 1
  tx:put("operation", op.id, op, owner)
end

-- ---- steps

-- Whether the subject's status has a deadline; a subject need not have one at all.
local function timed(rec) return rec.deadline_at ~= nil and rec.deadline_at ~= json.null end

-- How long the operation may try from here: a part of what the record's status has left.
local function tries_until(rec)
  if not timed(rec) then return steady.after(UNTIMED) end
  return steady.after(math.max(0, steady.left(rec.deadline_at)) * FORWARD)
end

local function name_step(op, name)
  op.step, op.attempts, op.next_at, op.last_error = name, name ~= json.null and 1 or 0, json.null, nil
end

-- Goes to the first step from `index` on that applies. -> true, or false when there is none left
local function enter_from(def, rec, op, index)
  for i = index, #def.steps do
    local step = def.steps[i]
    if not step.when or step.when(rec, op) then
      local status_at = rec.status_at
      if step.enter then step.enter(rec, op) end
      if op.deadline_at == json.null or rec.status_at ~= status_at then op.deadline_at = tries_until(rec) end
      name_step(op, step.name)
      return true
    end
  end
  return false
end

local function index_of(def, name)
  for i, step in ipairs(def.steps) do
    if step.name == name then return i end
  end
end

-- The next step to be undone before `index`: one with an undo that was done. -> its name, or nil
local function undo_before(def, op, index)
  for i = index - 1, 1, -1 do
    local step = def.steps[i]
    if step.undo and op.results[step.name] ~= nil then return step.name end
  end
end

-- ---- beginning and ending

local begin_next

local function finish(tx, rec, op, state, err)
  op.state, op.finished_at, op.next_at = state, now_text(), json.null
  if err then op.error = plain(err) end
  put(tx, op, rec.owner)
  begin_next(tx, rec, op.subject)
end

local give_up

local function succeed(tx, rec, op, def)
  local lack = def.lacks and def.lacks(rec)
  if lack then return give_up(tx, rec, op, lack, "failed") end
  if def.finish then def.finish(rec, op) end
  finish(tx, rec, op, "done")
end

local function begin(tx, rec, op)
  local def = def_of(op)
  op.state, op.started_at, op.runner = "running", now_text(), M.me
  rec.operation = op.id
  if def.begin then def.begin(rec, op) end
  op.deadline_at = tries_until(rec)
  tx:index("work", op.subject .. "/" .. rec.id, "")
  if not enter_from(def, rec, op, 1) then return succeed(tx, rec, op, def) end
  put(tx, op, rec.owner)
end

-- Why an operation that has waited cannot begin any more, or nil.
local function stale(def, rec, op)
  return def.refuses and def.refuses(rec, op)
end

function begin_next(tx, rec, subject)
  while #rec.queue > 0 do
    local id = rec.queue[1]
    rec.queue = json.array { unpack(rec.queue, 2) }
    local op = tx:get("operation", id)
    local why = op.state == "queued" and stale(def_of(op), rec, op)
    if why then
      op.state, op.finished_at, op.error = "failed", now_text(), { code = "state", message = why }
      put(tx, op, rec.owner)
    elseif op.state == "queued" then
      return begin(tx, rec, op)
    end
  end
  tx:unindex("work", subject .. "/" .. rec.id)
end

local function supersede(tx, rec, id)
  local op = tx:get("operation", id)
  if not op or over[op.state] then return end
  op.state, op.finished_at, op.next_at = "superseded", now_text(), json.null
  if op.last_error then op.error = op.last_error end
  put(tx, op, rec.owner)
end

-- In an update: the operation under way on a record, or nil.
function M.current(tx, rec)
  local op = rec.operation ~= json.null and tx:get("operation", rec.operation)
  return op and not over[op.state] and op or nil
end

-- In an update: asks for a piece of work on `rec` (a flat copy that the caller saves afterwards). It begins in this
-- commit when nothing else is under way. -> its id
function M.ask(tx, subject, rec, kind, input, by)
  local op = {
    id = crypto.uuid(), kind = kind, subject = subject, machine = rec.id, state = "queued", step = json.null, attempts = 0,
    next_at = json.null, deadline_at = json.null, input = input or {}, results = {}, created_at = now_text(), by = by,
    version = 0, generation = M.stamp[kind] and M.stamp[kind](rec) or nil, trace = task.carried().trace,
  }
  local def = def_of(op)
  if def.overtakes then
    if rec.operation ~= json.null then supersede(tx, rec, rec.operation) end
    for _, id in ipairs(rec.queue) do supersede(tx, rec, id) end
    rec.queue = json.array {}
  elseif M.current(tx, rec) then
    put(tx, op, rec.owner)
    local queue = { unpack(rec.queue) }
    queue[#queue + 1] = op.id
    rec.queue = json.array(queue)
    return op.id
  end
  begin(tx, rec, op)
  return op.id
end

-- ---- what a try made of it; `op` and `rec` are read and saved by the caller's update

-- The step's effect took place.
function M.step_done(tx, rec, op, result)
  local def = def_of(op)
  local step = def.steps[op.step]
  op.results[step.name] = result == nil and true or result
  if step.done then step.done(rec, result, op) end
  if enter_from(def, rec, op, index_of(def, op.step) + 1) then return put(tx, op, rec.owner) end
  succeed(tx, rec, op, def)
end

-- Undoing may take all that the status has left.
local function undo_step(tx, rec, op, name)
  local step = def_of(op).steps[name]
  if step.undoing then step.undoing(rec, op) end
  op.deadline_at = timed(rec) and rec.deadline_at or steady.after(UNTIMED / 2)
  name_step(op, name)
  put(tx, op, rec.owner)
end

-- Another run takes the place of one that failed and left nothing; what waits goes on waiting.
local function begin_instead(tx, rec, op, input)
  op.state, op.finished_at, op.next_at = op.outcome or "failed", now_text(), json.null
  local other = {
    id = crypto.uuid(), kind = op.kind, subject = op.subject, machine = rec.id, state = "queued", step = json.null, attempts = 0,
    next_at = json.null, deadline_at = json.null, input = input, results = {}, created_at = now_text(), by = op.by,
    version = 0, generation = op.generation, instead_of = op.id, trace = op.trace,
  }
  op.next = other.id
  put(tx, op, rec.owner)
  begin(tx, rec, other)
end

-- Ends what cannot be done: by undoing it, this step's own half effect first, if there is something to undo.
function give_up(tx, rec, op, err, state)
  local def = def_of(op)
  op.outcome = state
  op.error = { code = err.code, message = err.message, step = op.step, attempts = op.attempts }
  local index = index_of(def, op.step) -- nil: no step applied
  local name = index and (def.steps[index].undo and op.step or undo_before(def, op, index))
  if not name then return M.ended(tx, rec, op, true) end
  op.state = "undoing"
  undo_step(tx, rec, op, name)
end

-- The whole has failed, or was cancelled; `undone`: nothing of it is left.
function M.ended(tx, rec, op, undone)
  local def = def_of(op)
  local input = undone and op.outcome ~= "cancelled" and def.instead and def.instead(rec, op)
  if input then return begin_instead(tx, rec, op, input) end
  def.fail(rec, op, op.error, undone)
  finish(tx, rec, op, op.outcome or "failed")
end

function M.step_failed(tx, rec, op, err) give_up(tx, rec, op, err, "failed") end

-- The try failed, another follows. The attempt is counted now: it may take place any time from next_at on.
function M.step_again(tx, rec, op, err, seconds)
  op.attempts = op.attempts + 1
  op.last_error = plain(err)
  op.next_at = steady.after(seconds)
  put(tx, op, rec.owner)
end

function M.step_undone(tx, rec, op)
  local def = def_of(op)
  local step = def.steps[op.step]
  if step.undone then step.undone(rec, op) end
  op.results[step.name] = nil
  local before = undo_before(def, op, index_of(def, op.step))
  if not before then return M.ended(tx, rec, op, true) end
  undo_step(tx, rec, op, before)
end

-- After a failed try: lets what waits have its turn. The event's name.
function M.give_way(tx, rec, op)
  local err = op.last_error or { code = "conflict", message = "something else was asked for" }
  if def_of(op).undone_to_yield then
    give_up(tx, rec, op, err, "superseded")
    return
  end
  op.error = err
  finish(tx, rec, op, "superseded")
end

-- The record is past its deadline: what runs is over, what waits begins. The record's status has been set already.
function M.expire(tx, rec, message)
  local op = M.current(tx, rec)
  if op then finish(tx, rec, op, "failed", { code = "timeout", message = message }) end
end

-- Another process has died, or has left it: this one goes on. A time when nobody worked on it is not held against it: it
-- has a minute at least, but not again and again, for a host that keeps dying must not keep a machine in suspense.
function M.take_over(tx, rec, op)
  op.runner = M.me
  op.taken = (op.taken or 0) + 1
  if op.taken <= MAX_TAKEN then
    local least = steady.after(TAKEN_SECONDS)
    if op.deadline_at < least then op.deadline_at = least end
    least = steady.after(TAKEN_SECONDS / FORWARD)
    if timed(rec) and rec.deadline_at < least then rec.deadline_at = least end
  end
  put(tx, op, rec.owner)
end

-- Asks for the end of an operation. -> true | nil, err (code "state" with the reason)
function M.cancel(tx, rec, op)
  local def = def_of(op)
  local err = errors.new("cancelled", "cancelled on request")
  if op.state == "queued" then
    local queue = {}
    for _, id in ipairs(rec.queue) do
      if id ~= op.id then queue[#queue + 1] = id end
    end
    rec.queue = json.array(queue)
    op.state, op.finished_at, op.error = "cancelled", now_text(), plain(err)
    put(tx, op, rec.owner)
    return true
  end
  if op.state ~= "running" then return errors.fail("state", "the operation is " .. op.state .. " and cannot be cancelled") end
  if not def.cancel then return errors.fail("state", ("a %s that runs cannot be cancelled"):format(op.kind)) end
  give_up(tx, rec, op, err, "cancelled")
  return true
end

return M
