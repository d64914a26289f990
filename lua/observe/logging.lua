-- How the log is written, by the settings; and its levels, which can change while the server runs.
--
-- logging.of_server(settings) -> true | nil, err     a thread writes it, into LOG_FILE, which SIGHUP opens anew; levels stay
-- logging.of_command(settings, level)                to standard error; LOG_LEVEL of the environment over `level`
-- logging.levels() -> {level =, modules = {name = level}}
-- logging.change(level or nil, {module = level, false: none of its own} or nil, by) -> true | nil, err

local errors = require "errors"
local hangup = require "hangup"
local log = require "log"
local sys = require "sys"

local M = {}

M.words = { "debug", "info", "warn", "error", "off" }
M.module_pattern = "^[%l_]+$"

local MODULES_MAX = 64

local function as_json(settings)
  if settings.LOG_FORMAT then return settings.LOG_FORMAT == "json" end
  return settings.ENVIRONMENT == "production"
end

function M.of_server(settings)
  log.setup { level = settings.LOG_LEVEL, json = as_json(settings), levels = settings.LOG_LEVELS }
  local ok, err = log.start { file = settings.LOG_FILE }
  if not ok then return nil, err end
  hangup.on(log.reopen)
  return true
end

function M.of_command(settings, level)
  log.setup { level = sys.env("LOG_LEVEL") or level, json = as_json(settings) }
end

function M.levels()
  local least, modules = log.levels()
  return { level = least, modules = modules }
end

function M.change(level, modules, by)
  local _, have = log.levels()
  local n = 0
  for name in pairs(modules or {}) do have[name] = true end
  for _ in pairs(have) do n = n + 1 end
  if n > MODULES_MAX then return errors.fail("limit", ("at most %d modules can have levels of their own"):format(MODULES_MAX)) end
  for name, one in pairs(modules or {}) do
    local ok, err = log.level(name, one or nil)
    if not ok then return nil, err end
  end
  if level then log.level(nil, level) end
  log.warn("log", "levels were changed", { by = by, levels = M.text() })
  return true
end

-- "info access=off tls=debug"
function M.text()
  local least, modules = log.levels()
  local words = {}
  for name, one in pairs(modules) do words[#words + 1] = name .. "=" .. one end
  table.sort(words)
  table.insert(words, 1, least)
  return table.concat(words, " ")
end

return M
