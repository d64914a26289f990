-- Webhooks: where a user's events are sent. This is the one place that writes them.
--
-- Record "webhook", its owner the user, or "operator":
--   {id, user (nil: the operator's key made it), url, description, events = {word...} (filter.lua), all = it is told what an
--    admin sees, enabled, disabled_reason, secret = number, previous_until = RFC 3339, created_at, updated_at, version}
-- Its secrets are in the vault: webhook/ID/NUMBER. The last but one signs, too, until previous_until.
-- Record "webhook_state", same id: how far it is, {cursor = sequence, epoch, number, event, attempts, first_at, next_at, error}.
--   `epoch` is another one when somebody has changed where it goes on, so that a delivery under way does not change it back.
-- Record "webhook_list", its id the owner: {ids = oldest first}.
--
-- Functions return a value, or nil, err. What a secret is told in is shown once: create and rotate.

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local event_types = require "event_types"
local json = require "json"
local rights = require "rights"
local seek = require "webhooks.seek"
local filter = require "webhooks.filter"
local steady = require "steady"
local store = require "store"
local time = require "time"
local urls = require "webhooks.url"
local users = require "accounts.users"
local vault = require "vault"

local M = {}

M.settings = { quota = 10, http = false, development = true }

-- The sequence up to which one that has nothing to do has been told all, if that is known: courier.lua knows it. It is not
-- written each time that the log grows.
function M.level() return nil end

local text = { pattern = "^[^%c]*$", hint = "a text without control characters" }

M.change_fields = {
  url = { "string", min = 1, max = 2048 },
  description = { "string", max = 200, pattern = text.pattern, hint = text.hint },
  events = { "list", max = 50, of = { "string", max = 100, pattern = filter.word, hint = filter.hint } },
  all = { "boolean" }, enabled = { "boolean" },
}
M.create_fields = {}
for name, field in pairs(M.change_fields) do M.create_fields[name] = field end
M.create_fields.url = { "string", required = true, min = 1, max = 2048 }

-- ---- reading

local function owner_of(user) return user or "operator" end

function rights.find.webhook(actor, key)
  local text_of, owner = nil, nil
  if #key <= 64 then text_of, owner = store.raw("webhook", key) end
  if text_of and rights.owns(actor, owner) then
    local as = not actor.admin and filter.actor(json.decode(text_of))
    if not (as and as.admin) then return key, text_of end -- else it tells what this token may not read
  end
  return errors.fail("not_found", "no such webhook")
end

-- -> the record or nil
function M.get(id) return (store.get("webhook", id)) end

function M.state(id) return store.get("webhook_state", id) or { cursor = 0, epoch = 0, number = 0 } end

local function gone() return errors.fail("not_found", "no such webhook") end

-- What is told of one.
function M.view(hook, state)
  state = state or M.state(hook.id)
  return {
    id = hook.id, user = hook.user or json.null, url = hook.url, description = hook.description,
    events = json.array(hook.events), all = hook.all, enabled = hook.enabled, disabled_reason = hook.disabled_reason or json.null,
    previous_secret_until = hook.previous_until or json.null, created_at = hook.created_at, updated_at = hook.updated_at,
    version = hook.version, after = math.max(state.cursor, M.level(hook.id, state.epoch) or 0),
    waiting = state.next_at and { event = state.event, attempts = state.attempts, next_at = state.next_at, error = state.error }
      or json.null,
  }
end

-- Of one owner, oldest first.
function M.list(user)
  local list = store.get("webhook_list", owner_of(user))
  local out = json.array {}
  for _, id in ipairs(list and list.ids or {}) do
    local hook = M.get(id)
    if hook then out[#out + 1] = M.view(hook) end
  end
  return out
end

-- ---- writing

-- What happens to it is in the log of its owner's account, so that it goes with that; the operator's have their own.
local function note(tx, hook, type, data, by)
  data.webhook, data.host = hook.id, urls.host(hook.url)
  if hook.user then return users.note(tx, hook.user, "webhook_" .. type, data, by) end
  tx:log("webhook", hook.id, type, data, by)
end

local function save(tx, hook, type, data, by)
  hook.version = (hook.version or 0) + 1
  hook.updated_at = time.rfc3339(tx:now())
  tx:put("webhook", hook.id, hook, owner_of(hook.user))
  note(tx, hook, type, data, by)
end

local function secret_name(id, number) return ("webhook/%s/%d"):format(id, number) end

local function new_secret() return "whsec_" .. crypto.base64(crypto.random(32)) end

local function check(spec, actor)
  local fault = spec.url and urls.fault(spec.url, M.settings)
  if fault then return errors.fail("invalid", "url: " .. fault, { field = "url" }) end
  for i, word in ipairs(spec.events or {}) do
    local unknown = event_types.fault(word)
    if unknown then return errors.fail("invalid", ("events[%d]: %s"):format(i - 1, unknown), { field = "events" }) end
  end
  if spec.all and not actor.admin then return errors.fail("denied", "all: only an admin's may be told what is others'") end
  return true
end

-- A change within one update; fn(tx) -> ... | nil, err. Whoever must know of it reads it in the log.
local function write(actor, fn)
  return store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    return fn(tx)
  end)
end

local function with_secret(hook, state, secret)
  local out = M.view(hook, state)
  out.secret = secret
  return json.encode(out)
end

local function answered(tx, actor, status, body)
  if actor.idempotent then actor.idempotent:answered(tx, status, body) end
end

local function enlist(tx, hook)
  local owner = owner_of(hook.user)
  local list = tx:get("webhook_list", owner) or { ids = json.array {} }
  if hook.user and M.settings.quota > 0 and #list.ids >= M.settings.quota then
    return errors.fail("quota", ("%d webhooks are all that you may have; remove one first"):format(M.settings.quota))
  end
  list.ids[#list.ids + 1] = hook.id
  tx:put("webhook_list", owner, { ids = json.array(list.ids) }, owner)
  return true
end

-- It is told what happens from now on. -> JSON text of its view with `secret` | nil, err
function M.create(actor, spec)
  local ok, err = check(spec, actor)
  if not ok then return nil, err end
  local id, secret, cursor = crypto.token(8), new_secret(), store.stats().log_seq
  return write(actor, function(tx)
    local hook = {
      id = id, user = actor.user, url = spec.url, description = spec.description or "", events = json.array(spec.events or {}),
      all = spec.all or not actor.user, enabled = spec.enabled ~= false, secret = 1, created_at = time.rfc3339(tx:now()),
    }
    local listed, why = enlist(tx, hook)
    if not listed then return nil, why end
    local state = { cursor = cursor, epoch = 0, number = 0 }
    vault.put(tx, secret_name(id, 1), secret, owner_of(hook.user))
    tx:put("webhook_state", id, state, owner_of(hook.user))
    save(tx, hook, "created", { events = hook.events, all = hook.all }, users.by(actor))
    local body = with_secret(hook, state, secret)
    answered(tx, actor, 201, body)
    return body
  end)
end

-- In an update: where it goes on, with nothing that failed before. cursor nil: where it is.
local function go_on(tx, id, cursor)
  local state = tx:get("webhook_state", id)
  state.cursor = cursor or math.max(state.cursor, M.level(id, state.epoch) or 0)
  state.epoch = state.epoch + 1
  state.event, state.attempts, state.first_at, state.next_at, state.error = nil, nil, nil, nil, nil
  tx:put("webhook_state", id, state)
  return state
end

-- The record of an actor's change. -> hook | nil, err
local function current(tx, actor, id)
  local hook = tx:get("webhook", id)
  if not hook then return gone() end
  if actor.expects and actor.expects ~= hook.version then
    return errors.fail("precondition", ("the webhook is at version %d, not %d"):format(hook.version, actor.expects))
  end
  return hook
end

local function changed(hook, spec)
  local data = json.array {}
  for _, name in ipairs { "url", "description", "events", "all", "enabled" } do
    if spec[name] ~= nil then
      hook[name] = spec[name]
      data[#data + 1] = name
    end
  end
  return data
end

-- -> view | nil, err
function M.patch(actor, id, spec)
  local ok, err = check(spec, actor)
  if not ok then return nil, err end
  return write(actor, function(tx)
    local hook, why = current(tx, actor, id)
    if not hook then return nil, why end
    if spec.all == false and not hook.user then
      return errors.fail("invalid", "all: there is nothing else that the operator's could be told", { field = "all" })
    end
    local names = changed(hook, spec)
    if spec.enabled then hook.disabled_reason = nil end
    save(tx, hook, "changed", { fields = names }, users.by(actor))
    return M.view(hook, go_on(tx, id))
  end)
end

-- A new secret; the one before it is good for `hours` more. -> JSON text of the view with `secret` | nil, err
function M.rotate(actor, id, hours)
  local secret = new_secret()
  return write(actor, function(tx)
    local hook, why = current(tx, actor, id)
    if not hook then return nil, why end
    vault.del(tx, secret_name(id, hook.secret - 1))
    if hours == 0 then vault.del(tx, secret_name(id, hook.secret)) end
    hook.secret = hook.secret + 1
    hook.previous_until = hours > 0 and steady.after(hours * 3600) or nil
    vault.put(tx, secret_name(id, hook.secret), secret, owner_of(hook.user))
    save(tx, hook, "secret_rotated", { hours = hours }, users.by(actor))
    local body = with_secret(hook, tx:get("webhook_state", id), secret)
    answered(tx, actor, 200, body)
    return body
  end)
end

-- Goes on behind an entry of the log, back or forth. -> view | nil, err
function M.replay(actor, id, spec)
  local cursor, err = seek.cursor(spec)
  if not cursor then return nil, err end
  return write(actor, function(tx)
    local hook, why = current(tx, actor, id)
    if not hook then return nil, why end
    note(tx, hook, "replayed", { after = cursor }, users.by(actor))
    return M.view(hook, go_on(tx, id, cursor))
  end)
end

local function take_away(tx, hook, by)
  local owner = owner_of(hook.user)
  local list, ids = tx:get("webhook_list", owner), json.array {}
  for _, other in ipairs(list and list.ids or {}) do
    if other ~= hook.id then ids[#ids + 1] = other end
  end
  if #ids > 0 then tx:put("webhook_list", owner, { ids = ids }) else tx:del("webhook_list", owner) end
  vault.del(tx, secret_name(hook.id, hook.secret))
  vault.del(tx, secret_name(hook.id, hook.secret - 1))
  tx:del("webhook_state", hook.id)
  note(tx, hook, "deleted", {}, by)
  tx:del("webhook", hook.id)
end

-- What was delivered goes with the next sweep (deliveries.lua). -> true | nil, err
function M.delete(actor, id)
  return write(actor, function(tx)
    local hook, why = current(tx, actor, id)
    if not hook then return nil, why end
    take_away(tx, hook, users.by(actor))
    return true
  end)
end

-- All of a user's, for the end of his account. -> true | nil, err
function M.forget(user, by)
  local list = store.get("webhook_list", user)
  for _, id in ipairs(list and list.ids or {}) do
    local ok, err = store.update(function(tx)
      local hook = tx:get("webhook", id)
      if hook then take_away(tx, hook, by) end
      return true
    end)
    if not ok then return nil, err end
  end
  return true
end

-- In an update: by itself, because of what the receiver says or does not say.
function M.disable(tx, hook, reason)
  hook.enabled, hook.disabled_reason = false, reason
  save(tx, hook, "disabled", { reason = reason }, "system")
end

-- ---- secrets

-- Those that sign now, the newest first. -> {secret...} | nil, err
function M.secrets(hook)
  local newest, err = vault.get(secret_name(hook.id, hook.secret))
  if not newest then return nil, err end
  local list = { newest }
  if hook.previous_until and steady.left(hook.previous_until) > 0 then
    list[2] = vault.get(secret_name(hook.id, hook.secret - 1))
  end
  return list
end

return M
