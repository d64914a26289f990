-- /volumes and what is beneath it.

local app = require "app"
local json = require "json"
local volumes = require "volumes"

-- What routes beneath one volume need.
local read = { scope = "instances:read", object = "volume" }
local function write(body) return { scope = "instances:write", object = "volume", body = body } end

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

app.post("/volumes", { scope = "instances:write", body = volumes.fields.create }, making(function(req)
  return volumes.create(req.actor, req.body)
end))

app.get("/volumes", { scope = "instances:read" }, function(req)
  local limit, after = app.page(req.http)
  if not limit then return nil, after end
  local page = volumes.list(req.actor, after, limit)
  local headers
  if page.after then headers = { Link = ('</volumes?limit=%d&after=%s>; rel="next"'):format(limit, page.after) } end
  return 200, "[" .. table.concat(page.texts, ",") .. "]", headers
end)

app.get("/volumes/{id}", read, function(req) return app.tagged(req.http, req.text) end)

app.delete("/volumes/{id}", write(), changing(function(req, seconds) return volumes.delete(req.actor, req.id, seconds) end))

app.post("/volumes/{id}/attach", write(volumes.fields.attach), changing(function(req, seconds)
  return volumes.attach(req.actor, req.id, req.body, seconds)
end))

app.post("/volumes/{id}/detach", write {}, changing(function(req, seconds) return volumes.detach(req.actor, req.id, seconds) end))

app.post("/volumes/{id}/snapshots", write(volumes.fields.snapshot), changing(function(req, seconds)
  return volumes.snapshot(req.actor, req.id, req.body.name, seconds)
end))

app.get("/volumes/{id}/snapshots", read, function(req) return 200, json.array(json.decode(req.text).snapshots) end)

app.delete("/volumes/{id}/snapshots/{snapshot}", write(), changing(function(req, seconds)
  return volumes.drop_snapshot(req.actor, req.id, req.second, seconds)
end))

app.post("/volumes/{id}/restore", write(volumes.fields.restore), changing(function(req, seconds)
  return volumes.restore(req.actor, req.id, req.body.snapshot, seconds)
end))

app.post("/volumes/{id}/clone", write(volumes.fields.clone), making(function(req)
  return volumes.clone(req.actor, req.id, req.body)
end))
