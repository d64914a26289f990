-- The record meta/stripe: what is known of money as a whole, and not of one account. Who writes a field says what it is:
-- {on, changed_over} billing/change_over.lua, {reports, posted} stripe/usage.lua, {heard} stripe/inbox.lua.
--
--   meta_record.change(fn) -> true | nil, err      [yields] fn(meta) changes it; false: nothing is to be written

local store = require "store"

local M = {}

function M.change(fn)
  return store.update(function(tx)
    local meta = tx:get("meta", "stripe") or {}
    if fn(meta) ~= false then tx:put("meta", "stripe", meta) end
    return true
  end)
end

return M
