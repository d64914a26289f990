-- The end of an account: what is his is told first (the export), then nothing of his works any more, his machines are
-- deleted, his personal data go, and what stays is that there was one, and its books: the ledger names machines and amounts,
-- and nobody.

local cancels = require "stripe.cancels"
local conversations = require "conversations"
local credentials = require "accounts.credentials"
local errors = require "errors"
local events = require "events"
local expiring = require "accounts.expiring"
local history = require "history"
local instances = require "instances"
local json = require "json"
local log = require "log"
local networks = require "networks.ending"
local record = require "machines.record"
local runner = require "runner"
local sessions = require "accounts.sessions"
local settings = require "accounts.settings"
local store = require "store"
local task = require "task"
local time = require "time"
local tokens = require "accounts.tokens"
local users = require "accounts.users"
local volume_record = require "volumes.record"
local volumes = require "volumes"
local webhooks = require "webhooks.hooks"

local M = {}

local PATIENCE_MS = 5000 -- for machines to go, where networks wait for that
local PAGE = 200 -- entries of a log between two turns of others

-- Calls fn with the stored JSON text of each of his machines; of: instances, or volumes.
local function each_of(of, user, fn)
  local after
  repeat
    local page = of.list({ user = user }, after, 1000)
    for _, text in ipairs(page.texts) do fn(text) end
    after = page.after
  until not after
end

-- Calls fn for each entry of the account's log, or of its ledger, newest first. A log is as long as its account's owner has
-- made it, so others run between two pages. -> true | nil, err
local function each_event(user, fn, kind)
  local n = 0
  for e in history.backwards(kind or "user", user) do
    fn(e)
    n = n + 1
    if n % PAGE == 0 then
      local ok, err = task.sleep(0)
      if not ok then return nil, err end
    end
  end
  return true
end

local function json_list(texts) return "[" .. table.concat(texts, ",") .. "]" end

local function texts_of(of, user)
  local texts = {}
  each_of(of, user, function(text) texts[#texts + 1] = text end)
  return json_list(texts)
end

-- Oldest first. -> JSON text | nil, err
local function events_text(user, kind)
  local texts = {}
  local ok, err = each_event(user, function(e) texts[#texts + 1] = events.text(e) end, kind)
  if not ok then return nil, err end
  local n = #texts
  for i = 1, math.floor(n / 2) do texts[i], texts[n + 1 - i] = texts[n + 1 - i], texts[i] end
  return json_list(texts)
end

local function encoded(list, err) return list and json.encode(list), err end

-- All that is a user's, secrets left out: the JSON text of {user, machines, volumes, sessions, tokens, conversations, webhooks,
-- ledger (its entries), events, exported_at}.
-- What the store has as text stays text: to decode and encode a long log would hold up everybody.
-- -> text | nil, err
function M.export(user)
  local parts = { '"exported_at":' .. json.encode(time.rfc3339(time.now())), '"user":' .. json.encode(user) }
  for _, part in ipairs {
    { "machines", texts_of(instances, user.id) }, { "volumes", texts_of(volumes, user.id) },
    { "sessions", encoded(sessions.list(user.id)) }, { "tokens", encoded(tokens.list(user.id)) },
    { "conversations", conversations.export(user.id) }, { "webhooks", json.encode(webhooks.list(user.id)) },
    { "ledger", events_text(user.id, "ledger") }, { "events", events_text(user.id) },
  } do
    local name, text, err = part[1], part[2], part[3]
    if not text then return nil, err end
    parts[#parts + 1] = ('"%s":'):format(name) .. text
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function forget_personal_data(id)
  local seqs = {}
  local ok, err = each_event(id, function(e)
    if e.type ~= "deleted" and not e.trimmed then seqs[#seqs + 1] = e.seq end
  end)
  if not ok then return nil, err end
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
    local n, kept = record.counted(tx, id, true), volume_record.counted(tx, id)
    if n + kept > 0 and not with_machines then
      return errors.fail("state", ("the account has %d machines%s: delete them first, or say ?machines=delete"):format(n,
        kept > 0 and (" and %d volumes"):format(kept) or ""))
    end
    settings.forget(tx, id)
    cancels.ask(tx, old)
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
  local machines = {}
  each_of(instances, id, function(text) machines[#machines + 1] = json.decode(text).id end)
  for _, machine in ipairs(machines) do
    local rec, done, op = instances.move(instances.operator, machine, "delete", 0)
    if not rec then return nil, done end
    if op then operations[#operations + 1] = op end
  end
  return operations
end

-- ... and of his volumes that no machine has any more. -> whether there are others still
local function delete_volumes(id)
  local all, waits = {}, false
  each_of(volumes, id, function(text) all[#all + 1] = json.decode(text) end)
  for _, vol in ipairs(all) do
    local rec = volumes.delete(instances.operator, vol.id, 0)
    waits = waits or not rec or rec.status ~= "DELETED"
  end
  return waits
end

-- ... and then of his networks, where machines may have a place until they are gone. -> true | false: later | nil, err
local function delete_networks(id, operations)
  local gone, err = networks.remove(id)
  if gone ~= false then return gone, err end
  local ends = time.mono() + PATIENCE_MS
  for _, op in ipairs(operations) do runner.wait(op, math.max(0, ends - time.mono()) / 1000) end
  return networks.remove(id)
end

-- Everything that follows the end of an account; may be done again. -> {operation id...} | nil, err
local function finish(id, by)
  credentials.revoke(id .. "/", "the account was deleted")
  local operations, waits, gone
  for _, step in ipairs {
    function() return credentials.end_sessions(id, by) end,
    function() return tokens.revoke_all(id, by) end,
    function() return webhooks.forget(id, by) end,
    function()
      local err
      operations, err = delete_machines(id)
      return operations, err
    end,
    function()
      waits = delete_volumes(id)
      return true
    end,
    function()
      local err
      gone, err = delete_networks(id, operations)
      return gone ~= nil or nil, err
    end,
    function() return conversations.forget(id) end,
    function() return forget_personal_data(id) end,
    function()
      return store.update(function(tx)
        expiring.forget(tx, id)
        if gone and not waits then tx:unindex("user_closing", id) end -- else it is gone on with
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

-- Deletes an account. with_machines: his machines and volumes, too; without it one who has any is not deleted. Once it is
-- marked, the rest goes on by itself whatever happens; the export is in this answer alone, so whoever needs it asks for it first.
-- -> {export = text, operations = {id...}} | nil, err
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
