-- Which account is which customer of Stripe's. An account has at most one: made when it first pays, under a key that is the
-- same for ever (stripe.lua), and kept in its record.
--
--   customers.ensure(user_id) -> customer id | nil, err     [yields]
--   customers.find(customer, named) -> user id, or nil | nil, err     [yields] named: the user that the object's metadata name.
--       Whose record names no customer (it was brought back from a backup) becomes this one's
--   customers.forget(user_id, customer, why) -> true | nil, err     [yields] he is deleted at Stripe
--   customers.alone(user_id, fn) -> what fn returns         [yields] one at a time for each account

local errors = require "errors"
local ids = require "ids"
local store = require "store"
local stripe = require "stripe"
local task = require "task"
local users = require "accounts.users"

local M = {}

local WAIT_SECONDS = 60

local inside = {} -- [user id] = signal

function M.alone(user_id, fn)
  while inside[user_id] do
    local _, err = inside[user_id]:wait(WAIT_SECONDS)
    if err and err.code == "cancelled" then return nil, err end
    if err then return errors.fail("conflict", "another request of yours is still under way", { retry_after = 5 }) end
  end
  local signal = task.signal()
  inside[user_id] = signal
  local ok, value, err = xpcall(fn, debug.traceback)
  inside[user_id] = nil
  signal:fire()
  if not ok then error(value, 0) end
  return value, err
end

-- Keeps the id unless there is one. -> the one that is kept | nil, err
local function keep(user_id, customer)
  return store.update(function(tx)
    local user = users.billing(tx, user_id, "customer", "stripe", function(u)
      if u.stripe_customer_id then return false end
      u.stripe_customer_id = customer
    end)
    if not user then return errors.fail("not_found", "no such user") end
    return user.stripe_customer_id
  end)
end

function M.ensure(user_id)
  local user = users.get(user_id)
  if not user or user.status ~= "active" then return errors.fail("not_found", "no such user") end
  if user.stripe_customer_id then return user.stripe_customer_id end
  local customer, err = stripe.create_customer { user_id = user.id, email = user.email, name = user.name }
  if not customer then return nil, err end
  return keep(user_id, customer.id)
end

function M.find(customer, named)
  if not customer then return nil end
  local id = store.lookup("user_customer", customer)
  if id then return id end
  local user = type(named) == "string" and ids.is_uuid(named) and users.get(named:lower())
  if not user or user.status == "deleted" or user.stripe_customer_id then return nil end
  local now_is, err = stripe.customer(customer)
  if not now_is and err.code ~= "not_found" then return nil, err end
  if not now_is or now_is.deleted then return nil end
  local kept
  kept, err = keep(user.id, customer)
  if not kept then return nil, err end
  return kept == customer and user.id or nil
end

function M.forget(user_id, customer, why)
  return store.update(function(tx)
    users.billing(tx, user_id, "customer_gone", "stripe", function(u)
      if u.stripe_customer_id ~= customer then return false end
      u.stripe_customer_id = nil
    end, { customer = customer, reason = why })
    tx:del("stripe_checkout", user_id) -- his page is his no more
    return true
  end)
end

return M
