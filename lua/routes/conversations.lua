-- /conversations: what a user's clients keep of their chats.

local app = require "app"
local conversations = require "conversations"
local errors = require "errors"
local lists = require "lists"
local query = require "query"

local BODY = 4 * conversations.MAX_TEXT -- both texts, as JSON may have to write them

local function of_user(object, more)
  local options = { scope = "instances:connect", user = true, object = object }
  for k, v in pairs(more or {}) do options[k] = v end
  return options
end

app.get("/conversations", of_user(nil, {
  query = { project = { "string", required = true, about = "Path of the project", example = "/claude-data/api" } },
  does = "The one of a project, made when there is none", gives = { [200] = "Conversation" },
}), function(req)
  local conv, err = conversations.open(req.actor, app.query(req.http, "project"))
  if not conv then return nil, err end
  return 200, conv
end)

app.get("/conversations/list", lists.route(of_user(nil, {
  does = "All, last written to first", of = "Conversation", filters = { "project_path" },
  sort = { "project_path", "title", "created_at", "updated_at" },
})), function(req)
  return lists.answer(req, { scan = function(after, limit) return conversations.list(req.actor.user, after, limit) end })
end)

-- The number of a message; `words`: what else may stand there. -> number, or nil when it is absent | false, err
local function number(name, text, words)
  if text == nil then return nil end
  if words[text] then return words[text] end
  if text:match "^%d+$" and #text <= 9 then return tonumber(text) end
  return false, errors.new("invalid", name .. ": the id of a message expected", { field = name })
end

-- ?before=: backwards from there.
local function messages_before(req, before)
  local limit, err = app.page(req.http)
  if not limit then return nil, err end
  local said = query.all(req.http:query())
  for _, name in ipairs { "after", "role", "sort" } do
    if said[name] then return errors.fail("invalid", name .. ": not together with before", { field = name }) end
  end
  local page
  page, err = conversations.messages(req.id, { limit = limit, before = before })
  if not page then return nil, err end
  return lists.page(req, page.views, page.next and { limit = limit, name = "before", value = ("%d"):format(page.next) })
end

app.get("/conversations/{id}/messages", lists.route(of_user("conversation", {
  does = "Its messages, oldest first", of = "Message", filters = { "role" }, sort = { "id" },
  more = "`id` counts from 1, and is what `after` may be. `before=end`: the newest, and the page before these in `Link`.",
  query = { before = { "string", about = "Id of a message, or `end`", example = "end" } },
})), function(req)
  local before, err = number("before", app.query(req.http, "before"), { ["end"] = 999999999 })
  if before == false then return nil, err end
  if before then return messages_before(req, before) end
  return lists.answer(req, { scan = function(text, limit)
    local after, why = number("after", text, {})
    if after == false then return nil, why end
    local page, perr = conversations.messages(req.id, { limit = limit, after = after })
    if not page then return nil, perr end
    local keys = {}
    for i, message in ipairs(page.views) do keys[i] = ("%d"):format(message.id) end
    return { items = page.views, keys = keys, after = page.next and keys[#keys] }
  end })
end)

app.post("/conversations/{id}/messages", of_user("conversation", {
  body = conversations.fields, body_max = BODY, does = "Adds a message", gives = { [201] = "Message" }, fails = { 413 },
  more = "`role`: `user` or `assistant`; `tool_events`: the *text* of a JSON list or object, which is JSON when it is read.",
  example = { role = "user", content = "Why does the build fail?", tool_events = "[]" },
}), function(req)
  local message, err = conversations.add(req.actor, req.id, req.body)
  if not message then return nil, err end
  return 201, message
end)

app.delete("/conversations/{id}", of_user("conversation", {
  does = "Deletes it with its messages", gives = { [200] = "Status" },
}), function(req)
  local ok, err = conversations.remove(req.actor, req.id)
  if not ok then return nil, err end
  return 200, { status = "deleted" }
end)
