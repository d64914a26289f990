---@meta billing.usage
-- luacheck: ignore 212 241
-- What `require "billing.usage"` gives (lua/billing/usage.lua; docs/scripts.md). [yields] marks what waits.

---@class billing.segment       of one machine; a segment that is cut costs its part
---@field from integer          unix ms
---@field to integer
---@field state string
---@field type string
---@field rate integer          micro-units an hour
---@field how string
---@field plan string

---@class billing.totals
---@field ms table<string, integer>          RUNNING, by type
---@field running_ms integer
---@field storage_ms integer
---@field by_how table<string, integer>
---@field micro table<string, integer>       charged, by type; "storage"
---@field charged integer
---@field waived integer

---@class billing.interval      what a machine was
---@field from integer          unix ms
---@field to? integer           nil: still
---@field state string
---@field type string
---@field gib integer
---@field owner string

---@class billing.usage
local usage = {}

---@param owner string
---@param from integer          unix ms
---@param to integer
---@param each? fun(machine: string, segment: billing.segment)
---@return billing.totals
function usage.totals(owner, from, to, each) end
---All of an account's, also of machines that are gone.
---@param owner string
---@param from integer
---@param to integer
---@param fn fun(machine: string, segment: billing.segment)
function usage.each(owner, from, to, fn) end
---Of one machine, up to now.
---@param id string
---@param from integer
---@param to integer
---@return billing.segment[]
function usage.of(id, from, to) end
---Of one machine, what is posted.
---@param id string
---@param from integer
---@param to integer
---@return billing.segment[]
function usage.kept(id, from, to) end
---@param s billing.segment
---@return integer charged, integer waived   micro-units
function usage.cost(s) end
---From its log. [yields]
---@param id string
---@return billing.interval[] intervals, integer|nil from   before which its log tells nothing
function usage.of_log(id) end
---The same of entries that are there already, oldest first. Pure.
---@param list { type: string, data: table }[]
---@return billing.interval[] intervals, integer|nil from
function usage.fold(list) end

return usage
