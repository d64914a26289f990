---@meta billing.amount
-- luacheck: ignore 212 241
-- What `require "billing.amount"` gives (lua/billing/amount.lua; docs/scripts.md). [yields] marks what waits.

---Whole micro-units (1,000,000 is one of the currency) and ms; pure.
---@class billing.amount
---@field HOUR integer
---@field MOST integer
local amount = {}

---@param micro integer
---@return string               "-1.23"
function amount.text(micro) end
---@param text string
---@return integer|nil micro, string|nil why
function amount.parse(text) end
---For people.
---@param ms integer
---@return number
function amount.hours(ms) end
---@param rate integer          micro-units an hour
---@param from integer
---@param to integer
---@return integer
function amount.cost(rate, from, to) end
---The part of `total`, spread over [from, to), that falls on [a, b).
---@param total integer
---@param from integer
---@param to integer
---@param a integer
---@param b integer
---@return integer
function amount.share(total, from, to, a, b) end
---The first ms at which sum(ms) >= most; nil: later than `high`.
---@param sum fun(ms: integer): integer
---@param most integer
---@param low integer
---@param high integer
---@return integer|nil
function amount.until_spent(sum, most, low, high) end

return amount
