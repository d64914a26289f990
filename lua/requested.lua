-- What requests for a change of a machine, a volume or a network have in common.
--
--   requested.outdated(actor, rec) -> why a record is not the one that the request is about, or nil
--   requested.begun(subject, rec, err, by) -> record, operation id | nil, err     [yields] what an update has made is worked on;
--       what policies have refused is kept
--   requested.finished(subject, rec, op_id, seconds) -> record, true | record, false, op_id while it goes on
--       | nil, err when it failed or was overtaken     [yields] waits until an operation (nil: none) is over

local denials = require "policy.denials"
local errors = require "errors"
local runner = require "runner"
local store = require "store"
local workflow = require "workflow"

local M = {}

local WAIT_SECONDS = 30
local noun = { instance = "machine", volume = "volume" }

function M.outdated(actor, rec)
  if not actor.expects or actor.expects == rec.version then return end
  return errors.new("precondition", ("it is at version %d, not %d"):format(rec.version, actor.expects))
end

function M.begun(subject, rec, err, by)
  if not rec then
    denials.note(err, by)
    return nil, err
  end
  runner.drive(subject, rec.id)
  return rec, rec.operation
end

function M.finished(subject, rec, op_id, seconds)
  if not op_id then return rec, true end
  runner.drive(subject, rec.id)
  local op = runner.wait(op_id, seconds or WAIT_SECONDS)
  local now = store.get(subject, rec.id) or rec
  if not op or not workflow.over(op) then return now, false, op_id end
  if op.state == "done" then return now, true end
  local fields = { status_now = now.status }
  if op.state == "failed" and op.error.code == "state" then return errors.fail("state", op.error.message, fields) end
  if op.state == "failed" then return errors.fail("failed", "the provider could not do it: " .. op.error.message, fields) end
  return errors.fail("conflict", ("the %s was %s; the %s is %s"):format((op.kind:gsub("_", " ")), op.state, noun[subject],
    now.status), fields)
end

return M
