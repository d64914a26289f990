-- For batch scripts: opens what a script needs, and says how far it is.
--
--   local app = require "script"
--   app.open()                    settings, the store of DATA_DIR (also beside a running serve; made where there is none),
--                                 providers
--   app.open { existing = true }  for who only looks: no store there is the end of the script
--   value = app.must(value, err)  the value, or the end of the script with the error on stderr and exit code 1
--   app.progress(format, ...)     one line that is written over itself; nothing when stderr is no terminal
--   app.bar(done, total, text)    the same as a bar, ten times a second at most; a total that is not known is nil
--   ... = app.during(say, fn, ...)  fn's results; meanwhile say() five times a second, which shows progress [yields]
--   say = app.clock(text)          for `during`: the text, and how long it has taken
--   app.end_progress()            the next line of anybody begins at its start
--   app.usage(text)               prints how to call the script and ends it with exit code 2
--   app.quit(code)                ends the script
--   app.settings

local config = require "config"
local fs = require "fs"
local logging = require "observe.logging"
local sys = require "sys"
local task = require "task"
local time = require "time"

local M = {}

local shown = 0

function M.progress(format, ...)
  if not sys.isatty(2) then return end
  local text = format:format(...)
  io.stderr:write("\r", text, (" "):rep(math.max(0, shown - #text)))
  shown = #text
end

local BAR, next_at = 30, 0

function M.bar(done, total, text)
  local now = time.mono()
  if now < next_at and done ~= total then return end
  next_at = now + 100
  if not total or total <= 0 then return M.progress("%s", text) end
  local part = math.min(1, done / total)
  local full = math.floor(part * BAR)
  M.progress("[%s%s] %3d %%  %s", ("#"):rep(full), ("."):rep(BAR - full), math.floor(part * 100), text)
end

-- ends what went on beside fn, and passes its results through
local function after(watch, ...)
  watch:cancel("over")
  M.end_progress()
  return ...
end

function M.clock(text)
  local begun = time.mono()
  return function() M.progress("%s, %d s", text, math.floor((time.mono() - begun) / 1000)) end
end

function M.during(say, fn, ...)
  if not sys.isatty(2) then return fn(...) end
  say()
  local watch = task.spawn(function()
    while task.sleep(0.2) do say() end
  end)
  return after(watch, fn(...))
end

local function end_progress()
  if shown > 0 then io.stderr:write("\n") end
  shown, next_at = 0, 0
end

-- Ends the script with this exit code: an error value that cli.lua knows.
function M.quit(code)
  end_progress()
  error(setmetatable({ exit_code = code }, { __tostring = function() return "the script ended with code " .. code end }), 0)
end

function M.must(value, err, ...)
  if value == nil then
    end_progress()
    io.stderr:write("error: ", tostring(err), "\n")
    M.quit(1)
  end
  return value, err, ...
end

function M.usage(text)
  io.stderr:write("usage: cchost ", text, "\n")
  M.quit(2)
end

-- Whether there is a store is said before one is made.
function M.at_store(settings)
  if fs.stat(settings.DATA_DIR .. "/store/data.mdb") then return end
  M.must(nil, ("there is no store in %s (DATA_DIR)"):format(settings.DATA_DIR))
end

function M.open(options)
  local settings, faults = config.load {}
  if not settings then
    for _, f in ipairs(faults) do io.stderr:write("cchost: ", f, "\n") end
    M.quit(2)
  end
  logging.of_command(settings, "warn")
  M.settings = settings
  if options and options.existing then M.at_store(settings) end
  M.must(require("setup").open(settings, { serve = false }))
  return settings
end

M.end_progress = end_progress

return M
