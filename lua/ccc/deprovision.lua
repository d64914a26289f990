-- ccc deprovision: the machine goes, then its record; one whose server could not be deleted stays, and says why.

local args = require "ccc.args"
local say = require "ccc.say"
local script = require "script"
local time = require "time"

local M = {}

M.help = [[
Usage: ccc deprovision <instance-id>

Deletes an instance and everything on it.

Options:
]] .. args.common_help

local WAIT_SECONDS = 3600 -- DELETING has a deadline of its own, which comes first

-- Until it is gone, or its deletion has failed. -> record (nil: its tombstone is gone, too)
local function wait(at, rec)
  local begun = time.mono()
  while rec and rec.status ~= "DELETED" and rec.status ~= "ERROR" and time.mono() - begun < WAIT_SECONDS * 1000 do
    script.progress("  %.0f s", (time.mono() - begun) / 1000)
    at:await(type(rec.operation) == "string" and rec.operation or nil, 30)
    local now, err = at:get(rec.id)
    if not now and err.code ~= "not_found" then say.fail(say.plain(err.message)) end
    rec = now
  end
  script.end_progress()
  return rec
end

local function kept(rec, why)
  say.fail(("Server of instance %s could not be deleted: %s. The instance is kept, and its deletion is tried again."):format(
    rec.short, say.plain(why)))
end

function M.run(argv)
  local _, words, where = args.read(argv, { usage = M.help, words = { 1, 1 } })
  local at = where()
  local rec = args.machine(at, words[1])
  say.stage("Deprovisioning instance %s...", rec.short)
  local going, err = at:delete(rec.id)
  if not going then kept(rec, err.message) end
  local last = wait(at, going)
  if last and last.status ~= "DELETED" then kept(rec, type(last.error) == "string" and last.error or "no reason told") end
  if say.as_json then return say.json { instanceId = rec.short, status = "deleted" } end
  say.line(rec.provider == "foreign" and "Server left alone: it came from instances.json, and cchost does not drive it"
    or "Server deleted")
  say.line("Instance removed from state")
  say.line("Done")
end

return M
