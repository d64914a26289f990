-- /volumes and what is beneath it.

local app = require "app"
local json = require "json"
local lists = require "lists"
local names = require "openapi.names"
local volumes = require "volumes"

-- What routes beneath one volume need.
local function read(o)
  o.scope, o.object = "instances:read", "volume"
  return o
end
local wait = { wait = names.wait }
local function write(o)
  o.scope, o.object, o.query, o.begins, o.versioned = "instances:write", "volume", wait, true, true
  o.gives = o.gives or { [200] = "Volume", [202] = "Volume" }
  return o
end

local function tag(rec) return ('"%d"'):format(rec.version) end

-- A handler that asks for something of a volume: fn(req, seconds to wait) as volumes.delete answers.
local function changing(fn)
  return function(req)
    local seconds, err = app.wait(req.http)
    if seconds == false then return nil, err end
    local rec, done, op = fn(req, seconds)
    if not rec then return nil, done end
    if done then return 200, rec, { ETag = tag(rec) } end
    return 202, rec, { Location = "/operations/" .. op }
  end
end

-- A handler that makes one: fn(req) -> record, operation id | nil, err
local function making(fn)
  return function(req)
    local seconds, werr = app.wait(req.http)
    if seconds == false then return nil, werr end
    local rec, op = fn(req)
    if not rec then return nil, op end
    if seconds then rec = volumes.settled(req.actor, rec, op, seconds) end
    return 201, rec, { Location = "/operations/" .. op, ETag = tag(rec) }
  end
end

app.post("/volumes", {
  scope = "instances:write", body = volumes.fields.create, query = wait, begins = true, does = "Makes a volume",
  gives = { [201] = "Volume" },
  more = "400 `unsupported`: its provider has none of its own.", example = { name = "data", size_gib = 10 },
}, making(function(req)
  return volumes.create(req.actor, req.body)
end))

app.get("/volumes", lists.route {
  scope = "instances:read", does = "Volumes that are not deleted", of = "Volume",
  filters = { "name", "owner", "provider", "status", "attached_to" },
  sort = { "name", "owner", "status", "size_gib", "created_at", "updated_at" },
}, function(req)
  return lists.answer(req, { scan = function(after, limit) return volumes.list(req.actor, after, limit) end })
end)

app.get("/volumes/{id}", read {
  does = "One volume", gives = { [200] = "Volume", [304] = false }, fails = { 409 },
  more = "A deleted one reads `DELETED` by its id. 409: two providers have one of that name.",
}, function(req) return app.tagged(req.http, req.text) end)

app.delete("/volumes/{id}", write {
  does = "Deletes it with its data and its snapshots", more = "409 `state` while a machine has it, or something is under way.",
  fails = { 409 },
}, changing(function(req, seconds) return volumes.delete(req.actor, req.id, seconds) end))

app.post("/volumes/{id}/attach", write {
  body = volumes.fields.attach, does = "Attaches it to a machine", example = { machine = "api", path = "/data" },
}, changing(function(req, seconds)
  return volumes.attach(req.actor, req.id, req.body, seconds)
end))

app.post("/volumes/{id}/detach", write {
  body = {}, does = "Detaches it from its machine",
}, changing(function(req, seconds) return volumes.detach(req.actor, req.id, seconds) end))

app.post("/volumes/{id}/snapshots", write {
  body = volumes.fields.snapshot, does = "Takes a snapshot", more = "32 at most.", example = { name = "monday" },
}, changing(function(req, seconds)
  return volumes.snapshot(req.actor, req.id, req.body.name, seconds)
end))

app.get("/volumes/{id}/snapshots", lists.route(read {
  does = "Its snapshots", of = "VolumeSnapshot", filters = { "name" }, sort = { "name", "created_at", "size_gib" },
  order = "created_at",
}), function(req) return lists.answer(req, { items = json.decode(req.text).snapshots, key = "name" }) end)

app.delete("/volumes/{id}/snapshots/{snapshot}", write { does = "Deletes a snapshot", fails = { 409 } }, changing(function(req,
  seconds)
  return volumes.drop_snapshot(req.actor, req.id, req.second, seconds)
end))

app.post("/volumes/{id}/restore", write {
  body = volumes.fields.restore, does = "Makes its data what they were at a snapshot", more = "The snapshot stays.",
  example = { snapshot = "monday" },
}, changing(function(req, seconds)
  return volumes.restore(req.actor, req.id, req.body.snapshot, seconds)
end))

app.post("/volumes/{id}/clone", write {
  body = volumes.fields.clone, does = "Another volume with its data of now, or of a snapshot", gives = { [201] = "Volume" },
  example = { name = "copy", snapshot = "monday" },
}, making(function(req)
  return volumes.clone(req.actor, req.id, req.body)
end))
