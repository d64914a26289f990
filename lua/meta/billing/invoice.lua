---@meta billing.invoice
-- luacheck: ignore 212 241
-- What `require "billing.invoice"` gives (lua/billing/invoice.lua; docs/scripts.md). [yields] marks what waits.

---@class billing.line
---@field kind string           fee, subscription, usage, storage, block, payment, adjustment, refund, gift, ...
---@field micro integer
---@field waived? integer
---@field [string] any

---@class billing.month         closing = opening + paid + adjusted + refunded - charged; micro-units
---@field owner string
---@field from integer
---@field to integer
---@field currency string
---@field plan string
---@field lines billing.line[]
---@field charged integer
---@field waived integer
---@field paid integer
---@field adjusted integer
---@field refunded integer
---@field opening integer
---@field closing integer
---@field granted integer       ms
---@field used table<string, integer>   ms RUNNING, by how they were paid
---@field running boolean       whether the month goes on

---@class billing.invoice
local invoice = {}

---@param owner string
---@param from integer          as billing.months gives it
---@param to integer
---@param now integer
---@return billing.month
function invoice.of(owner, from, to, now) end
---What it would have come to under the plan of that name. [yields]
---@param owner string
---@param from integer
---@param to integer
---@param now integer
---@param plan string
---@return billing.month|nil, cchost.error|nil err
function invoice.under(owner, from, to, now, plan) end
---What a line is for.
---@param line billing.line
---@param name_of fun(id: string): string
---@return string
function invoice.words(line, name_of) end
---A machine's name, or its id.
---@param id string
---@return string
function invoice.name_of(id) end

return invoice
