-- ccc extend: more hours, from the end that an instance has, or from now where that is past.

local args = require "ccc.args"
local say = require "ccc.say"

local M = {}

M.help = [[
Usage: ccc extend <instance-id> <hours>
       ccc extend <instance-id> --hours N

Adds hours to an instance: to the time that it has left, so none that was paid for is lost.

Options:
]] .. args.common_help

function M.run(argv)
  local options, words, where = args.read(argv, { usage = M.help, words = { 1, 2 }, options = { hours = "text" } })
  if words[2] and options.hours then say.fail("hours: given twice") end
  local text = words[2] or options.hours
  if not text then
    io.stderr:write(M.help)
    return 1
  end
  local hours = args.hours(text)
  local at = where()
  local rec = args.machine(at, words[1])
  rec = say.must(at:extend(rec.id, hours))
  if say.as_json then return say.json(say.entry(rec, at:email(rec.owner))) end
  say.line("Extended instance %s by %d hours", rec.short, hours)
  say.line("New expiration: %s", rec.expires_at)
end

return M
