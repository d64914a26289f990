-- Accounts: who there is, and the one place that writes them.
--
-- Record "user", its id a uuid, its owner itself:
--   {id, number, email, name, plan, role = "user" | "admin", status = "active" | "suspended" | "deleted", ssh_keys = {...},
--    created_at, updated_at, last_sign_in_at, version,
--    granted: {by =, at =, reason =} of a plan that the operator gave, absent where it is the default or a subscription's,
--    stripe_customer_id, stripe_subscription_id, subscription_status, subscription_since: as Stripe last told, absent before}
-- Indexes, as long as it is not deleted: user_email address -> id, user_number number -> id (which is never given twice),
-- user_customer Stripe's customer -> id.
--
-- Functions return a value, or nil, err. `actor` is who asks (app.lua); `by` is how the log calls him.

local billing = require "billing.accounts"
local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local mail = require "mail"
local ssh_keys = require "ssh_keys"
local store = require "store"
local time = require "time"
local utf8 = require "utf8"

local M = {}

M.admin_email = nil -- whoever signs in with it is an admin; set by setup.lua

-- Called when somebody has signed in; what is to happen then and is not of accounts (instances.lua). -> true | nil, err
function M.on_sign_in(user) return user ~= nil end

local MAX_KEYS = 32

-- How the log calls who asks.
function M.by(actor) return actor.by or actor.user or "operator" end

local function number_key(n) return ("%016d"):format(n) end

-- ---- reading

-- The id that a uuid, a number or an email address stands for, or nil.
function M.resolve(key)
  key = type(key) == "number" and ("%d"):format(key) or key
  if #key > 254 then return nil end
  if ids.is_uuid(key) then return key:lower() end
  if key:match("^%d+$") then return #key < 16 and store.lookup("user_number", number_key(tonumber(key))) or nil end
  local address = mail.address(key)
  return address and store.lookup("user_email", address)
end

function M.get(id) return store.get("user", id) end

-- -> the user that a uuid, a number or an address stands for, deleted ones too | nil, err
function M.find(key)
  local id = M.resolve(key)
  local user = id and store.get("user", id)
  if user then return user end
  return errors.fail("not_found", "no such user")
end

-- Accounts by their number, those deleted left out: {users = {...}, after = cursor or nil}.
function M.list(after, limit)
  local users, keys = json.array {}, {}
  local page, err = store.scan("user_number", { after = after, limit = limit + 1 })
  if not page then return nil, err end
  for i = 1, math.min(#page, limit) do
    after = page[i].key
    local user = M.get(page[i].value)
    if user then users[#users + 1], keys[#keys + 1] = user, after end
  end
  return { users = users, keys = keys, after = #page > limit and after or nil }
end

-- ---- writing

local function index(tx, old, user)
  local is = user and user.status ~= "deleted" and user
  if old and not (is and is.email == old.email) then tx:unindex("user_email", old.email) end
  if old and not is then tx:unindex("user_number", number_key(old.number)) end
  if old and old.stripe_customer_id and not (is and is.stripe_customer_id == old.stripe_customer_id) then
    tx:unindex("user_customer", old.stripe_customer_id)
  end
  if is then
    if is.stripe_customer_id then tx:index("user_customer", is.stripe_customer_id, is.id) end
    tx:index("user_email", user.email, user.id)
    tx:index("user_number", number_key(user.number), user.id)
  end
end

local function changes(old, user)
  if not old then return user end
  local out = {}
  for k, v in pairs(user) do
    if v ~= old[k] then out[k] = v end
  end
  for k in pairs(old) do
    if user[k] == nil then out[k] = json.null end
  end
  return out
end

-- In an update: writes the account and the event that says what changed.
function M.save(tx, old, user, type, by, note)
  user.version = old and old.version + 1 or 1
  user.updated_at = time.rfc3339(tx:now())
  index(tx, old, user)
  tx:put("user", user.id, user, user.id)
  local data = { changes = changes(old, user) }
  for k, v in pairs(note or {}) do data[k] = v end
  tx:log("user", user.id, type, data, by)
end

-- Notes in the account's log what changed elsewhere: a session, a token, a secret.
function M.note(tx, id, type, data, by) tx:log("user", id, type, data, by) end

local function address_of(text)
  local address, why = mail.address(text)
  if not address then return errors.fail("invalid", "email: " .. why, { field = "email" }) end
  return address
end
M.address = address_of

local function next_number(tx)
  local counter = tx:get("counter", "user") or { last = 0 }
  counter.last = counter.last + 1
  tx:put("counter", "user", counter)
  return counter.last
end

-- In an update: a new account. spec: email (as users.address gives it), name, role, plan, granted. -> user | nil, err
function M.create(tx, spec, by)
  if tx:lookup("user_email", spec.email) then
    return errors.fail("exists", "email: there is an account with this address already", { field = "email" })
  end
  local now = time.rfc3339(tx:now())
  local user = {
    id = crypto.uuid(), number = next_number(tx), email = spec.email, name = spec.name or spec.email:match("^[^@]+"),
    plan = spec.plan or "free", granted = spec.granted, status = "active",
    role = spec.role or (spec.email == M.admin_email and "admin" or "user"),
    ssh_keys = json.array {}, created_at = now, last_sign_in_at = json.null,
  }
  M.save(tx, nil, user, "created", by or user.id)
  return user
end

-- In an update: the account of an address, made when there is none. -> user | nil, err
function M.find_or_create(tx, address)
  local id = tx:lookup("user_email", address)
  if id then return tx:get("user", id) end
  return M.create(tx, { email = address })
end

-- Runs change(user, tx) -> true | nil, err on an account and writes it. -> user | nil, err
local function edit(actor, key, type, change, note)
  local id = M.resolve(key)
  return store.update(function(tx)
    local stands, refusal = credentials.check_in(tx, actor)
    if not stands then return nil, refusal end
    local old = id and tx:get("user", id)
    if not old or old.status == "deleted" then return errors.fail("not_found", "no such user") end
    if actor.expects and actor.expects ~= old.version then
      return errors.fail("precondition", ("the account is at version %d, not %d"):format(old.version, actor.expects))
    end
    local user = {}
    for k, v in pairs(old) do user[k] = v end
    local ok, err = change(user, tx)
    if not ok then return nil, err end
    M.save(tx, old, user, type, M.by(actor), note)
    return user
  end)
end

-- In an update: what Stripe has told of an account. change(user) -> false when there is nothing to write. -> the user, or nil
-- when there is no such account (any more)
function M.billing(tx, id, type, by, change, note)
  local old = tx:get("user", id)
  if not old or old.status == "deleted" then return nil end
  local user = {}
  for k, v in pairs(old) do user[k] = v end
  if change(user) == false then return old end
  M.save(tx, old, user, type, by, note)
  return user
end

M.self_fields = { name = { "string", min = 1, max = 100, pattern = "^[^%c]+$", hint = "a name without control characters" } }
M.admin_fields = {
  name = M.self_fields.name,
  plan = { "string", min = 1, max = 64, pattern = "^[%w_-]+$", hint = "the name of a plan" },
  role = { "string", one_of = { "user", "admin" } },
  email = { "string", max = 254 },
  reason = { "string", min = 1, max = 500, pattern = "^[^%c]+$", hint = "a text without control characters" },
}

local function give_plan(user, plan, reason, by)
  if billing.has_subscription(user) then
    if plan == user.plan then return true end
    return errors.fail("state", "plan: it is that of the account's subscription at Stripe; change it there", { field = "plan" })
  end
  user.plan, user.granted = plan, billing.granted(plan, by, reason)
  return true
end

-- Changes fields of an account, those in `values`; `reason`: why it is given the plan. -> user | nil, err
function M.patch(actor, key, values)
  local address, err
  if values.email then
    address, err = address_of(values.email)
    if not address then return nil, err end
  end
  local fault = values.plan and billing.plan_fault(values.plan)
  if fault then return errors.fail("invalid", "plan: " .. fault, { field = "plan" }) end
  if values.reason and not values.plan then
    return errors.fail("invalid", "reason: it is that of a plan, and none is given", { field = "reason" })
  end
  local changed
  changed, err = edit(actor, key, "changed", function(user, tx)
    if address and address ~= user.email and tx:lookup("user_email", address) then
      return errors.fail("exists", "email: there is an account with this address already", { field = "email" })
    end
    if values.plan then
      local given, why = give_plan(user, values.plan, values.reason, M.by(actor))
      if not given then return nil, why end
      billing.plan_changed(tx, user, M.by(actor))
    end
    for _, name in ipairs { "name", "role" } do user[name] = values[name] or user[name] end
    user.email = address or user.email
    return true
  end, values.reason and { reason = values.reason } or nil)
  if not changed then return nil, err end
  if values.role then
    credentials.revoke(changed.id .. "/", "the account's rights have changed")
  else
    credentials.forget(changed.id .. "/")
  end
  return changed
end

-- A suspended account can do nothing: its sessions end, its API tokens sleep, its machines go on. -> user | nil, err
function M.suspend(actor, key)
  local user, err = edit(actor, key, "suspended", function(user)
    if user.id == actor.user then return errors.fail("state", "you cannot suspend yourself") end
    user.status = "suspended"
    return true
  end)
  if not user then return nil, err end
  credentials.revoke(user.id .. "/", "the account is suspended")
  local ok
  ok, err = credentials.end_sessions(user.id, M.by(actor))
  if not ok then return nil, err end
  return user
end

function M.resume(actor, key)
  return edit(actor, key, "resumed", function(user)
    user.status = "active"
    return true
  end)
end

-- ---- SSH keys

-- -> JSON text of the key {id, name, type, fingerprint, key, created_at} | nil, err
function M.add_key(actor, id, spec)
  local parsed, err = ssh_keys.parse(spec.key)
  if not parsed then return errors.fail("invalid", "key: " .. err.message, { field = "key" }) end
  local key = {
    id = crypto.token(6), name = spec.name or (parsed.comment ~= "" and utf8.cut(parsed.comment, 100) or parsed.type),
    type = parsed.type, fingerprint = parsed.fingerprint, key = parsed.text, created_at = time.rfc3339(time.now()),
  }
  local text = json.encode(key)
  local changed
  changed, err = edit(actor, id, "ssh_key_added", function(user, tx)
    if #user.ssh_keys >= MAX_KEYS then
      return errors.fail("quota", ("an account has at most %d SSH keys"):format(MAX_KEYS))
    end
    local keys = json.array {}
    for _, k in ipairs(user.ssh_keys) do
      if k.fingerprint == key.fingerprint then
        return errors.fail("exists", "key: it is there already, as '" .. k.name .. "'", { field = "key" })
      end
      keys[#keys + 1] = k
    end
    keys[#keys + 1] = key
    user.ssh_keys = keys
    if actor.idempotent then actor.idempotent:answered(tx, 201, text) end
    return true
  end)
  if not changed then return nil, err end
  return text
end

function M.remove_key(actor, id, key_id)
  return edit(actor, id, "ssh_key_removed", function(user)
    local keys = json.array {}
    for _, k in ipairs(user.ssh_keys) do
      if k.id ~= key_id then keys[#keys + 1] = k end
    end
    if #keys == #user.ssh_keys then return errors.fail("not_found", "no such SSH key") end
    user.ssh_keys = keys
    return true
  end)
end

return M
