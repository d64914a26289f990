-- /operations/{id}: how far a piece of work is, and its end on request.

local app = require "app"
local instances = require "instances"
local json = require "json"
local names = require "openapi.names"

local function answer(op, err)
  if not op then return nil, err end
  return 200, op, { ETag = ('"%d"'):format(op.version) }
end

app.get("/operations/{id}", {
  scope = "instances:read", object = "operation", query = { wait = names.wait }, does = "How far a piece of work is",
  more = 'See "Work".',
  gives = { [200] = "Operation", [304] = false },
}, function(req)
  local seconds, werr = app.wait(req.http)
  if seconds == false then return nil, werr end
  local op, err = instances.operation(req.actor, req.id, seconds)
  if not op then return nil, err end
  return app.tagged(req.http, json.encode(op))
end)

-- Undoes what it did so far. With If-Match only if it is still at that version.
app.post("/operations/{id}/cancel", {
  scope = "instances:write", object = "operation", body = {}, query = { wait = names.wait },
  does = "Ends it and undoes what it did",
  more = "409 `state` when it is over, or cannot be cancelled (a stop or a deletion that runs).", gives = { [200] = "Operation" },
  versioned = true,
}, function(req)
  local seconds, werr = app.wait(req.http)
  if seconds == false then return nil, werr end
  return answer(instances.cancel(req.actor, req.id, seconds))
end)
