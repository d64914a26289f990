---@meta billing.accounts
-- luacheck: ignore 212 241
-- What `require "billing.accounts"` gives (lua/billing/accounts.lua; docs/scripts.md). [yields] marks what waits.

---All of these but the last four are called in an update. `id` says what caused it: the same cause a second time changes nothing.
---@class billing.accounts
local accounts = {}

---The operator gives credit, or takes it (below 0).
---@param tx store.tx
---@param owner string
---@param e { id: string, micro: integer, reason: string, by: string }
---@return boolean              false: it was done before
function accounts.adjust(tx, owner, e) end
---Hours that do not end with the month.
---@param tx store.tx
---@param owner string
---@param e { id: string, hours: number, reason: string, by: string }
---@return boolean
function accounts.give_hours(tx, owner, e) end
---What is owed becomes less, the rest is credit.
---@param tx store.tx
---@param owner string
---@param e { id: string, micro: integer, by: string, credit_only?: boolean, [string]: any }
---@return boolean
function accounts.pay(tx, owner, e) end
---A subscription's invoice: it pays for what it says.
---@param tx store.tx
---@param owner string
---@param e { id: string, micro: integer, by: string, [string]: any }
---@return boolean
function accounts.paid_fee(tx, owner, e) end
---Money that went back to the user; below 0: that came again.
---@param tx store.tx
---@param owner string
---@param e { id: string, micro: integer, type: string, by: string, credit?: integer, fee?: boolean, block?: integer }
---@return boolean
function accounts.refund(tx, owner, e) end
---After the record has another plan.
---@param tx store.tx
---@param user cchost.user
---@param by string
function accounts.plan_changed(tx, user, by) end
---@param tx store.tx
---@param user cchost.user
---@param sub { id: string, status: string, plan: string, since: integer, from: integer, to: integer, early?: boolean }
---@param by string
---@return cchost.user
function accounts.subscribed(tx, user, sub, by) end
---That the operator gives a plan; nil: the default one.
---@param plan string
---@param by string
---@param reason? string
---@return { by: string, at: string, reason: string|nil }|nil
function accounts.granted(plan, by, reason) end
---@param status string
---@return boolean
function accounts.lives(status) end
---@param user cchost.user
---@return boolean
function accounts.has_subscription(user) end
---Why there is no such plan, or nil.
---@param name string
---@return string|nil
function accounts.plan_fault(name) end

return accounts
