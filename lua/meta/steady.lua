---@meta steady
-- luacheck: ignore 212 241
-- What `require "steady"` gives (lua/steady.lua; docs/scripts.md). [yields] marks what waits.

---The clock that deadlines are on: it never jumps while a server runs.
---@class steady
local steady = {}

---@return number ms            unix
function steady.now() end
---@param seconds number
---@return string               RFC 3339
function steady.after(seconds) end
---@param text string           RFC 3339
---@return number seconds       below 0: it is past
function steady.left(text) end
---Of a time by the wall clock, as it is now.
---@param ms number
---@return number ms
function steady.of_wall(ms) end
---@param ms number
---@return number ms            by the wall clock, as it is now
function steady.to_wall(ms) end
---Between it and time.mono().
---@return number ms
function steady.offset() end
---Of another process.
---@param ms number
function steady.adopt(ms) end

return steady
