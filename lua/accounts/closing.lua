-- The end of an account: what is his is told first (the export), then nothing of his works any more, his machines are
-- deleted, his personal data go, and what stays is that there was one.

local credentials = require "accounts.credentials"
local errors = require "errors"
local events = require "events"
local expiring = require "accounts.expiring"
local history = require "history"
local instances = require "instances"
local json = require "json"
local log = require "log"
local record = require "machines.record"
local sessions = require "accounts.sessions"
local settings = require "accounts.settings"
local store = require "store"
local time = require "time"
local tokens = require "accounts.tokens"
local users = require "accounts.users"

local M = {}

local function machines_of(user)
  local list, after = json.array {}, nil
  repeat
    local page = instances.list({ user = user }, after, 1000)
    for _, text in ipairs(page.texts) do list[#list + 1] = json.decode(text) end
    after = page.after
  until not after
  return list
end

-- Oldest first.
local function events_of(user)
  local newest_first, list = {}, json.array {}
  for e in history.backwards("user", user) do newest_first[#newest_first + 1] = e end
  for i = #newest_first, 1, -1 do list[#list + 1] = json.decode(events.text(newest_first[i])) end
  return list
end

-- All that is a user's, secrets left out. -> {user, machines, sessions, tokens, events, exported_at} | nil, err
function M.export(user)
  local out = { exported_at = time.rfc3339(time.now()), user = user, machines = machines_of(user.id) }
  local err
  for name, fn in pairs { sessions = sessions.list, tokens = tokens.list, events = events_of } do
    out[name], err = fn(user.id)
    if not out[name] then return nil, err end
  end
  return out
end

local function forget_personal_data(id)
  local seqs = {}
  for e in history.backwards("user", id) do
    if e.type ~= "deleted" and not e.trimmed then seqs[#seqs + 1] = e.seq end
  end
  if #seqs > 0 then return store.trim(seqs) end
  return true
end

-- The commit that ends it. What is left to do then is in the index "user_closing" until it is done, whoever does it.
local function mark_deleted(actor, id, with_machines)
  return store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    local old = tx:get("user", id)
    if not old or old.status == "deleted" then return errors.fail("not_found", "no such user") end
    local n = record.counted(tx, id)
    if n > 0 and not with_machines then
      return errors.fail("state", ("the account has %d machines: delete them first, or say ?machines=delete"):format(n))
    end
    settings.forget(tx, id)
    local user = {
      id = id, number = old.number, email = json.null, name = json.null, plan = old.plan, role = "user", status = "deleted",
      ssh_keys = json.array {}, created_at = old.created_at, last_sign_in_at = json.null, deleted_at = time.rfc3339(tx:now()),
    }
    users.save(tx, old, user, "deleted", users.by(actor))
    tx:index("user_closing", id, users.by(actor))
    return user
  end)
end

-- Asks for the deletion of what he has. -> {operation id...} | nil, err
local function delete_machines(id)
  local operations = json.array {}
  for _, m in ipairs(machines_of(id)) do
    local rec, done, op = instances.move(instances.operator, m.id, "delete", 0)
    if not rec then return nil, done end
    if op then operations[#operations + 1] = op end
  end
  return operations
end

-- Everything that follows the end of an account; may be done again. -> {operation id...} | nil, err
local function finish(id, by)
  credentials.revoke(id .. "/", "the account was deleted")
  local operations
  for _, step in ipairs {
    function() return credentials.end_sessions(id, by) end,
    function() return tokens.revoke_all(id, by) end,
    function()
      local err
      operations, err = delete_machines(id)
      return operations, err
    end,
    function() return forget_personal_data(id) end,
    function()
      return store.update(function(tx)
        expiring.forget(tx, id)
        tx:unindex("user_closing", id)
        return true
      end)
    end,
  } do
    local ok, err = step()
    if not ok then return nil, err end
  end
  return operations
end

-- Goes on with what a crash, or a failure, has left of deletions. serve calls it at its start and every minute.
function M.resume()
  for _, row in ipairs(store.scan("user_closing", { limit = 100 }) or {}) do
    local ok, err = finish(row.key, row.value)
    if not ok then log.warn("closing", "the end of an account goes on later", { user = row.key, error = tostring(err) }) end
  end
end

-- Deletes an account. with_machines: his machines, too; without it one who has any is not deleted. Once it is marked, the rest
-- goes on by itself whatever happens; the export is in this answer alone, so whoever needs it asks for it first.
-- -> {export =, operations = {id...}} | nil, err
function M.delete(actor, key, with_machines)
  local user, err = users.find(key)
  if not user then return nil, err end
  if user.status == "deleted" then return errors.fail("not_found", "no such user") end
  if user.id == actor.user then return errors.fail("state", "you cannot delete yourself") end
  local export
  export, err = M.export(user)
  if not export then return nil, err end
  local ok
  ok, err = mark_deleted(actor, user.id, with_machines) -- from here on he makes no new machines
  if not ok then return nil, err end
  local operations
  operations, err = finish(user.id, users.by(actor))
  if not operations then return nil, err end
  return { export = export, operations = operations }
end

return M
