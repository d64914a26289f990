-- /webhooks: where one's events are sent, and what became of that.

local app = require "app"
local attempt = require "webhooks.attempt"
local deliveries = require "webhooks.deliveries"
local errors = require "errors"
local hooks = require "webhooks.hooks"
local lists = require "lists"
local seek = require "webhooks.seek"

local function read(o)
  o.scope = "webhooks:read"
  return o
end

local function write(o)
  o.scope = "webhooks:write"
  return o
end

local no_store = { ["Cache-Control"] = "no-store" }

local function etag(hook) return { ETag = ('"%d"'):format(hook.version) } end

local function answer(hook, err)
  if not hook then return nil, err end
  return 200, hook, etag(hook)
end

app.get("/webhooks", lists.route(read {
  does = "One's own, oldest first", of = "Webhook", filters = { "enabled", "all" },
  sort = { "url", "created_at", "updated_at" }, order = "created_at",
}), function(req) return lists.answer(req, { items = hooks.list(req.actor.user) }) end)

app.post("/webhooks", write {
  body = hooks.create_fields, secret = true, does = "A new one, told what happens from now on", gives = { [201] = "NewWebhook" },
  example = { url = "https://example.org/events", events = { "instance" }, enabled = false }, fails = { 429 },
}, function(req)
  local text, err = hooks.create(req.actor, req.body)
  if not text then return nil, err end
  return 201, text, no_store
end)

app.get("/webhooks/{id}", read {
  object = "webhook", does = "One, and how far it is", gives = { [200] = "Webhook" },
}, function(req) return answer(hooks.view(hooks.get(req.id))) end)

app.patch("/webhooks/{id}", write {
  object = "webhook", body = hooks.change_fields, versioned = true, does = "Changes it; what waits is tried at once",
  gives = { [200] = "Webhook" }, example = { description = "for the chat" },
}, function(req)
  return answer(hooks.patch(req.actor, req.id, req.body))
end)

app.delete("/webhooks/{id}", write {
  object = "webhook", versioned = true, does = "Removes it and its secrets", gives = { [204] = false },
}, function(req)
  local ok, err = hooks.delete(req.actor, req.id)
  if not ok then return nil, err end
  return 204, ""
end)

local rotation = { hours = { "integer", min = 0, max = 168 } } -- that the old one is good for

app.post("/webhooks/{id}/secret", write {
  object = "webhook", body = rotation, secret = true, does = "A new secret", gives = { [200] = "NewWebhook" },
  more = "The old one signs, too, for so many hours (24; 0: no more).", example = { hours = 24 },
}, function(req)
  local text, err = hooks.rotate(req.actor, req.id, req.body.hours or 24)
  if not text then return nil, err end
  return 200, text, no_store
end)

app.post("/webhooks/{id}/replay", write {
  object = "webhook", body = seek.fields, does = "Goes on behind a sequence, or from a time on, back or forth",
  gives = { [200] = "Webhook" }, example = { after = 0 },
}, function(req)
  return answer(hooks.replay(req.actor, req.id, req.body))
end)

app.post("/webhooks/{id}/test", write {
  object = "webhook", body = {}, effect_outside = true, does = "Sends a test, once and now", gives = { [200] = "Delivery" },
}, function(req)
  local delivery, err = attempt.test(hooks.get(req.id))
  if not delivery then return nil, err end
  return 200, delivery
end)

-- ---- the delivery log

-- The number of a delivery. -> number | nil, err
local function number(field, text)
  local n = #text <= 12 and text:match("^%d+$") and tonumber(text)
  if n then return n end
  return errors.fail("invalid", field .. ": the number of a delivery expected", { field = field })
end

app.get("/webhooks/{id}/deliveries", lists.route(read {
  object = "webhook", does = "The delivery log, newest first", of = "Delivery",
  filters = { "ok", "trigger", "event", "kind", "type", "status" }, sort = { "number", "ms" },
}), function(req)
  return lists.answer(req, { scan = function(after, limit)
    local before, err
    if after then
      before, err = number("after", after)
      if not before then return nil, err end
    end
    return deliveries.list(req.id, before, limit)
  end })
end)

app.post("/webhooks/{id}/deliveries/{number}/redeliver", write {
  object = "webhook", body = {}, effect_outside = true, does = "The same event under the same id once more, now",
  gives = { [200] = "Delivery" }, fails = { 409 },
}, function(req)
  local n, err = number("number", req.second)
  if not n then return nil, err end
  local delivery
  delivery, err = attempt.redeliver(hooks.get(req.id), n)
  if not delivery then return nil, err end
  return 200, delivery
end)
