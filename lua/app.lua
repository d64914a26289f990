-- From a request to its answer: who asks, which route, what body, what errors become.
--
-- A handler gets req: {http = the host's request, actor =, body = decoded and checked, id = first {value} of the
-- pattern, second = its second}. It returns status, body [, headers] (a body that is a string is JSON text already),
-- or nil, err. A handler that took the connection over (a terminal) returns true.

local crypto = require "crypto"
local errors = require "errors"
local json = require "json"
local log = require "log"
local router = require "router"
local schema = require "schema"

local M = { router = router.new() }

M.api_key = nil -- set by serve

M.default_headers = {
  ["X-Content-Type-Options"] = "nosniff",
  ["X-Frame-Options"] = "DENY",
  ["Referrer-Policy"] = "strict-origin-when-cross-origin",
  ["X-XSS-Protection"] = "0",
  ["Permissions-Policy"] = "camera=(), microphone=()",
}

-- app.get("/path", options, handler) and so on. options: open (no credential needed), body (schema), body_max.
for _, method in ipairs { "GET", "POST", "PATCH", "PUT", "DELETE" } do
  M[method:lower()] = function(pattern, options, handler) M.router:add(method, pattern, options, handler) end
end

local operator = { admin = true }

-- Who asks: an actor, or nil, err. The operator's key is the only credential there is yet.
function M.authenticate(http)
  local key = http:header("x-api-key")
  if not key then return errors.fail("unauthorized", "missing API key") end
  if not crypto.equal(key, M.api_key) then return errors.fail("unauthorized", "invalid API key") end
  return operator
end

local function reply_error(http, err)
  local status = err.http_status or errors.status[err.code] or 500
  local message = err.message
  if status == 500 then
    log.error("app", message, { request = http:id(), code = err.code, traceback = err.traceback })
    message = "internal error"
  end
  local headers = err.headers
  if err.retry_after then headers = { ["Retry-After"] = ("%d"):format(math.ceil(err.retry_after)) } end
  http:reply(status, json.encode { error = message, code = err.code, field = err.field, status = err.status_now }, headers)
end

local function read_body(http, options)
  local text, err = http:body(options.body_max)
  if not text then return nil, err end
  if text == "" then text = "{}" end
  local value, why = json.decode(text)
  if value == nil then return nil, why end
  if value == json.null or type(value) ~= "table" then
    return errors.fail("invalid", "body: a JSON object expected")
  end
  return value
end

local function not_found(http, allowed)
  if not allowed then return errors.fail("not_found", "no such route: " .. http:path():sub(1, 200)) end
  return errors.fail("invalid", "method not allowed here; allowed: " .. table.concat(allowed, ", "),
    { http_status = 405, headers = { Allow = table.concat(allowed, ", ") } })
end

local function run(http)
  local route, first, second = M.router:find(http:method(), http:path())
  local options = route and route.options
  local actor, err
  if not (options and options.open) then
    actor, err = M.authenticate(http)
    if not actor then return nil, err end
  end
  if not route then return not_found(http, first) end
  local body
  if options.body then
    body, err = read_body(http, options)
    if not body then return nil, err end
    if options.body ~= true then
      local ok, why = schema.check(options.body, body)
      if not ok then return nil, why end
    end
  end
  return route.handler { http = http, actor = actor, body = body, id = first, second = second }
end

-- The server's handler. Runs in a task of its own per request.
function M.handle(http)
  local status, body, headers = run(http)
  if status == nil then return reply_error(http, body) end
  if status == true then return end
  http:reply(status, type(body) == "table" and json.encode(body) or body, headers)
end

-- The value of a query parameter, percent-decoded, or nil.
function M.query(http, name)
  local q = http:query()
  if not q then return nil end
  for pair in q:gmatch("[^&]+") do
    local k, v = pair:match("^([^=]*)=?(.*)$")
    if k == name then return (v:gsub("+", " "):gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)) end
  end
end

-- limit=1..1000 and after=cursor of a list. -> limit, after | nil, err
function M.page(http)
  local limit = M.query(http, "limit") or "100"
  local n = limit:match("^%d+$") and tonumber(limit)
  if not n or n < 1 or n > 1000 then
    return errors.fail("invalid", "limit: a number from 1 to 1000 expected", { field = "limit" })
  end
  local after = M.query(http, "after")
  if after and #after > 128 then return errors.fail("invalid", "after: a cursor from a Link expected", { field = "after" }) end
  return n, after ~= "" and after or nil
end

return M
