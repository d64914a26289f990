---@meta time
-- luacheck: ignore 212 241
-- What `require "time"` gives (host/script/bind_time.c; docs/scripts.md). [yields] marks what waits.

---@class time
local time = {}

---@return integer ms           unix
function time.now() end
---@return number ms            that never jump back
function time.mono() end
---@param ms integer
---@return string               "2026-11-20T17:42:00.123Z"
function time.rfc3339(ms) end
---@param text string
---@return integer|nil ms, cchost.error|nil err
function time.parse(text) end
---From now on time stands still, for tests.
---@param ms integer
function time.virtual(ms) end
---Moves such time on.
---@param ms integer
function time.advance(ms) end

return time
