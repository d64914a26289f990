-- The spans of workflows: what an operation and its steps are in the trace of the request that asked for it.
--
-- An operation's span has the last half of the operation's id as its own, so that whichever process does its steps knows their
-- parent; it is told of when it is over, by who sees it. One that nobody's request began is a trace of its own.
--
-- spans.follow(run, rec, op)     this task walks a record, whose operation is op (nil: none any more); run.op is ours
-- spans.leave(run)               it walks no more
-- spans.missed(ids)              these operations were walked by a process that has died; those that are over are told of
-- spans.step(op) -> span | nil   the try that begins
-- spans.active     whether any are recorded at all: for who comes by often
-- spans.plan(user, json) -> the plan that a request's span says, or nil

local store = require "store"
local task = require "task"
local time = require "time"
local trace = require "trace"
local workflow = require "workflow"

local M = { active = false }

local function text(value) return type(value) == "string" and value or nil end

-- The plan that a span says: the machine's own, else its owner's. `json`: the machine's text, if it is about one.
function M.plan(user, json)
  if not M.active or not trace.recorded() then return nil end
  local own = json and json:match('"plan":"([^"]+)"')
  local account = not own and user and store.raw("user", user)
  return own or account and account:match('"plan":"([^"]+)"') or nil
end

local function enter(run, rec, op)
  local owner = text(rec.owner)
  trace.detach(op.id, op.trace)
  task.carry("user", owner)
  task.carry("plan", text(rec.plan) or M.plan(owner))
  run.op, run.note = op.id, M.active and trace.note(op.id) or nil
end

local function describe(span, op)
  span:set("cchost.operation.id", op.id)
  span:set("cchost.operation.kind", op.kind)
end

-- From when it was asked for: it may have waited for others.
local function over(op)
  local span = trace.past("operation", op.kind, time.parse(op.created_at), time.parse(text(op.finished_at)) or time.now())
  if not span then return end
  describe(span, op)
  span:set("cchost.operation.state", op.state)
  span:finish(op.state == "failed" and op.error or nil)
end

function M.follow(run, rec, op)
  if run.op and not (op and op.id == run.op) then
    local was = store.get("operation", run.op)
    if was then over(was) end
    M.leave(run)
    task.carry("request", nil) -- whoever asked for what comes now
  end
  if op and not run.op then
    enter(run, rec, op)
  end
end

function M.leave(run)
  if run.note then run.note:forget() end
  run.op, run.note = nil, nil
end

function M.missed(ids)
  for _, id in ipairs(ids) do
    local op = store.get("operation", id)
    local rec = op and workflow.over(op) and store.get(op.subject, op.machine)
    if rec then task.spawn(function()
      local run = {}
      task.carry("machine", op.subject == "instance" and op.machine or nil)
      enter(run, rec, op)
      over(op)
      M.leave(run)
    end) end
  end
end

function M.step(op)
  if not M.active or not trace.recorded() then return nil end
  local span = trace.begin(op.state == "undoing" and "undo" or "step", op.kind .. "." .. op.step)
  if not span then return nil end
  describe(span, op)
  span:set("cchost.step", op.step)
  span:set("cchost.attempt", op.attempts)
  return span
end

return M
