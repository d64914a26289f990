---@meta billing.months
-- luacheck: ignore 212 241
-- What `require "billing.months"` gives (lua/billing/months.lua; docs/scripts.md). [yields] marks what waits.

---Of UTC; pure. Times are unix ms.
---@class billing.months
local months = {}

---@param t integer
---@return integer              the beginning of its month
function months.from(t) end
---@param t integer
---@return integer              the beginning of the next one
function months.after(t) end
---@param t integer
---@return integer              the day of its month
function months.day(t) end
---So many months later; one that is too short ends it on its last day.
---@param t integer
---@param n integer
---@param day? integer          that is meant
---@return integer
function months.later(t, n, day) end
---@param text string           "2026-11"
---@return integer|nil from, integer|nil to
function months.parse(text) end
---@param t integer
---@return string               "2026-11"
function months.name(t) end

return months
