-- /events and /instances/{id}/events: the log, as JSON pages or as a server-sent stream.

local app = require "app"
local errors = require "errors"
local event_types = require "event_types"
local events = require "events"
local lists = require "lists"
local names = require "openapi.names"

local function bad(field, what) return errors.fail("invalid", field .. ": " .. what .. " expected", { field = field }) end

-- -> number or nil when it is not given | nil, err
local function sequence(field, text)
  if not text or text == "" then return nil end
  local n = #text <= 16 and text:match("^%d+$") and tonumber(text)
  if not n or n > 2 ^ 53 then return bad(field, "the sequence of an event") end
  return n
end

-- A word of the log, as a filter. -> word or nil | nil, err
local function word(http, field)
  local text = app.query(http, field)
  if not text then return nil end
  if #text > 64 or not text:match("^[a-z_]+$") then return bad(field, "a word of a-z and _") end
  return text
end

local function order(http)
  local text = app.query(http, "order") or "oldest"
  if text ~= "oldest" and text ~= "newest" then return bad("order", "oldest or newest") end
  return text
end

-- -> query | nil, err
local function read_query(http, machine)
  local query, err = { machine = machine }
  query.limit, err = app.page(http)
  if not query.limit then return nil, err end
  query.after, err = sequence("after", app.query(http, "after"))
  if err then return nil, err end
  for _, field in ipairs { "type", "kind" } do
    query[field], err = word(http, field)
    if err then return nil, err end
  end
  local field, why = event_types.filter_fault(query.kind or machine and "instance", query.type)
  if field then return errors.fail("invalid", field .. ": " .. why, { field = field }) end
  local direction
  direction, err = order(http)
  if err then return nil, err end
  query.newest = direction == "newest"
  return query
end

local function wants_stream(http)
  return http:method() == "GET" and (http:header("accept") or ""):lower():find("text/event-stream", 1, true) ~= nil
end

-- What the client has seen last counts more than where it once began.
local function stream(req, query)
  if query.newest then return bad("order", "oldest (a stream goes forward)") end
  if app.query(req.http, "fields") then return bad("fields", "nothing (a stream tells whole entries)") end
  local last, err = sequence("Last-Event-ID", req.http:header("last-event-id"))
  if err then return nil, err end
  query.after = last or query.after
  return events.stream(req.http, req.actor, query)
end

local function answer(req, machine)
  local query, err = read_query(req.http, machine)
  if not query then return nil, err end
  if wants_stream(req.http) then return stream(req, query) end
  local page
  page, err = events.page(req.actor, query)
  if not page then return nil, err end
  local more = page.after and { limit = query.limit, name = "after", value = ("%d"):format(page.after) }
  local status, text, headers = lists.page(req, page.texts, more)
  if not status then return nil, text end
  headers["Cache-Control"], headers.Vary = "no-store", "Accept"
  return status, text, headers
end

local function word_field(about) return { "string", max = 64, pattern = "^[a-z_]+$", about = about } end

local function route(o)
  o.scope, o.of, o.gives = "instances:read", "Event", { [200] = { "list", of = "Event" } }
  o.also, o.more = "text/event-stream", 'As pages, or with `Accept: text/event-stream` as a stream. See "Events".'
  o.query = {
    limit = names.limit, after = { "integer", min = 0, about = "The sequence of an entry", example = 0 },
    type = word_field "Only entries of this type; docs/events.md has all",
    kind = word_field("Only about objects of this kind: " .. table.concat(event_types.kinds(), ", ")),
    order = { "string", one_of = { "oldest", "newest" }, example = "newest" },
  }
  return lists.own(o)
end

app.get("/events", route { does = "The log" }, function(req) return answer(req) end)

app.get("/instances/{id}/events", route { object = "history", does = "The log of a machine" }, function(req)
  return answer(req, req.id)
end)
