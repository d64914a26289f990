---@meta sys
-- luacheck: ignore 212 241
-- What `require "sys"` gives (host/script/bind_sys.c; docs/scripts.md). [yields] marks what waits.

---@class sys
local sys = {}

---@class sys.command
---@field [integer] string      the first is found in PATH; never a shell
---@field input? string
---@field timeout? number       seconds
---@field dir? string
---@field env? table<string, string>
---@field max? integer          bytes of its output

---One run to its end. [yields]
---@param command sys.command
---@return { exit: integer, stdout: string, stderr: string }|nil, cchost.error|nil err
function sys.run(command) end
---@param name string
---@return string|nil
function sys.env(name) end
---@return table<string, string>
function sys.environ() end
---Written whole; it blocks until the reader has taken it.
---@param text string
---@return true|nil, cchost.error|nil err   cancelled: nobody reads it any more
function sys.stdout(text) end
---@param fd integer
---@return boolean
function sys.isatty(fd) end
---fn runs in a task each time; nil takes it back.
---@param name "TERM"|"INT"|"HUP"|"USR1"|"USR2"|"WINCH"
---@param fn fun()|nil
function sys.signal(name, fn) end
---@param pid integer
---@param signal "TERM"|"KILL"|0
---@return true|nil, cchost.error|nil err
function sys.kill(pid, signal) end
---@return integer
function sys.pid() end
---@return integer
function sys.uid() end
---Of C's heap, all threads': bytes in use, and bytes held, of which the rest is free for what comes next.
---@return integer used, integer held
function sys.heap() end
---@return integer
function sys.cpus() end
---@return string
function sys.arch() end
---CPU time of this thread so far.
---@return number ms
function sys.cpu_ms() end
---A file that the binary carries.
---@param name string
---@return string|nil bytes
function sys.carried(name) end

return sys
