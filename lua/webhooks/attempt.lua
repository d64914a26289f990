-- One try of a delivery, and what the store is told of it, in one commit: the delivery log, how far the webhook is, and its end
-- when it has failed for too long, or wants no more.
--
--   attempt.event(hook, state, actor, entry) -> true: delivered, and the state goes on behind it
--                                            | false: it is tried again at state.next_at, or somebody has changed the webhook
--                                            | nil, err: the store cannot be written
--   attempt.test(hook) -> delivery | nil, err                         one try, now, of what says that it is a test
--   attempt.redeliver(hook, number) -> delivery | nil, err            one try, now, of what was delivered as `number`
-- All of them [yield]. Those of all webhooks together are at most attempt.most at once, of one account attempt.share: whoever has
-- receivers that hang takes nobody else's place.
--   attempt.now() -> how many are under way, how many wait for a place

local counted = require "webhooks.counted"
local crypto = require "crypto"
local deliveries = require "webhooks.deliveries"
local errors = require "errors"
local events = require "events"
local filter = require "webhooks.filter"
local hooks = require "webhooks.hooks"
local json = require "json"
local log = require "log"
local outbox = require "outbox"
local send = require "webhooks.send"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"
local urls = require "webhooks.url"

local M = { most = 256, share = 16, last = {} } -- last[delivered or failed]: when

M.settings = { first = 5, last = 14400, span = 259200 } -- seconds: two pauses, and how long it is tried

-- ---- a place among those under way

local under_way, waiting, of_account, free = 0, 0, {}, task.signal() -- of_account[user] = how many of them

local function is_room(user) return under_way < M.most and (of_account[user or ""] or 0) < M.share end

local function occupy(user, n)
  under_way = under_way + n
  if not user then return end -- the operator's: he has as many as there are
  local sum = (of_account[user] or 0) + n
  of_account[user] = sum > 0 and sum or nil
end

function M.now() return under_way, waiting end

-- -> true | nil, err: cancelled, or conflict: it waited, and somebody has changed the webhook
local function place(hook)
  local waited = false
  while not is_room(hook.user) do
    waiting, waited = waiting + 1, true
    local ok, err = free:wait(60)
    waiting = waiting - 1
    if not ok and err.code ~= "timeout" then return nil, err end
  end
  local now = waited and hooks.get(hook.id)
  if not waited or now and now.version == hook.version then return true end
  return errors.fail("conflict", "the webhook was changed meanwhile")
end

-- -> outcome | nil, err, of place's
local function post(trigger, hook, id, body)
  local has, why = place(hook)
  if not has then return nil, why end
  occupy(hook.user, 1)
  local ok, outcome = pcall(send.post, hook, id, body)
  occupy(hook.user, -1)
  free:fire()
  if not ok then error(outcome, 0) end
  if outcome.code == "cancelled" then return nil, errors.new("cancelled", outcome.error) end
  counted.tried(trigger, outcome)
  M.last[outcome.ok and "delivered" or "failed"] = time.rfc3339(time.now())
  return outcome
end

-- ---- pauses

-- Doubling, with up to a quarter more, and not before the receiver wants it.
local function pause(attempts, outcome)
  local plain = math.min(M.settings.last, M.settings.first * 2 ^ math.min(attempts - 1, 30))
  return math.max(plain * (1 + crypto.random(1):byte() / 1024), outcome.retry_after or 0)
end

-- ---- what the store is told

local function mail(tx, hook, reason)
  local user = hook.user and tx:get("user", hook.user)
  if not user or user.status ~= "active" then return end
  outbox.put(tx, { to = user.email, subject = "A webhook of yours was disabled", hours = 24, text = (
    "The webhook %s to %s is disabled: %s.\n\nNothing is lost: when you enable it, it goes on where it stopped.\n"):format(
    hook.id, urls.host(hook.url), reason) })
end

local function disable(tx, hook, reason)
  hooks.disable(tx, hook, reason)
  mail(tx, hook, reason)
end

-- -> whether that was its end
local function failed(tx, hook, state, e, outcome)
  local first = state.first_at or time.rfc3339(math.floor(steady.now()))
  local attempts = (state.attempts or 0) + 1
  local wait = pause(attempts, outcome)
  state.event, state.attempts, state.first_at, state.error = e.seq, attempts, first, outcome.error
  state.next_at = steady.after(wait)
  if outcome.gone then
    disable(tx, hook, "the receiver answered 410: gone")
  elseif wait - steady.left(first) > M.settings.span then
    disable(tx, hook, ("event %d could not be delivered in %d tries: %s"):format(e.seq, attempts, outcome.error))
  else
    return false
  end
  state.event, state.attempts, state.first_at, state.next_at, state.error = nil, nil, nil, nil, nil
  return true
end

local function succeeded(state, e)
  state.cursor = e.seq
  state.event, state.attempts, state.first_at, state.next_at, state.error = nil, nil, nil, nil, nil
end

-- Of a webhook that is gone nothing is written. Of one that somebody has changed meanwhile only the delivery.
local function note(about, outcome, change)
  return store.update(function(tx)
    local hook, state = tx:get("webhook", about.webhook), tx:get("webhook_state", about.webhook)
    if not hook then return deliveries.of(about, outcome) end
    local d = deliveries.put(tx, state, deliveries.of(about, outcome))
    if change then change(tx, hook, state) end
    tx:put("webhook_state", hook.id, state)
    return d
  end)
end

-- ---- three reasons to send

local function about_entry(hook, e, trigger, n)
  return {
    webhook = hook.id, message = send.id(hook, e), trigger = trigger, event = e.seq, kind = e.kind, type = e.type, attempt = n,
  }
end

function M.event(hook, state, actor, e)
  local tries = state.attempts or 0
  local outcome, err = post(tries == 0 and "event" or "retry", hook, send.id(hook, e), events.text(e, actor))
  if not outcome and err.code == "conflict" then return false end
  if not outcome then return nil, err end
  local done, over = false, false
  local ok
  ok, err = note(about_entry(hook, e, "event", tries + 1), outcome, function(tx, now, held)
    done, over = false, false
    if held.epoch ~= state.epoch then return end
    if not outcome.ok then
      over = failed(tx, now, held, e, outcome)
      return
    end
    succeeded(held, e)
    done = true
  end)
  if not ok then return nil, err end
  if over then counted.disabled() end
  if not outcome.ok then
    log.info("webhooks", "a delivery failed", { webhook = hook.id, event = e.seq, error = outcome.error })
  end
  return done
end

function M.test(hook)
  local id = "test_" .. crypto.token(16)
  local at = time.rfc3339(time.now())
  local body = json.encode { type = "test", kind = "webhook", id = hook.id, at = at, data = { test = true } }
  local outcome, err = post("test", hook, id, body)
  if not outcome then return nil, err end
  return note({
    webhook = hook.id, message = id, trigger = "test", event = json.null, kind = "webhook", type = "test", attempt = 1,
  }, outcome)
end

function M.redeliver(hook, number)
  local old, err = deliveries.get(hook.id, number)
  if not old then return nil, err end
  if old.event == json.null then return errors.fail("state", "a test is not sent again; make another one") end
  local e, actor = assert(store.log { after = old.event - 1, limit = 1 })[1], filter.actor(hook)
  if not actor or not events.may_see(actor, e) then
    return errors.fail("not_found", "its owner sees this event no more")
  end
  local outcome
  outcome, err = post("redelivery", hook, send.id(hook, e), events.text(e, actor))
  if not outcome then return nil, err end
  return note(about_entry(hook, e, "redelivery", 1), outcome)
end

return M
