---@meta script
-- luacheck: ignore 212 241
-- What `require "script"` gives (lua/script.lua; docs/scripts.md). [yields] marks what waits.

---@class script
---@field settings table<string, any>
local script = {}

---[yields] Settings, the store of DATA_DIR and the providers. existing: no store there is the script's end.
---@param options? { existing: boolean }
---@return table<string, any> settings
function script.open(options) end

---The value, or the script's end with the error on stderr and code 1.
---@generic T
---@param value T|nil
---@param err? any
---@return T value
---@return any ...
function script.must(value, err, ...) end

---One line that is written over itself; nothing when stderr is no terminal.
---@param format string
function script.progress(format, ...) end

---@param done number
---@param total? number     nil: not known
---@param text string
function script.bar(done, total, text) end

---@param text string
---@return fun() say        for `during`: the text, and how long it has taken
function script.clock(text) end

---[yields] fn's results; meanwhile say() five times a second.
---@param say fun()
---@param fn function
---@return any ...
function script.during(say, fn, ...) end

function script.end_progress() end

---Prints how to call the script and ends it with code 2.
---@param text string
function script.usage(text) end

---@param code integer
function script.quit(code) end

---The script's end with an error, where DATA_DIR has no store.
---@param settings table<string, any>
function script.at_store(settings) end

return script
