-- ccc status: one machine, and how long it has.

local args = require "ccc.args"
local say = require "ccc.say"
local time = require "time"

local M = {}

M.help = [[
Usage: ccc status <instance-id>

Shows an instance: where it is, how to log in, what it is doing, and the time that it has left.

Options:
]] .. args.common_help

-- Pure. "1d 2h", "23h 59m", "12m", "40s"
function M.span(ms)
  local s = math.floor(ms / 1000)
  local d, h, m = math.floor(s / 86400), math.floor(s / 3600) % 24, math.floor(s / 60) % 60
  if d > 0 then return ("%dd %dh"):format(d, h) end
  if h > 0 then return ("%dh %dm"):format(h, m) end
  if m > 0 then return ("%dm"):format(m) end
  return ("%ds"):format(s)
end

local function remaining(text)
  if not text then return "no end" end
  local left = time.parse(text) - time.now()
  if left > 0 then return M.span(left) end
  return ("none, it ended %s ago"):format(M.span(-left))
end

local rows = {
  { "Instance ID", "instanceId" }, { "Email", "email" }, { "Server name", "serverName" }, { "Server IP", "serverIp" },
  { "Server type", "serverType" }, { "Location", "location" }, { "Provider", "provider" }, { "Status", "status" },
  { "Error", "error" }, { "SSH command", "sshCommand" }, { "SSH", "sshUnavailable" }, { "Host key", "hostKeyFingerprint" },
  { "Created", "createdAt" }, { "Expires", "expiresAt" }, { "Remaining", "remaining" },
}

function M.run(argv)
  local _, words, where = args.read(argv, { usage = M.help, words = { 1, 1 } })
  local at = where()
  local rec = args.machine(at, words[1])
  local entry = say.entry(rec, at:email(rec.owner))
  entry.remaining = remaining(entry.expiresAt)
  if say.as_json then return say.json(entry) end
  if entry.sshUnavailable then entry.sshUnavailable = "not offered: " .. entry.sshUnavailable end
  for _, row in ipairs(rows) do
    local value = entry[row[2]]
    if value then say.line("%-13s%s", row[1] .. ":", say.plain(tostring(value))) end
  end
end

return M
