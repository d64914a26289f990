-- ccc list: every machine that is not deleted, a line each.

local args = require "ccc.args"
local json = require "json"
local say = require "ccc.say"

local M = {}

M.help = [[
Usage: ccc list

Lists all instances, the oldest first, one a line, with tabs between: id, server IP, email, time of expiration ("-" and
"never" where there is none).

Options:
]] .. args.common_help

function M.run(argv)
  local _, _, where = args.read(argv, { usage = M.help })
  local at = where()
  local entries = json.array {}
  for _, rec in ipairs(say.must(at:list())) do entries[#entries + 1] = say.entry(rec, at:email(rec.owner)) end
  table.sort(entries, function(a, b)
    if a.createdAt ~= b.createdAt then return a.createdAt < b.createdAt end
    return a.instanceId < b.instanceId
  end)
  if say.as_json then return say.json(entries) end
  for _, e in ipairs(entries) do
    say.line("%s\t%s\t%s\t%s", e.instanceId, e.serverIp or "-", say.plain(e.email), e.expiresAt or "never")
  end
end

return M
