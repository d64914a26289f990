-- A what-if beside the server: `cchost whatif` in a process of its own, as a replay is minutes of work for a large past, and the
-- server's loop is not to wait for it. One at a time; it sees nothing of the server's secrets.
--
--   child.run(name, source, since, tell) -> result (JSON text) | nil, err, faults    [yields] name: "idle.lua", the file that
--       `source` would be in the place of; since: as --since takes it. tell(line): JSON text of how far it is; nil: the reader
--       has gone, and the work ends
--   child.settings    the server's

local errors = require "errors"
local fs = require "fs"
local json = require "json"
local process = require "process"
local sys = require "sys"
local time = require "time"

local M = { seconds = 900 } -- then it is given up

local LINE_MAX = 16 * 1048576
local SILENCE = 5 -- seconds, after which it is looked whether the reader is still there

local running = false

local function command(file, since)
  local s = M.settings
  local argv = {
    "/proc/self/exe", "whatif", file, "--json", "--progress", "--since=" .. since, "--data-dir=" .. s.DATA_DIR,
    env = { PATH = sys.env("PATH") or "/usr/bin:/bin" }, line_max = LINE_MAX,
  }
  for option, value in pairs { ["idle-threshold"] = s.IDLE_THRESHOLD, ["activity-check-interval"] = s.ACTIVITY_CHECK_INTERVAL } do
    argv[#argv + 1] = ("--%s=%d"):format(option, value)
  end
  return argv
end

-- Until its output ends. -> result, faults | nil, err
local function read(p, tell)
  local ends, progress, result, faults = time.mono() + M.seconds * 1000, '{"progress":0}', nil, nil
  while true do
    local line, err = p:line(SILENCE)
    if not line and err.code == "closed" then return result or "", faults end
    if not line and err.code ~= "timeout" then return nil, err end
    local short = line and #line < LINE_MAX / 16 and line or ""
    if short:find('^{"progress"') then
      progress = line
    elseif short:find('^{"faults"') then
      faults = json.decode(line).faults
    elseif line then
      result = line
    end
    local there, gone = tell(progress)
    if not there then return nil, gone end
    if time.mono() > ends then return errors.fail("timeout", ("the what-if is given up after %d s"):format(M.seconds)) end
  end
end

local function work(file, since, tell)
  local p, err = process.spawn(command(file, since))
  if not p then return nil, err end
  local result, faults = read(p, tell)
  if not result then
    p:kill()
    return nil, faults
  end
  local exit
  exit, err = p:wait(SILENCE)
  if not exit then
    p:kill()
    return nil, err
  end
  if faults then return nil, errors.new("invalid", "the policies would be refused"), faults end
  if exit ~= 0 or result == "" then
    return errors.fail("failed", "the what-if failed: " .. p:errors():gsub("^cchost: ", ""):gsub("%s+$", ""))
  end
  return result
end

function M.run(name, source, since, tell)
  if running then return errors.fail("state", "another what-if is under way: wait until it is over") end
  running = true
  local dir = M.settings.DATA_DIR .. "/whatif"
  local file = dir .. "/" .. name
  local ok, result, err, faults = xpcall(function()
    local made, why = fs.mkdir(dir)
    if made then made, why = fs.write(file, source) end
    if not made then return nil, why end
    return work(file, since, tell)
  end, debug.traceback)
  fs.remove(file)
  running = false
  if not ok then error(result, 0) end
  return result, err, faults
end

return M
