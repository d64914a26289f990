-- Wake on connect: whoever comes to a machine that is stopped, or suspended, starts it, once however many come (the operation
-- that is under way is everybody's), and waits until its agent answers. The decision is that of POST /wake.
--
--   wake.reach(actor, machine id, o) -> record | nil, err
--     o.wake     false: a machine that sleeps is refused as it is
--     o.gone()   whether nobody waits any more
--     o.progress(sentence)   called about once a second
--   wake.begin(actor, record) -> record as it is now, operation id or nil | nil, err   starts it, waits for nothing
--   wake.asleep(record)

local agent = require "machines.agent"
local credentials = require "accounts.credentials"
local errors = require "errors"
local instances = require "instances"
local json = require "json"
local runner = require "runner"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

M.seconds = 120 -- setup.lua
local STEP = 1      -- between two sentences of progress
local LOOK = 0.1    -- between two looks whether the agent answers

local function is(v) return v ~= nil and v ~= json.null end

function M.asleep(rec) return rec.status == "STOPPED" or rec.status == "RUNNING" and is(rec.suspended_at) end

local function up(rec) return rec.status == "RUNNING" and not is(rec.suspended_at) end

local function as_it_is(rec)
  local what = is(rec.suspended_at) and "suspended: resume it" or rec.status .. ", not RUNNING"
  return errors.fail("state", "the machine is " .. what, { status_now = rec.status })
end

-- A start is a change: it costs.
local function may(actor)
  if not actor.scopes or actor.scopes["instances:write"] then return true end
  return errors.fail("denied", "the machine is stopped, and the token lacks the scope 'instances:write' to start it")
end

function M.begin(actor, rec)
  local ok, err = may(actor)
  if not ok then return nil, err end
  -- what the request says of versions and repeats is not said of this
  local who = setmetatable({ idempotent = false, expects = false, reason = "somebody connected to it" }, { __index = actor })
  local now, op = instances.move(who, rec.id, is(rec.suspended_at) and "resume" or "start", 0)
  if not now then
    local again = store.get("instance", rec.id)
    if op.code == "state" and again and not M.asleep(again) then return again, again.operation end -- another was first
    return nil, op
  end
  return now, now.operation
end

-- Why it will not run: the operation is over, and it does not.
local function failure(rec, id)
  local op = is(id) and store.get("operation", id)
  local why = op and op.state == "failed" and op.error and op.error.message
  if why then return errors.fail("failed", "the machine could not be started: " .. why, { status_now = rec.status }) end
  return as_it_is(rec)
end

-- Waits for it to run and to answer. -> record | nil, err
local function wait(actor, id, op, o)
  local ends, began, told = time.mono() + M.seconds * 1000, time.mono(), 0
  while true do
    local rec = store.get("instance", id)
    if not rec then return errors.fail("not_found", "no such machine") end
    local answers, why = up(rec), nil
    if answers then answers, why = agent.answers(rec) end
    if answers then return rec end
    if why and why.code == "unsupported" then return nil, why end
    if is(rec.operation) then op = rec.operation end
    local over = M.asleep(rec) and not runner.busy("instance", id)
    if over or not up(rec) and rec.status ~= "STARTING" and not M.asleep(rec) then return failure(rec, op) end
    if time.mono() >= ends then
      return errors.fail("timeout", ("the machine did not answer within %d s: it is %s"):format(M.seconds, rec.status),
        { status_now = rec.status })
    end
    if o.gone and o.gone() then return errors.fail("io", "the client has gone") end
    if o.progress and time.mono() - told >= STEP * 1000 then
      told = time.mono()
      o.progress(("the machine is %s (%d s)"):format(up(rec) and "up, its agent is awaited" or "starting",
        math.floor((told - began) / 1000)))
    end
    local slept, err = task.sleep(LOOK)
    if not slept then return nil, err end
    local stands, ended = credentials.check(actor)
    if not stands then return nil, ended end
  end
end

function M.reach(actor, id, o)
  local rec = store.get("instance", id)
  if not rec then return errors.fail("not_found", "no such machine") end
  if up(rec) then return rec end
  local op = rec.operation
  if M.asleep(rec) then
    if o.wake == false then return as_it_is(rec) end
    local begun, err = M.begin(actor, rec)
    if not begun then return nil, err end
    op = err
  elseif rec.status ~= "STARTING" then
    return as_it_is(rec)
  else
    runner.drive("instance", id)
  end
  return wait(actor, id, op, o)
end

return M
