-- /vpcs, /subnets, /security-groups: private networks of users.

local app = require "app"
local groups = require "networks.groups"
local subnets = require "networks.subnets"
local vpcs = require "networks.vpcs"

local function read(object) return { scope = "networks:read", object = object } end
local function write(object, body) return { scope = "networks:write", object = object, body = body } end

local function etag(rec) return ('"%d"'):format(rec.version) end
local function at(op) return "/operations/" .. op end

-- How long an answer may be held for what was asked to be in force. -> seconds | nil, err
local function patience(http)
  local seconds, err = app.wait(http)
  if seconds == false then return nil, err end
  return seconds or 10
end

-- What was asked for is in the store; the answer waits until it is in force, if that does not take long.
local function in_force(req, fn)
  local seconds, err = patience(req.http)
  if not seconds then return nil, err end
  local value, op = fn()
  if not value then return nil, op end
  vpcs.wait(op or value, seconds)
  return value, op or value
end

-- A new one.
local function making(create)
  return function(req)
    local rec, op = in_force(req, function() return create(req.actor, req.body) end)
    if not rec then return nil, op end
    return 201, rec, { Location = at(op), ETag = etag(rec) }
  end
end

local function ending(delete)
  return function(req)
    local op, err = in_force(req, function() return delete(req.actor, req.id, req.second) end)
    if not op then return nil, err end
    return 200, { message = "deleted" }, { Location = at(op) }
  end
end

local function listing(path, service)
  return function(req)
    local limit, after = app.page(req.http)
    if not limit then return nil, after end
    local vpc = service.of and app.query(req.http, "vpc_id")
    if vpc then
      local texts, err = service.of(req.actor, vpc)
      if not texts then return nil, err end
      return 200, "[" .. table.concat(texts, ",") .. "]"
    end
    local page, err = service.objects:list(req.actor, after, limit)
    if not page then return nil, err end
    return 200, "[" .. table.concat(page.texts, ",") .. "]",
      page.after and { Link = ('<%s?limit=%d&after=%s>; rel="next"'):format(path, limit, page.after) } or nil
  end
end

local function reading(req) return app.tagged(req.http, req.text) end

app.post("/vpcs", write(nil, vpcs.fields), function(req)
  local seconds, err = app.wait(req.http)
  if seconds == false then return nil, err end
  local rec, op = vpcs.create(req.actor, req.body)
  if not rec then return nil, op end
  if seconds then
    vpcs.wait(op, seconds)
    rec = vpcs.objects:get(req.actor, rec.id) or rec
  end
  return 201, rec, { Location = at(op), ETag = etag(rec) }
end)

app.get("/vpcs", read(), listing("/vpcs", vpcs))
app.get("/vpcs/{id}", read "vpc", reading)

app.delete("/vpcs/{id}", write "vpc", function(req)
  local seconds, err = app.wait(req.http)
  if seconds == false then return nil, err end
  local rec, op = vpcs.delete(req.actor, req.id, seconds)
  if rec == nil then return nil, op end
  if rec == true then return 200, { message = "deleted" } end
  return 202, rec, { Location = at(op) }
end)

app.post("/subnets", write(nil, subnets.fields), making(subnets.create))
app.get("/subnets", read(), listing("/subnets", subnets))
app.get("/subnets/{id}", read "subnet", reading)
app.delete("/subnets/{id}", write "subnet", ending(subnets.delete))

app.post("/security-groups", write(nil, groups.fields), making(groups.create))
app.get("/security-groups", read(), listing("/security-groups", groups))
app.get("/security-groups/{id}", read "security_group", reading)
app.delete("/security-groups/{id}", write "security_group", ending(groups.delete))

app.post("/security-groups/{id}/rules", write("security_group", groups.rule_fields), function(req)
  local rule, op = in_force(req, function() return groups.add_rule(req.actor, req.id, req.body) end)
  if not rule then return nil, op end
  return 201, rule, { Location = at(op) }
end)

app.delete("/security-groups/{id}/rules/{rule}", write "security_group", ending(groups.remove_rule))

