-- The three routes of links to something of a machine, a port or a terminal (machines/previews.lua): they are made, listed and
-- revoked at one path.
--
--   links.routes(path, {
--     what = fn(req) -> port or name of a terminal | nil, err,
--     create = what is said of its POST (does, body, example), query = what the others' query has beside ours})

local app = require "app"
local errors = require "errors"
local lists = require "lists"
local previews = require "machines.previews"

local M = {}

local function common(o)
  o.scope, o.object, o.secret = "instances:connect", "instance", o.body and true
  return o
end

local function view(link, req) return previews.view(link, app.reached_at(req.http)) end

local function query_of(o, more)
  local query = {}
  for name, field in pairs(o.query or {}) do query[name] = field end
  query.id = more
  return query
end

local function add_create(path, o)
  o.create.gives = { [201] = "Link" }
  app.post(path, common(o.create), function(req)
    local what, err = o.what(req)
    if not what then return nil, err end
    if req.body.wake and req.actor.scopes and not req.actor.scopes["instances:write"] then
      return errors.fail("denied", "wake: the token lacks the scope 'instances:write'")
    end
    local link
    link, err = previews.create(req.actor, req.id, what, req.body)
    if not link then return nil, err end
    return 201, view(link, req), { ["Cache-Control"] = "no-store" }
  end)
end

local function add_list(path, o)
  app.get(path, lists.route(common {
    does = "Its links", query = query_of(o), of = "Link", filters = { "id" },
    sort = { "id", "created_at", "expires_at" }, order = "id",
  }), function(req)
    local what, err = o.what(req)
    if not what then return nil, err end
    local list = previews.list(req.id, what)
    for i, link in ipairs(list) do list[i] = view(link, req) end
    local status, text, headers = lists.answer(req, { items = list })
    if not status then return nil, text end
    headers["Cache-Control"] = "no-store"
    return status, text, headers
  end)
end

-- ?id=: that one; else all.
local function add_revoke(path, o)
  app.delete(path, common {
    does = "Revokes its links", query = query_of(o, { "string", about = "That one alone" }), gives = { [204] = false },
  }, function(req)
    local what, err = o.what(req)
    if not what then return nil, err end
    local n
    n, err = previews.revoke(req.actor, req.id, what, app.query(req.http, "id"))
    if not n then return nil, err end
    return 204, ""
  end)
end

function M.routes(path, o)
  add_create(path, o)
  add_list(path, o)
  add_revoke(path, o)
end

return M
