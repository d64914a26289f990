---@meta accounts.users
-- luacheck: ignore 212 241
-- What `require "accounts.users"` gives (lua/accounts/users.lua; docs/scripts.md). [yields] marks what waits.

---@class cchost.user
---@field id string
---@field number integer
---@field email string
---@field name string
---@field plan string
---@field role "user"|"admin"
---@field status "active"|"suspended"|"deleted"
---@field ssh_keys table[]
---@field created_at string
---@field updated_at string
---@field last_sign_in_at any
---@field version integer
---@field [string] any

---@class accounts.users
---@field admin_email? string   who signs in with it is an admin
---@field self_fields table     what a user may change of himself
---@field admin_fields table    and what an admin may
local users = {}

---By their number, those deleted left out.
---@param after? string
---@param limit integer
---@return { users: cchost.user[], after: string|nil }|nil, cchost.error|nil err
function users.list(after, limit) end
---@param key string|integer    a uuid, a number, an address; deleted ones too
---@return cchost.user|nil, cchost.error|nil err
function users.find(key) end
---@param key string|integer
---@return string|nil id
function users.resolve(key) end
---@param id string
---@return cchost.user|nil
function users.get(id) end
---As it is kept.
---@param text string
---@return string|nil address, cchost.error|nil err
function users.address(text) end
---In an update.
---@param tx store.tx
---@param spec { email: string, name?: string, role?: string, plan?: string, granted?: table }
---@param by string
---@return cchost.user|nil, cchost.error|nil err   exists
function users.create(tx, spec, by) end
---In an update: that of an address, made when there is none.
---@param tx store.tx
---@param address string
---@return cchost.user|nil, cchost.error|nil err
function users.find_or_create(tx, address) end
---[yields]
---@param actor cchost.actor
---@param key string|integer
---@param values { plan?: string, reason?: string, name?: string, role?: string }
---@return cchost.user|nil, cchost.error|nil err
function users.patch(actor, key, values) end
---Its sessions end, its tokens sleep, its machines go on. [yields]
---@param actor cchost.actor
---@param key string|integer
---@return cchost.user|nil, cchost.error|nil err
function users.suspend(actor, key) end
---[yields]
---@param actor cchost.actor
---@param key string|integer
---@return cchost.user|nil, cchost.error|nil err
function users.resume(actor, key) end
---[yields]
---@param actor cchost.actor
---@param id string
---@param spec { name?: string, key: string }
---@return string|nil json, cchost.error|nil err
function users.add_key(actor, id, spec) end
---[yields]
---@param actor cchost.actor
---@param id string
---@param key_id string
---@return true|nil, cchost.error|nil err
function users.remove_key(actor, id, key_id) end
---How the log calls who asks.
---@param actor cchost.actor
---@return string
function users.by(actor) end
---In an update: writes the account, and the event that says what changed.
---@param tx store.tx
---@param old cchost.user|nil
---@param user cchost.user
---@param type string
---@param by string
---@param note? table
function users.save(tx, old, user, type, by, note) end
---In an update: notes in the account's log what changed elsewhere.
---@param tx store.tx
---@param id string
---@param type string
---@param data table
---@param by string
function users.note(tx, id, type, data, by) end
---In an update: what Stripe has told of an account; change(user) -> false when there is nothing to write.
---@param tx store.tx
---@param id string
---@param type string
---@param by string
---@param change fun(user: cchost.user): boolean|nil
---@param note? table
---@return cchost.user|nil
function users.billing(tx, id, type, by, change, note) end
---What the server puts here for itself: called when somebody has signed in.
---@param user cchost.user
---@return true|nil, cchost.error|nil err
function users.on_sign_in(user) end

return users
