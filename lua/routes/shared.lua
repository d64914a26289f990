-- Links to a terminal (machines/previews.lua), for whoever has them: he sees what is written there, and can type nothing.

local access = require "machines.access"
local agent = require "machines.agent"
local app = require "app"
local errors = require "errors"
local links = require "routes.links"
local previews = require "machines.previews"
local terminal = require "machines.terminal"

local session = { "string", required = true, max = 64, about = "Name of the session", example = "main" }

links.routes("/instances/{id}/terminal/share", {
  what = function(req)
    local name = req.body and req.body.session or app.query(req.http, "session")
    if name and terminal.name_ok(name) then return name end
    return errors.fail("invalid", "session: the name of a terminal expected", { field = "session" })
  end,
  query = { session = session },
  create = {
    does = "A link to look on at a terminal", more = "docs/terminal.md.", example = { session = "main", minutes = 30 },
    body = { session = { "string", required = true, max = 64 }, minutes = { "integer", min = 1, max = 43200 } },
  },
})

-- By a link: nothing that a request shows says who asks, but the link. It wakes no machine.
app.get("/shared/{token}", {
  open = true, others = true, does = "A terminal to look on at, by a link: WebSocket", gives = { [101] = false },
  fails = { 400, 404, 409, 426, 502 },
}, function(req)
  local link, rec, actor = previews.find(req.id, "session")
  if not link then return nil, rec end
  local up, err = access.running(actor, rec.id)
  if not up then return nil, err end
  local to
  to, err = terminal.to(req.http:query(), { session = link.session, view = true })
  if not to then return nil, err end
  return agent.relay({ http = req.http, actor = actor }, up, to)
end)
