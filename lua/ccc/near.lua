-- ccc's machines in the store of DATA_DIR, on the operator's host, beside a server or without one.
--
-- This and ccc/far.lua offer the same; records are those of GET /instances/{id}:
--   at, err = near.open(settings, options, {may_be_new =})
--   at:types() -> list            at:account(address) -> {id, email}        at:email(owner) -> text
--   at:create(spec) -> record, operation      at:await(operation, seconds)
--   at:get(key) -> record         at:list() -> records
--   at:delete(key), at:extend(key, hours) -> record
-- All answer nil, err for what the world did; err.code "not_found": there is no such machine.

local errors = require "errors"
local fs = require "fs"
local instances = require "instances"
local json = require "json"
local policy = require "policy"
local setup = require "setup"
local store = require "store"
local time = require "time"
local types = require "types"
local users = require "accounts.users"

local M = {}
M.__index = M

local operator = instances.operator

function M.open(settings, _, how)
  if not how.may_be_new and not fs.stat(settings.DATA_DIR .. "/store/data.mdb") then
    return errors.fail("not_found",
      ("there is no store in %s (DATA_DIR), and CCHOST_URL names no server"):format(settings.DATA_DIR))
  end
  local ok, err = setup.open(settings, { serve = false })
  if not ok then return nil, err end
  return setmetatable({}, M)
end

function M.types() return types.priced(policy.data("plans"), time.now()) end

function M:account(address) -- luacheck: ignore 212
  return store.update(function(tx) return users.find_or_create(tx, address) end)
end

function M:email(owner) -- luacheck: ignore 212
  local user = not owner:find("@", 1, true) and owner ~= "operator" and users.get(owner)
  return user and user.email or owner
end

function M:create(spec) return instances.create(operator, spec) end -- luacheck: ignore 212
function M:await(operation, seconds) instances.operation(operator, operation, seconds) end -- luacheck: ignore 212
function M:get(key) return instances.get(operator, key) end -- luacheck: ignore 212
function M:extend(key, hours) return instances.extend(operator, key, hours) end -- luacheck: ignore 212
function M:delete(key) return instances.move(operator, key, "delete") end -- luacheck: ignore 212

function M:list() -- luacheck: ignore 212
  local out, after = {}, nil
  repeat
    local page = instances.list(operator, after, 500)
    for _, text in ipairs(page.texts) do out[#out + 1] = json.decode(text) end
    after = page.after
  until not after
  return out
end

return M
