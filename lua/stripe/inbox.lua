-- Events of Stripe: kept under their id before they are answered, then worked on (stripe/handlers.lua), once, however often and
-- in whatever order they come.
--
--   inbox.setup{secrets = {text, ...}, version =}
--   inbox.take_text(text) -> true | nil, err     [yields] a webhook whose signature was right: kept, or there already
--   inbox.take(event) -> true, or false when it was there | nil, err     [yields]
--   inbox.catch_up() -> how many were new | nil, err     [yields] what Stripe has told and we have not heard (GET /v1/events)
--   inbox.queue, inbox.secrets
--
-- The record "stripe_event" (id: the event's): queue.lua's and {type, created, api_version, event = the whole, until it is done}.
-- meta/stripe {heard = unix s}: all events up to then were asked for. The next time begins an hour before it, or where Stripe's
-- memory does (30 days); there, too, when it is a time to come: of a clock that was ahead nobody knows what it has heard.

local errors = require "errors"
local handlers = require "stripe.handlers"
local json = require "json"
local log = require "log"
local meta_record = require "billing.meta_record"
local objects = require "stripe.objects"
local queue = require "stripe.queue"
local store = require "store"
local stripe = require "stripe"
local time = require "time"

local M = { secrets = {} }

local OVERLAP, MEMORY = 3600, 30 * 86400 - 600 -- seconds
local MOST_PAGES = 1000

local version
local strange = {} -- versions that were complained of

function M.setup(o) M.secrets, version = o.secrets, o.version end

-- Objects of one customer are worked on one after the other.
local function lane_of(event)
  local o = event.data.object
  return objects.customer(o) or objects.id(o.charge) or objects.id(o)
end

local function look_at_version(event)
  local said = objects.text(event.api_version)
  if not said or said == version or strange[said] then return end
  strange[said] = true
  log.warn("stripe", "events are of another version of Stripe's API than STRIPE_API_VERSION; they are understood all the same",
    { event = event.id, version = said, expected = version })
end

function M.take(event)
  look_at_version(event)
  local wanted = handlers.knows(event.type)
  local rec = { type = event.type, created = event.created, api_version = objects.text(event.api_version) }
  local new, err = store.update(function(tx)
    if not wanted then return M.queue:close(tx, event.id, rec, "not of interest") end
    rec.event, rec.lane = event, lane_of(event)
    return M.queue:put(tx, event.id, rec)
  end)
  if new and wanted then M.queue:kick() end
  return new, err
end

function M.take_text(text)
  local event, why = json.decode(text)
  local fault = event == nil and (why and why.message or "no JSON") or objects.event_fault(event)
  if fault then return errors.fail("invalid", "body: " .. fault) end
  local new, err = M.take(event)
  if new == nil then return nil, err end
  return true
end

-- ---- what was missed

local SLACK = 60 -- seconds that a clock is set back by and that is no matter

local function seconds() return math.floor(time.now() / 1000) end

local function heard(at)
  return meta_record.change(function(meta)
    local kept = meta.heard or 0
    meta.heard = kept > seconds() + SLACK and at or math.max(kept, at)
  end)
end

local function since(now)
  local meta = store.get("meta", "stripe")
  local kept = meta and meta.heard or 0
  if kept > now + SLACK then kept = 0 end
  return math.max(now - MEMORY, math.min(kept, now) - OVERLAP)
end

-- Takes a page of them. -> how many were new, the time of the last | nil, err
local function take_all(list)
  local n, last = 0, nil
  for _, event in ipairs(list) do
    if not objects.event_fault(event) then
      local new, err = M.take(event)
      if new == nil then return nil, err end
      if new then n = n + 1 end
      last = event.created
    end
  end
  return n, last
end

function M.catch_up()
  local now = seconds()
  local from, total = since(now), 0
  for _ = 1, MOST_PAGES do
    local list, more = stripe.events { since = from, types = handlers.types }
    if not list then return nil, more end
    local n, last = take_all(list)
    if not n then return nil, last end
    total = total + n
    if not more or not last then break end
    -- of one second there may be more than a page; then the next second at least
    from = last > from and last or from + 1
  end
  local ok, err = heard(now)
  if not ok then return nil, err end
  if total > 0 then log.info("stripe", "events that were missed are here now", { events = total }) end
  return total
end

-- ---- the work

-- What is done is kept without its body: whose it was is in the books.
local function slim(also)
  return function(tx, rec)
    rec.event = nil
    if also then also(tx) end
  end
end

M.queue = queue.new("stripe_event", {
  what = "an event of Stripe",
  run = function(_, rec)
    local note, a = handlers.run(rec.event)
    if not note then return nil, a end
    return true, note, slim(a)
  end,
})

return M
