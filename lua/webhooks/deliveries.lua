-- The delivery log: one record for each try. Record "webhook_delivery", its id WEBHOOK/NUMBER (so they lie in their order):
--   {number, webhook, message, trigger = "event" | "test" | "redelivery", event = sequence, kind, type (of the entry), attempt,
--    at, ok, status, ms, error, body}
-- A webhook keeps the last thousand, and none longer than it is told to.
--
--   deliveries.put(tx, state, delivery)      in an update, which then writes the state {number =}
--   deliveries.of(about, outcome) -> delivery
--   deliveries.list(webhook, before, limit) -> {texts =, keys =, after = one of them or nil} | nil, err     newest first
--   deliveries.get(webhook, number) -> delivery | nil, err
--   deliveries.sweep(horizon in unix ms) -> how many went | nil, err [yields]

local errors = require "errors"
local json = require "json"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local MOST, PAGE = 1000, 200

local function key(webhook, number) return ("%s/%012d"):format(webhook, number) end

function M.of(about, outcome)
  local d = { ok = outcome.ok, status = outcome.status or json.null, ms = outcome.ms, error = outcome.error or json.null,
    body = outcome.body or json.null }
  for k, v in pairs(about) do d[k] = v end
  return d
end

function M.put(tx, state, d)
  state.number = state.number + 1
  d.number, d.at = state.number, time.rfc3339(tx:now())
  tx:put("webhook_delivery", key(d.webhook, d.number), d)
  if d.number > MOST then tx:del("webhook_delivery", key(d.webhook, d.number - MOST)) end
  return d
end

function M.list(webhook, before, limit)
  local prefix = webhook .. "/"
  local page, err = store.list("webhook_delivery", {
    prefix = prefix, after = before and key(webhook, before), reverse = true, limit = limit + 1,
  })
  if not page then return nil, err end
  local texts, keys = {}, {}
  for i = 1, math.min(#page, limit) do texts[i], keys[i] = page[i].json, page[i].id:sub(#prefix + 1) end
  return { texts = texts, keys = keys, after = #page > limit and keys[limit] or nil }
end

function M.get(webhook, number)
  local d = store.get("webhook_delivery", key(webhook, number))
  if d then return d end
  return errors.fail("not_found", "no such delivery, or it is kept no more")
end

local function remove(ids)
  return store.update(function(tx)
    for _, id in ipairs(ids) do tx:del("webhook_delivery", id) end
    return true
  end)
end

-- Of a page: what is too old, or whose webhook is gone. Of each webhook the oldest come first: behind one that is kept are
-- none to remove. -> {id...}, the key to go on behind, or nil at the end
local function old_of(page, horizon)
  local ids = {}
  for _, row in ipairs(page) do
    local d = json.decode(row.json)
    if store.get("webhook", d.webhook) and time.parse(d.at) > horizon then
      return ids, d.webhook .. "/~"
    end
    ids[#ids + 1] = row.id
  end
  return ids, page[PAGE] and page[PAGE].id
end

function M.sweep(horizon)
  local n, after = 0, nil
  repeat
    local page, err = store.list("webhook_delivery", { after = after, limit = PAGE })
    if not page then return nil, err end
    local ids
    ids, after = old_of(page, horizon)
    local ok
    if #ids > 0 then ok, err = remove(ids) else ok, err = task.sleep(0) end
    if not ok then return nil, err end
    n = n + #ids
  until not after
  return n
end

return M
