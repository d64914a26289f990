---@meta task
-- luacheck: ignore 212 241
-- What `require "task"` gives (host/script/bind_task.c; docs/scripts.md). [yields] marks what waits.

---@class task
local task = {}

---@class task.handle
local handle = {}
---What its function returned. [yields]
---@return any ...              nil, err: it raised (code "error", with the traceback) or was cancelled
function handle:join() end
---Its wait returns nil, err with code "cancelled".
---@param why? string
function handle:cancel(why) end
---@return boolean
function handle:done() end

---@class task.signal
local signal = {}
---Until the next fire. [yields]
---@param seconds number
---@return true|nil, cchost.error|nil err   timeout, cancelled
function signal:wait(seconds) end
---Wakes every task that waits now.
function signal:fire() end

---@param fn function
---@return task.handle
function task.spawn(fn, ...) end
---What goes on by itself, and rests while another process takes our place.
---@param fn function
---@return task.handle
function task.duty(fn, ...) end
---What has an end, whoever spawns it.
---@param fn function
---@return task.handle
function task.work(fn, ...) end
---[yields]
---@param seconds number
---@return true|nil, cchost.error|nil err   cancelled
function task.sleep(seconds) end
---@return task.signal
function task.signal() end
---@param fields { code: string, message: string, retryable?: boolean, [string]: any }
---@return cchost.error
function task.error(fields) end
---Said in each line of the log and each span from here on; text nil: no more; name nil: of nobody's any more.
---@param name? "request"|"user"|"machine"|"plan"|"trace"
---@param text? string
function task.carry(name, text) end
---@return { request: string|nil, trace: string|nil, user: string|nil, machine: string|nil }
function task.carried() end
---@return integer              tasks alive
function task.count() end
---@return integer              duties that are not at rest
function task.duties() end
---No duty comes out of its wait until task.release().
function task.hold() end
function task.release() end

return task
