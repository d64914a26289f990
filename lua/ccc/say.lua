-- What ccc prints: lines, errors, and a machine as the state file of the scripts has it (instances.json) and a little more.
--
--   say.line(format, ...), say.text(text)     standard output
--   say.fail(message)                         "Error: message" on stderr and the end with code 1; with --json also
--                                             {"error": message} on standard output
--   say.json(value)
--   say.entry(record, email) -> table         for people and programs: nil where there is nothing to say

local json = require "json"
local script = require "script"
local sys = require "sys"

local M = {}

M.as_json = false -- --json was given

-- What others have written, without what could steer a terminal.
function M.plain(text) return (text:gsub("%c", "?"):gsub("\194[\128-\159]", "?")) end

function M.text(text)
  local ok, err = sys.stdout(text)
  if ok then return end
  if err.code == "cancelled" then script.quit(0) end
  io.stderr:write("Error: ", err.message, "\n")
  script.quit(1)
end

function M.line(format, ...) M.text(format:format(...) .. "\n") end

-- A step that a person reads; a program gets one object at the end.
function M.stage(format, ...)
  if not M.as_json then M.line(format, ...) end
end

function M.json(value) M.text(json.encode(value) .. "\n") end

function M.fail(message)
  script.end_progress()
  if M.as_json then M.json { error = message } end
  io.stderr:write("Error: ", message, "\n")
  script.quit(1)
end

-- The value, or the end.
function M.must(value, err)
  if value == nil then M.fail(M.plain(err.message)) end
  return value
end

local function or_nil(value) return value ~= json.null and value or nil end

-- The words of the scripts, which had "running" alone, and ours for what else there is.
local words = {
  STARTING = "provisioning", RUNNING = "running", STOPPING = "stopping", STOPPED = "stopped", ERROR = "error",
  DELETING = "deleting", DELETED = "deleted",
}

local function ssh_command(ssh)
  return ("ssh %s@%s%s"):format(ssh.user, ssh.host, ssh.port ~= 22 and (" -p %d"):format(ssh.port) or "")
end

function M.entry(rec, email)
  local ssh = or_nil(rec.ssh) or {}
  local imported = not ssh.host and rec.provider == "foreign" and rec.labels.server_ip or nil
  if imported and imported ~= "" then ssh = { host = imported, port = 22, user = "claude" } end
  return {
    instanceId = rec.short, email = email, serverName = or_nil(rec.provider_id) or "cc-" .. rec.short, serverIp = ssh.host,
    sshPort = ssh.port, serverType = rec.type, location = or_nil(rec.location), provider = rec.provider,
    createdAt = rec.created_at, expiresAt = or_nil(rec.expires_at), status = words[rec.status],
    sshCommand = ssh.host and ssh_command(ssh) or nil, hostKey = ssh.host_key, hostKeyFingerprint = ssh.fingerprint,
    sshUnavailable = ssh.why, error = or_nil(rec.error),
  }
end

return M
