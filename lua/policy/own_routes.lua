-- The routes of policies/routes.lua: found behind the built-in ones, admitted and given their object like those, and run in a
-- fence on the generation that the request found.
--
--   own_routes.find(gen, method, path) -> route, values... | nil, allowed methods      as router:find
-- A set whose routes cannot be, or are built in already, is not taken.

local asked = require "policy.asked"
local credentials = require "accounts.credentials"
local errors = require "errors"
local generation = require "policy.generation"
local instances = require "instances"
local json = require "json"
local log = require "log"
local query = require "query"
local rights = require "rights"
local router = require "router"
local time = require "time"
local waiting = require "policy.waiting"

local M = {}

-- What came out of a fence as JSON has it: lists that nobody has marked (json.list) are those with entries.
local function listed(v)
  if type(v) ~= "table" then return v end
  local out = (json.is_array(v) or #v > 0) and json.array {} or {}
  for k, item in pairs(v) do out[k] = listed(item) end
  return out
end

-- Whether the caller may do this to that machine (key; nil: to none in particular) by himself: the route's own scope does not
-- lend him another, and his credential may have ended while the route waited. -> true | nil, err
local function may(actor, scope, key)
  if not actor then return errors.fail("unauthorized", "authentication required") end
  local stands, gone = credentials.check(actor)
  if not stands then return nil, gone end
  local ok, err = rights.allow(actor, { scope = scope, object = key ~= nil and "instance" or nil })
  if not ok or key == nil or not actor.machine then return ok, err end
  return rights.within(actor, instances.resolve(actor, tostring(key)))
end

-- What the policy may ask, under the caller's rights; actor nil: nobody's.
local function host_of(gen, caller)
  -- one request's key and version are about the route, not about each thing that it does
  local actor = caller and setmetatable({ idempotent = false, expects = false }, { __index = caller })
  local function text(value) return tostring(value):sub(1, 2000) end
  local function settled(rec, op) -- a change that goes on is as good as done: the record says where it stands
    if rec == nil then return nil, op end
    return rec
  end
  -- fn(key, ...), for who has that scope
  local function with(scope, fn)
    return asked.key(function(key, ...)
      local ok, err = may(actor, scope, key)
      if not ok then return nil, err end
      return fn(key, ...)
    end)
  end
  local host = {
    ["instances.get"] = with("instances:read", function(id) return instances.get(actor, id) end),
    ["instances.list"] = function(after, limit)
      local ok, err = may(actor, "instances:read")
      if not ok then return nil, err end
      return asked.page(actor, after, limit)
    end,
    ["instances.create"] = function(spec)
      local ok, err = may(actor, "instances:write")
      if not ok then return nil, err end
      return settled(instances.create(actor, listed(spec or {})))
    end,
    ["instances.patch"] = with("instances:write", function(id, change) return instances.patch(actor, id, listed(change)) end),
    ["instances.extend"] = with("instances:write", function(id, hours) return instances.extend(actor, id, hours) end),
    ["policy.generation"] = function() return gen.number end,
    ["time.now"] = function() return math.floor(time.now() / 1000) end,
    ["log.info"] = function(line) log.info("routes", text(line), {}) return true end,
    ["log.warn"] = function(line) log.warn("routes", text(line), {}) return true end,
  }
  for _, verb in ipairs { "start", "stop", "delete" } do
    host["instances." .. verb] = with("instances:write", function(id) return settled(instances.move(actor, id, verb)) end)
  end
  return host
end

local function told(req)
  local said = {}
  for name, value in pairs(query.all(req.http:query())) do said[name] = value end
  return {
    method = req.http:method(), path = req.http:path(), id = req.id, second = req.second, query = said, body = req.body,
    user = req.actor and req.actor.user, admin = req.actor and req.actor.admin == true or false,
  }
end

local not_theirs = {
  ["Connection"] = true, ["Content-Length"] = true, ["Date"] = true, ["Keep-Alive"] = true, ["Policy-Generation"] = true,
  ["Trailer"] = true, ["Transfer-Encoding"] = true, ["Upgrade"] = true,
}

local function checked(gen, status, body, headers)
  if type(status) ~= "number" or status < 200 or status > 599 or status % 1 ~= 0 then
    return errors.fail("policy", "a status from 200 to 599 expected, or nil and an error")
  end
  if body ~= nil and type(body) ~= "table" and type(body) ~= "string" then
    return errors.fail("policy", "a body that is table or text expected")
  end
  local out = { ["Policy-Generation"] = ("%d"):format(gen.number) }
  for given, value in pairs(type(headers) == "table" and headers or {}) do
    if type(given) ~= "string" or not given:match("^[%w-]+$") or tostring(value):find("[%c]") then
      return errors.fail("policy", "headers: names of letters, digits and -, values without control characters expected")
    end
    local name = given:lower():gsub("%f[%a]%a", string.upper)
    if not_theirs[name] then return errors.fail("policy", "headers: " .. name .. " is not a route's to say") end
    if out[name] then return errors.fail("policy", "headers: " .. name .. " is said twice") end
    out[name] = tostring(value)
  end
  if type(body) == "string" and not out["Content-Type"] then out["Content-Type"] = "text/plain; charset=utf-8" end
  return status, body or "", out
end

local function handler(gen, index, route)
  local where = ("routes.%d.handle"):format(index)
  local function failed(message)
    return errors.fail("internal", ("policies/routes.lua: %s %s: %s"):format(route.method, route.path, message))
  end
  return function(req)
    local status, body, headers = waiting.run(gen, "routes.lua", where, host_of(gen, req.actor), told(req))
    if status == nil then
      local err = body or { code = "policy", message = "the route gave no answer" }
      if err.code == "policy" then return failed(err.message) end
      local as = err.http_status
      if as ~= nil and (type(as) ~= "number" or as < 400 or as > 599 or as % 1 ~= 0) then
        return failed("http_status: a status from 400 to 599 expected")
      end
      local field = type(err.field) == "string" and err.field or nil
      return nil, errors.new(err.code, err.message, { field = field, http_status = as })
    end
    local ok, out, more = checked(gen, status, body, headers)
    if ok == nil then return failed(out.message) end
    return ok, type(out) == "table" and listed(out) or out, more
  end
end

local function options_of(route)
  return {
    open = route.open, scope = route.scope, admin = route.admin, object = route.object,
    body = route.body or (route.method ~= "GET" and route.method ~= "DELETE") or nil, own = true,
    effect_outside = route.method == "POST", -- with an Idempotency-Key it is done at most once
  }
end

local function router_of(gen)
  if gen.router then return gen.router end
  local r = router.new()
  for i, route in ipairs(gen:data("routes").routes) do
    r:add(route.method, route.path, options_of(route), handler(gen, i, route))
  end
  gen.router = r
  return r
end

function M.find(gen, method, path)
  if #gen:data("routes").routes == 0 then return nil end
  return router_of(gen):find(method, path)
end

-- Why these cannot be beside the built-in ones, or nil.
local function fault_of(routes, built_in)
  for i, route in ipairs(routes) do
    if route.scope and route.scope ~= "any" and not rights.scopes[route.scope] then
      return ("routes[%d]: scope: one of %s, or any, expected"):format(i, table.concat(rights.scope_names, ", "))
    end
    for j = 1, i - 1 do
      if routes[j].method == route.method and routes[j].path:gsub("{%w+}", "*") == route.path:gsub("{%w+}", "*") then
        return ("routes[%d]: a second %s %s"):format(i, route.method, route.path)
      end
    end
    local found = built_in:find(route.method, (route.path:gsub("{%w+}", "x")))
    if found then return ("routes[%d]: %s %s is built in"):format(i, route.method, found.pattern) end
  end
end

generation.checks[#generation.checks + 1] = function(gen)
  local app = package.loaded.app -- there are no routes without it
  if not app then return nil end
  local why = fault_of(gen:data("routes").routes, app.router)
  if why then return why, "routes" end
  local ok, fault = pcall(router_of, gen) -- what nobody thought of above
  return not ok and fault or nil, "routes"
end

return M
