-- Records that end by themselves: sessions, magic links, tickets, API tokens, links to ports. Each has `expires_at`, and an entry
-- in the index "expiring" until it goes; whoever reads one compares the time itself, so a late sweep lets nobody in. Those of a
-- user (value.user) that he can list are in the index KIND_user, too: user/id, and in the record "held" KIND/user, {ids = oldest
-- first}: an update sees of an index only what it looks up, and of others' commits under way nothing, so a bound needs a record.
--
--   expiring.put(tx, kind, id, value, owner)     in an update; value.expires_at is RFC 3339
--   expiring.drop(tx, kind, id) -> value or nil  in an update: takes it away before its time; nil: it was not there
--   ids = expiring.held(tx, kind, user)          in an update: those of a user that are live, oldest first
--   expiring.forget(tx, user)                    in an update: the lists of a user who has none any more
--   value = expiring.live(value)                 nil when its time is over
--   expiring.sweep() -> how many went | nil, err [yields]
--   expiring.on_over({{kind =, id =, user =}...})        a hook: those that are listed and are over, before they go

local json = require "json"
local store = require "store"
local time = require "time"

local M = {}

local PAGE = 500
local KEY = "^%d+/([a-z_]+)/(.+)$"
local listed = { session = true, token = true, preview = true }

-- An index of a kind beside: its name and key.
local also = { preview = function(id, value) return "preview_machine", value.machine .. "/" .. id end }

local function key_of(kind, id, value) return ("%015d/%s/%s"):format(time.parse(value.expires_at), kind, id) end

-- Of a store that is older than these lists.
local function indexed(kind, user)
  local list = {}
  for _, row in ipairs(assert(store.scan(kind .. "_user", { prefix = user .. "/" }))) do
    local value = store.get(kind, row.key:sub(#user + 2))
    if value then list[#list + 1] = value end
  end
  table.sort(list, function(a, b) return a.created_at < b.created_at end)
  for i, value in ipairs(list) do list[i] = value.id end
  return list
end

-- What has gone is left out here, so that nothing else needs to keep the list.
function M.held(tx, kind, user)
  local held = tx:get("held", kind .. "/" .. user)
  local ids = {}
  for _, id in ipairs(held and held.ids or indexed(kind, user)) do
    if M.live(tx:get(kind, id)) then ids[#ids + 1] = id end
  end
  return ids
end

function M.forget(tx, user)
  for kind in pairs(listed) do tx:del("held", kind .. "/" .. user) end
end

local function list(tx, kind, id, user)
  local ids = json.array(M.held(tx, kind, user))
  ids[#ids + 1] = id
  tx:put("held", kind .. "/" .. user, { ids = ids }, user)
  tx:index(kind .. "_user", user .. "/" .. id, "")
end

function M.put(tx, kind, id, value, owner)
  if listed[kind] then list(tx, kind, id, value.user) end
  tx:put(kind, id, value, owner)
  tx:index("expiring", key_of(kind, id, value), "")
  if also[kind] then
    local index, key = also[kind](id, value)
    tx:index(index, key, "")
  end
end

local function take(tx, kind, id, key, value)
  tx:unindex("expiring", key)
  if not value then return end
  tx:del(kind, id)
  if listed[kind] then tx:unindex(kind .. "_user", value.user .. "/" .. id) end
  if also[kind] then tx:unindex(also[kind](id, value)) end
end

function M.drop(tx, kind, id)
  local value = tx:get(kind, id)
  if not value then return nil end
  take(tx, kind, id, key_of(kind, id, value), value)
  return value
end

function M.live(value)
  if value and time.parse(value.expires_at) > time.now() then return value end
end

function M.on_over() end

-- Whoever still holds something open by them is told first: that must not wait for a disk that is full.
local function tell(due)
  local over = {}
  for _, key in ipairs(due) do
    local kind, id = key:match(KEY)
    local value = listed[kind] and store.get(kind, id)
    if value then over[#over + 1] = { kind = kind, id = id, user = value.user } end
  end
  if over[1] then M.on_over(over) end
end

function M.sweep()
  local gone, page = 0
  repeat
    local err
    page, err = store.scan("expiring", { limit = PAGE })
    if not page then return nil, err end
    local due = {}
    for _, row in ipairs(page) do
      if tonumber(row.key:sub(1, 15)) > time.now() then break end
      due[#due + 1] = row.key
    end
    if #due == 0 then return gone end
    tell(due)
    local ok
    ok, err = store.update(function(tx)
      for _, key in ipairs(due) do
        local kind, id = key:match(KEY)
        local value = tx:get(kind, id)
        local anew = value and key_of(kind, id, value) ~= key -- it has come again since, with another end
        take(tx, kind, id, key, not anew and value or nil)
      end
      return true
    end)
    if not ok then return nil, err end
    gone = gone + #due
  until #page < PAGE
  return gone
end

return M
