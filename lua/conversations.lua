-- Conversations: what clients keep of their chats, one for each project of a user's. The host neither reads chats nor writes
-- here by itself (docs/chat.md): what is in them is what was posted.
--
--   conversations.open(actor, project) -> view | nil, err        the one of that project; made when there is none
--   conversations.list(user, after, limit) -> {items =, keys =, after = cursor or nil} | nil, err     last written to first
--   conversations.messages(id, {after =, before =, limit =}) -> {views =, next = number or nil} | nil, err     oldest first
--   conversations.add(actor, id, {role =, content =, tool_events =}) -> view | nil, err
--   conversations.remove(actor or nil, id) -> true | nil, err
--   conversations.export(user) -> JSON text | nil, err           conversations.forget(user) -> true | nil, err    all of a user's
--   conversations.sweep(horizon) -> how many went | nil, err     not written to since; and what a crash left of removals
--
-- Records: "conversation" id, {id, project_path, title, created_at, updated_at, last = number of its newest message, bytes};
-- "conversation_message" ID/NUMBER, as it is told; "conversations" user, {count, bytes}: what a user holds, for the bounds.
-- Indexes: conversation_project user/hash of the path -> id; conversation_owner user/ms of updated_at/id;
-- conversation_ending id: gone, but its messages are not yet.

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local ids = require "ids"
local json = require "json"
local rights = require "rights"
local store = require "store"
local task = require "task"
local time = require "time"
local users = require "accounts.users"
local utf8 = require "utf8"

local M = {}

local MOST, MOST_BYTES = 1000, 32 * 1048576 -- of a user
local OVERHEAD = 256 -- what a message counts beside its text
local PAGE = 500

M.MAX_TEXT = 262144

M.fields = {
  role = { "any" }, -- refused in words of its own
  content = { "string", required = true, max = M.MAX_TEXT },
  tool_events = { "string", max = M.MAX_TEXT },
}

local function not_found() return errors.fail("not_found", "no such conversation") end

function rights.find.conversation(actor, id)
  local text, owner
  if ids.is_uuid(id) then text, owner = store.raw("conversation", id:lower()) end
  if text and owner == actor.user then return id:lower(), text end
  return not_found()
end

local function view(conv)
  return {
    id = conv.id, project_path = conv.project_path, title = conv.title, created_at = conv.created_at,
    updated_at = conv.updated_at,
  }
end

-- ---- keys

local function project_key(user, path) return user .. "/" .. crypto.hex(crypto.sha256(path)) end
local function owner_key(user, conv) return ("%s/%015d/%s"):format(user, time.parse(conv.updated_at), conv.id) end
local function message_key(id, number) return ("%s/%09d"):format(id, number) end

-- In an update: what a user holds, changed by so much.
local function hold(tx, user, count, bytes)
  local held = tx:get("conversations", user) or { count = 0, bytes = 0 }
  held.count, held.bytes = held.count + count, held.bytes + bytes
  tx:put("conversations", user, held, user)
end

local function full(what)
  return errors.fail("quota", what .. " are all that an account may keep: delete a conversation first")
end

-- ---- one for each project

local function make(tx, user, path)
  local held = tx:get("conversations", user)
  if held and held.count >= MOST then return full(("%d conversations"):format(MOST)) end
  local now = time.rfc3339(tx:now())
  local conv = {
    id = crypto.uuid(), project_path = path, title = json.null, created_at = now, updated_at = now, last = 0, bytes = 0,
  }
  hold(tx, user, 1, 0)
  tx:put("conversation", conv.id, conv, user)
  tx:index("conversation_project", project_key(user, path), conv.id)
  tx:index("conversation_owner", owner_key(user, conv), "")
  return conv
end

local function path_fault(path)
  if path == nil or path == "" then return "project is required" end
  if #path > 1024 then return "project: at most 1024 bytes expected" end
  if path:find "%c" or not utf8.valid(path) then return "project: a path without control characters expected" end
end

function M.open(actor, path)
  local fault = path_fault(path)
  if fault then return errors.fail("invalid", fault, { field = "project" }) end
  local id = store.lookup("conversation_project", project_key(actor.user, path))
  local conv = id and store.get("conversation", id)
  if conv then return view(conv) end
  local err
  conv, err = store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    local found = tx:lookup("conversation_project", project_key(actor.user, path))
    if found then return tx:get("conversation", found) end
    return make(tx, actor.user, path)
  end)
  if not conv then return nil, err end
  return view(conv)
end

function M.list(user, after, limit)
  local prefix = user .. "/"
  local page, err = store.scan("conversation_owner",
    { prefix = prefix, after = after and prefix .. after, limit = limit + 1, reverse = true })
  if not page then return nil, err end
  local views, keys = json.array {}, {}
  for i = 1, math.min(#page, limit) do
    after = page[i].key:sub(#prefix + 1)
    local conv = store.get("conversation", after:match "/(.+)$")
    if conv then views[#views + 1], keys[#keys + 1] = view(conv), after end
  end
  return { items = views, keys = keys, after = #page > limit and after or nil }
end

-- ---- messages

-- before: those below that number, `limit` of them at most; else those above `after`.
function M.messages(id, o)
  local back = o.before ~= nil
  local at = o.before or o.after
  local page, err = store.list("conversation_message",
    { prefix = id .. "/", after = at and message_key(id, at), limit = o.limit + 1, reverse = back })
  if not page then return nil, err end
  local views, more = json.array {}, #page > o.limit
  for i = 1, math.min(#page, o.limit) do
    local message = json.decode(page[i].json)
    if back then table.insert(views, 1, message) else views[#views + 1] = message end
  end
  local edge = views[back and 1 or #views]
  return { views = views, next = more and edge.id or nil }
end

-- A title is what was first asked.
local function title_of(text)
  local line = text:match "[^%s][^\r\n]*"
  return line and utf8.cut(line:gsub("%c", " "), 80) or json.null
end

local function read(spec)
  if spec.role ~= "user" and spec.role ~= "assistant" then
    return errors.fail("invalid", "role must be 'user' or 'assistant'", { field = "role" })
  end
  if not spec.tool_events then return {} end
  local events, err = json.decode(spec.tool_events)
  if type(events) ~= "table" or events == json.null then
    local why = err and ": " .. err.message or ""
    return errors.fail("invalid", "tool_events: the text of a JSON list or object expected" .. why, { field = "tool_events" })
  end
  return { events = events }
end

local function write(tx, user, conv, message, bytes)
  tx:unindex("conversation_owner", owner_key(user, conv))
  conv.last, conv.bytes, conv.updated_at = message.id, conv.bytes + bytes, message.created_at
  if conv.title == json.null and message.role == "user" then conv.title = title_of(message.content) end
  hold(tx, user, 0, bytes)
  tx:put("conversation", conv.id, conv, user)
  tx:put("conversation_message", message_key(conv.id, message.id), message, user)
  tx:index("conversation_owner", owner_key(user, conv), "")
end

function M.add(actor, id, spec)
  local tools, fault = read(spec)
  if not tools then return nil, fault end
  local bytes = #spec.content + #(spec.tool_events or "") + OVERHEAD
  return store.update(function(tx)
    local stands, why = credentials.check_in(tx, actor)
    if not stands then return nil, why end
    local conv = tx:get("conversation", id)
    if not conv then return not_found() end
    local held = tx:get("conversations", actor.user)
    if held and held.bytes + bytes > MOST_BYTES then return full(("%d MiB of messages"):format(MOST_BYTES / 1048576)) end
    local message = {
      id = conv.last + 1, role = spec.role, content = spec.content, tool_events = tools.events,
      created_at = time.rfc3339(tx:now()),
    }
    write(tx, actor.user, conv, message, bytes)
    if actor.idempotent then actor.idempotent:answered(tx, 201, json.encode(message)) end
    return message
  end)
end

-- ---- their end

-- Takes the messages of one that is gone. -> true | nil, err
local function purge(id)
  while true do
    local page, err = store.list("conversation_message", { prefix = id .. "/", limit = PAGE })
    if not page then return nil, err end
    local ok
    ok, err = store.update(function(tx)
      for _, row in ipairs(page) do tx:del("conversation_message", row.id) end
      if #page < PAGE then tx:unindex("conversation_ending", id) end
      return true
    end)
    if not ok then return nil, err end
    if #page < PAGE then return true end
  end
end

local function drop(tx, user, conv)
  hold(tx, user, -1, -conv.bytes)
  tx:del("conversation", conv.id)
  tx:unindex("conversation_project", project_key(user, conv.project_path))
  tx:unindex("conversation_owner", owner_key(user, conv))
  tx:index("conversation_ending", conv.id, "")
end

-- horizon: only when it was not written to since. -> true, or false when it stays | nil, err
local function remove(user, id, actor, horizon)
  local gone, err = store.update(function(tx)
    local conv = tx:get("conversation", id)
    if not conv then return not_found() end
    if horizon and time.parse(conv.updated_at) > horizon then return false end
    if actor then
      local stands, why = credentials.check_in(tx, actor)
      if not stands then return nil, why end
      users.note(tx, user, "conversation_deleted", { conversation = id }, users.by(actor))
    end
    drop(tx, user, conv)
    return true
  end)
  if not gone then return gone, err end
  return purge(id)
end

function M.remove(actor, id) return remove(actor.user, id, actor) end

-- Calls fn(id) -> true | nil, err with each of a user's. -> true | nil, err
local function each(user, fn)
  local prefix, after = user .. "/", nil
  repeat
    local page, err = store.scan("conversation_owner", { prefix = prefix, after = after, limit = PAGE })
    if not page then return nil, err end
    for _, row in ipairs(page) do
      local ok, ferr = fn(row.key:match "([^/]+)$")
      if not ok then return nil, ferr end
    end
    after = page[1] and page[#page].key
  until #page < PAGE
  return true
end

function M.forget(user)
  local ok, err = each(user, function(id)
    local gone, err = remove(user, id)
    return gone or err.code == "not_found" or nil, err
  end)
  if not ok then return nil, err end
  return store.update(function(tx)
    tx:del("conversations", user)
    return true
  end)
end

-- The text of one with its messages. -> text | nil, err
local function exported(id)
  local conv, texts, after = store.get("conversation", id), {}, nil
  if not conv then return "" end -- it went meanwhile
  repeat
    local page, err = store.list("conversation_message", { prefix = id .. "/", after = after, limit = PAGE })
    if not page then return nil, err end
    for _, row in ipairs(page) do texts[#texts + 1] = row.json end
    after = page[1] and page[#page].id
    local ok, serr = task.sleep(0) -- others run
    if not ok then return nil, serr end
  until #page < PAGE
  return json.encode(view(conv)):sub(1, -2) .. ',"messages":[' .. table.concat(texts, ",") .. "]}"
end

function M.export(user)
  local all = {}
  local ok, err = each(user, function(id)
    local text, terr = exported(id)
    if not text then return nil, terr end
    if text ~= "" then all[#all + 1] = text end
    return true
  end)
  if not ok then return nil, err end
  return "[" .. table.concat(all, ",") .. "]"
end

local function old_ones(page, horizon)
  local out = {}
  for _, row in ipairs(page) do
    if time.parse(json.decode(row.json).updated_at) <= horizon then out[#out + 1] = row end
  end
  return out
end

function M.sweep(horizon)
  for _, row in ipairs(store.scan("conversation_ending", { limit = PAGE }) or {}) do
    local ok, err = purge(row.key)
    if not ok then return nil, err end
  end
  local n, after = 0, nil
  local page
  repeat
    local err
    page, err = store.list("conversation", { after = after, limit = PAGE })
    if not page then return nil, err end
    after = page[1] and page[#page].id
    for _, row in ipairs(old_ones(page, horizon)) do
      local gone, rerr = remove(row.owner, row.id, nil, horizon)
      if gone == nil and rerr.code ~= "not_found" then return nil, rerr end
      n = n + (gone and 1 or 0)
    end
    local ok, serr = task.sleep(0)
    if not ok then return nil, serr end
  until #page < PAGE
  return n
end

return M
