---@meta log
-- luacheck: ignore 212 241
-- What `require "log"` gives (host/script/bind_log.c; docs/scripts.md). [yields] marks what waits.

---@class log
local log = {}

---@alias log.level "debug"|"info"|"warn"|"error"

---@param module string
---@param message string
---@param fields? table<string, any>
function log.debug(module, message, fields) end
---@param module string
---@param message string
---@param fields? table<string, any>
function log.info(module, message, fields) end
---@param module string
---@param message string
---@param fields? table<string, any>
function log.warn(module, message, fields) end
---@param module string
---@param message string
---@param fields? table<string, any>
function log.error(module, message, fields) end
---level nil: none of its own; module nil: of all that have none.
---@param module string|nil
---@param level log.level|"off"|nil
---@return true|nil, cchost.error|nil err
function log.level(module, level) end
---@return log.level least, table<string, string> of_modules
function log.levels() end
---@return { lines: integer, dropped: integer, waiting: integer }
function log.stats() end
---@param o { level: log.level, json: boolean, levels?: table<string, string> }
function log.setup(o) end
---Lines go out by a thread from here on.
---@param o { file?: string, buffer?: integer }
---@return true|nil, cchost.error|nil err
function log.start(o) end
function log.reopen() end

return log
