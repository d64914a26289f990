-- /vpcs, /subnets, /security-groups: private networks of users.

local app = require "app"
local groups = require "networks.groups"
local lists = require "lists"
local names = require "openapi.names"
local subnets = require "networks.subnets"
local vpcs = require "networks.vpcs"

-- schemas of the answers, by the kind of object
local schema_of = { vpc = "Vpc", subnet = "Subnet", security_group = "SecurityGroup" }

local function read(object, does)
  return { scope = "networks:read", object = object, does = does, gives = { [200] = schema_of[object], [304] = false } }
end

local function write(object, o)
  o.scope, o.object, o.query, o.begins = "networks:write", object, { wait = names.wait }, true
  return o
end

-- Making one.
local function new(kind, fields, does, example)
  return write(nil, { body = fields, does = does, gives = { [201] = schema_of[kind] }, fails = { 404 }, example = example })
end

local function list(kind, does, filters, query)
  return lists.route {
    scope = "networks:read", of = schema_of[kind], does = does, query = query, filters = filters,
    sort = { "name", "owner", "created_at", "updated_at" },
  }
end

local of_vpc = { "string", about = "Those of that VPC" } -- by its id or name, so the handler looks it up

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

local function listing(service)
  return function(req)
    local vpc = service.of and app.query(req.http, "vpc_id")
    if vpc then
      local texts, err = service.of(req.actor, vpc)
      if not texts then return nil, err end
      return lists.answer(req, { items = texts })
    end
    return lists.answer(req, { scan = function(after, limit) return service.objects:list(req.actor, after, limit) end })
  end
end

local function reading(req) return app.tagged(req.http, req.text) end

app.post("/vpcs", new("vpc", vpcs.fields, "Makes a private network", { name = "backend", cidr_block = "10.1.0.0/16" }),
  function(req)
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

app.get("/vpcs", list("vpc", "Private networks", { "name", "owner", "status" }), listing(vpcs))
app.get("/vpcs/{id}", read("vpc", "One private network"), reading)

app.delete("/vpcs/{id}", write("vpc", {
  does = "Deletes it", gives = { [200] = "Done", [202] = "Vpc" }, fails = { 409 }, versioned = true,
}), function(req)
  local seconds, err = app.wait(req.http)
  if seconds == false then return nil, err end
  local rec, op = vpcs.delete(req.actor, req.id, seconds)
  if rec == nil then return nil, op end
  if rec == true then return 200, { message = "deleted" } end
  return 202, rec, { Location = at(op) }
end)

local gone = { [200] = "Done" }

app.post("/subnets", new("subnet", subnets.fields, "Makes a subnet",
  { vpc_id = "backend", name = "a", cidr_block = "10.1.1.0/24" }), making(subnets.create))
app.get("/subnets", list("subnet", "Subnets", { "name", "owner" }, { vpc_id = of_vpc }), listing(subnets))
app.get("/subnets/{id}", read("subnet", "One subnet"), reading)
app.delete("/subnets/{id}", write("subnet", { does = "Deletes it", gives = gone, fails = { 409 }, versioned = true }),
  ending(subnets.delete))

app.post("/security-groups", new("security_group", groups.fields, "Makes a security group",
  { vpc_id = "backend", name = "web", rules = { { direction = "ingress", protocol = "tcp", port_min = 80, port_max = 80 } } }),
  making(groups.create))
app.get("/security-groups", list("security_group", "Security groups", { "name", "owner" }, { vpc_id = of_vpc }),
  listing(groups))
app.get("/security-groups/{id}", read("security_group", "One security group"), reading)
app.delete("/security-groups/{id}", write("security_group", {
  does = "Deletes it", gives = gone, fails = { 409 }, versioned = true,
}), ending(groups.delete))

app.post("/security-groups/{id}/rules", write("security_group", {
  body = groups.rule_fields, does = "Adds a rule", gives = { [201] = "Rule" }, versioned = true,
  example = { direction = "ingress", protocol = "tcp", port_min = 443, port_max = 443, cidr = "10.1.0.0/16" },
}), function(req)
  local rule, op = in_force(req, function() return groups.add_rule(req.actor, req.id, req.body) end)
  if not rule then return nil, op end
  return 201, rule, { Location = at(op) }
end)

app.delete("/security-groups/{id}/rules/{rule}", write("security_group", {
  does = "Removes a rule", gives = gone, fails = { 409 }, versioned = true,
}), ending(groups.remove_rule))
