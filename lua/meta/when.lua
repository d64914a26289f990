---@meta when
-- luacheck: ignore 212 241
-- What `require "when"` gives (lua/when.lua; docs/scripts.md). [yields] marks what waits.

---@class when
---@field hint string           how a time is written, for a message
local when = {}

---"2026-11-20T12:00:00Z", "2026-11-20", unix seconds, "2h", "3d ago", "now".
---@param text string
---@param now integer           unix ms
---@return integer|nil ms, cchost.error|nil err
function when.parse(text, now) end

return when
