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

function M.run(argv)
  local _, words, where = args.read(argv, { usage = M.help, words = { 1, 1 } })
  local at = where()
  local rec = args.machine(at, words[1])
  say.stage("Deprovisioning instance %s...", rec.short)
  local id, foreign = rec.id, rec.provider == "foreign"
  rec = say.must(at:delete(id))
  local begun = time.mono()
  while rec.status ~= "DELETED" and rec.status ~= "ERROR" and time.mono() - begun < WAIT_SECONDS * 1000 do
    script.progress("  deleting, %d s", (time.mono() - begun) / 1000)
    at:await(type(rec.operation) == "string" and rec.operation or nil, 5)
    local now, err = at:get(id)
    if not now and err.code == "not_found" then break end
    rec = say.must(now, err)
  end
  script.end_progress()
  if rec.status == "ERROR" then
    say.fail(("Server of instance %s could not be deleted: %s. The instance is kept, and its deletion is tried again."):format(
      rec.short, say.plain(type(rec.error) == "string" and rec.error or "no reason told")))
  end
  if say.as_json then return say.json { instanceId = rec.short, status = "deleted" } end
  say.line(foreign and "Server left alone: it came from instances.json, and cchost does not drive it" or "Server deleted")
  say.line("Instance removed from state")
  say.line("Done")
end

return M
