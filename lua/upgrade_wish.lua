-- Who asks for an upgrade leaves what he wants in DATA_DIR, and sends USR2 to who serves there. As long as he waits for what
-- comes of it he has a lock: one asks at a time, and what is found without it is of somebody who has gone: nobody's wish.
--
--   wish.ask(settings, program, seconds) -> asked | nil, err     [yields] asked: {pid = of the server, id =, lock =}; whoever
--                                                                asks already is waited for, so long
--   wish.drop(settings, asked)        he waits no longer
--   wish.serves(settings) -> bool     [yields] somebody does
--   wish.is(settings) -> bool         [yields] somebody waits for one to be taken
--   wish.take(settings) -> {id, program}      [yields] where there is none: for the program's own file, as of a plain USR2

local crypto = require "crypto"
local errors = require "errors"
local fs = require "fs"
local json = require "json"
local service = require "service"
local sys = require "sys"
local task = require "task"
local time = require "time"

local M = {}

local TELL = 5 -- seconds in which the server's number is that of a process

local function file_of(settings) return settings.DATA_DIR .. "/upgrade.json" end
local function lock_of(settings) return settings.DATA_DIR .. "/upgrade.lock" end
local function served_of(settings) return settings.DATA_DIR .. "/serve.lock" end

function M.serves(settings) return fs.locked(served_of(settings)) == true end

local function lock(settings, seconds)
  local ends = time.mono() + seconds * 1000
  while true do
    local held, err = fs.lock(lock_of(settings))
    if held or err.code ~= "exists" then return held, err end
    if time.mono() > ends then
      return errors.fail("timeout", ("another upgrade was asked for, and is not over after %d s"):format(seconds))
    end
    local ok, why = task.sleep(0.1)
    if not ok then return nil, why end
  end
end

-- What another user leaves the server's cannot read: not even root asks. -> true | nil, err
local function is_theirs(settings)
  local mine, theirs = fs.stat("/proc/self", true), fs.stat(served_of(settings))
  if not mine or not theirs or mine.owner == theirs.owner then return true end
  return errors.fail("denied", ("the server is %s's, who alone can ask: runuser -u %s -- cchost upgrade")
    :format(theirs.owner, theirs.owner))
end

-- The number is read after the wish is left: should another process take the place just now, that finds it. One whose process
-- has just died is read again, as the next one writes its own there. -> pid | nil, err
local function tell(settings)
  local ends = time.mono() + TELL * 1000
  while true do
    local pid = tonumber((fs.read(served_of(settings), 32) or ""):match("^%d+"))
    local ok, err = nil, errors.new("state", "the server that runs on " .. settings.DATA_DIR .. " does not tell its number")
    if pid then ok, err = sys.kill(pid, "USR2") end
    if ok then return pid end
    if time.mono() > ends or not M.serves(settings) or not task.sleep(0.1) then return nil, err end
  end
end

function M.ask(settings, program, seconds)
  if not M.serves(settings) then return errors.fail("state", "no server runs on " .. settings.DATA_DIR) end
  local ok, err = is_theirs(settings)
  if not ok then return nil, err end
  local held
  held, err = lock(settings, seconds)
  if not held then return nil, err end
  local asked = { id = crypto.token(8), lock = held }
  ok, err = fs.write(file_of(settings), json.encode { id = asked.id, program = program or json.null })
  if ok then asked.pid, err = tell(settings) end
  if asked.pid then return asked end
  M.drop(settings, asked)
  return nil, err
end

local function read(settings)
  local ok, wish = pcall(json.decode, fs.read(file_of(settings), 65536) or "")
  return ok and type(wish) == "table" and type(wish.id) == "string" and wish or nil
end

function M.drop(settings, asked)
  local wish = read(settings)
  if wish and wish.id == asked.id then fs.remove(file_of(settings)) end
  asked.lock:close()
end

function M.is(settings) return read(settings) ~= nil and fs.locked(lock_of(settings)) == true end

function M.take(settings)
  local wish = M.is(settings) and read(settings) or {}
  fs.remove(file_of(settings))
  local program = type(wish.program) == "string" and wish.program or service.program()
  return { id = wish.id or crypto.token(8), program = program }
end

return M
