-- For batch scripts: opens what a script needs, and says how far it is.
--
--   local app = require "script"
--   app.open()                    settings, the store of DATA_DIR (also beside a running serve; made where there is none),
--                                 providers
--   app.open { existing = true }  for who only looks: no store there is the end of the script
--   value = app.must(value, err)  the value, or the end of the script with the error on stderr and exit code 1
--   app.progress(format, ...)     one line that is written over itself; nothing when stderr is no terminal
--   app.usage(text)               prints how to call the script and ends it with exit code 2
--   app.quit(code)                ends the script
--   app.settings

local config = require "config"
local fs = require "fs"
local log = require "log"
local sys = require "sys"

local M = {}

local shown = 0

function M.progress(format, ...)
  if not sys.isatty(2) then return end
  local text = format:format(...)
  io.stderr:write("\r", text, (" "):rep(math.max(0, shown - #text)))
  shown = #text
end

local function end_progress()
  if shown > 0 then io.stderr:write("\n") end
  shown = 0
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
  log.setup { level = sys.env("LOG_LEVEL") or "warn", json = settings.ENVIRONMENT == "production" }
  M.settings = settings
  if options and options.existing then M.at_store(settings) end
  M.must(require("setup").open(settings, { serve = false }))
  return settings
end

M.end_progress = end_progress

return M
