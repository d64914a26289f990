---@meta process
-- luacheck: ignore 212 241
-- What `require "process"` gives (host/script/bind_process.c; docs/scripts.md). [yields] marks what waits.

---A program that runs beside us; one that nobody holds any more is killed. (sys.run: one run to its end.)
---@class process
local process = {}

---@class process.command
---@field [integer] string      the first is found in PATH; never a shell
---@field dir? string
---@field env? table<string, string>      all of its environment
---@field stderr? "keep"|"out"|"inherit"
---@field returns? boolean      "\r" ends a line, too
---@field line_max? integer     bytes (1 MiB)
---@field fds? integer[]        descriptors of ours that are its 3, 4, ...

---@class process.handle
local p = {}
---Of its output, without its end. [yields]
---@param seconds? number
---@return string|nil line, cchost.error|nil err   closed, limit, timeout
function p:line(seconds) end
---[yields]
---@param text string
---@return true|nil, cchost.error|nil err
function p:write(text) end
function p:close_input() end
---The last 4 KiB that it said on stderr.
---@return string
function p:errors() end
---128 + n after signal n. [yields]
---@param seconds? number
---@return integer|nil exit, cchost.error|nil err   timeout
function p:wait(seconds) end
---It and its group.
---@param signal? "KILL"|"TERM"|"INT"
function p:kill(signal) end
---@return integer
function p:pid() end
---It is not killed when nobody holds it, nor at our end.
function p:leave() end

---@param command process.command
---@return process.handle|nil, cchost.error|nil err
function process.spawn(command) end

return process
