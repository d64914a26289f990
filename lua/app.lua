-- From a request to its answer: who asks, how often, which route, by what right, what body, what errors become.
--
-- A handler gets req: {http = the host's request, actor =, body = decoded and checked, id = the id of the object that the
-- path names (or its first {value}), text = that object's stored JSON, second = the second {value}, options}. It returns status,
-- body [, headers] (a body that is a string is JSON text already), or nil, err. A handler that took the connection over
-- (a terminal) returns true.

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local errors = require "errors"
local host_http = require "http"
local idempotency = require "idempotency"
local json = require "json"
local limits = require "limits"
local log = require "log"
local spans = require "observe.spans"
local origin = require "origin"
local policy = require "policy"
local own_routes = require "policy.own_routes"
local query = require "query"
local rights = require "rights"
local router = require "router"
local schema = require "schema"
local sorted_keys = require "sorted_keys"
local trace = require "trace"
local web = require "web"

local M = { router = router.new() }

M.default_headers = {
  ["X-Content-Type-Options"] = "nosniff",
  ["X-Frame-Options"] = "DENY",
  ["Referrer-Policy"] = "strict-origin-when-cross-origin",
  ["X-XSS-Protection"] = "0",
  ["Permissions-Policy"] = "camera=(), microphone=()",
  ["Cache-Control"] = "private, no-cache", -- a cookie tells no cache between that an answer is for one person alone
}

-- app.get("/path", options, handler) and so on. options, of which one of the first two must be there:
--   open            no credential needed
--   scope           what an API token must be allowed (rights.lua); "any": nothing in particular
--   admin, user, session   an admin's alone; an account's (not the operator's key); not by an API token
--   object          the kind of object that {id} names (rights.find)
--   rate            its limit: "api" (the default), "auth", or false for none
--   upgrade         a WebSocket: Origin is looked at (of an upgrade), and a ticket is taken as ?token=, unless `ticket` is false
--   body (schema, true: any object, "raw": the handler reads it), body_max
--   query           {name = field}: what its query may have; another name is refused, unless `others`. nil: any (own routes)
--   does, more, gives, fails, example, ...   what it is, for its description: see openapi/routes.lua; each must say it
--   secret          the answer holds a secret: kept sealed for a repeat with the same Idempotency-Key
--   when            there is no such route unless when() says so
--   effect_outside  what the handler does is not in the store's commit: with an Idempotency-Key it is done at most once
M.methods = { "GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS" }
for _, method in ipairs(M.methods) do
  M[method:lower()] = function(pattern, options, handler)
    options.query = options.query or {}
    M.router:add(method, pattern, options, handler)
  end
end

-- The URL at which this server is reached by who sent that request, without a "/" in the end.
function M.reached_at(http)
  local url = M.base_url or ("%s://%s"):format(http:secure() and "https" or "http", http:header("host") or "localhost")
  return (url:gsub("/+$", ""))
end

-- Who asks: an actor, or nil, err.
function M.authenticate(http, options)
  return credentials.authenticate(http, options and options.upgrade and options.ticket ~= false)
end

-- What an error value becomes. -> status, body, headers
local function error_answer(err)
  local status = err.http_status or errors.status[err.code] or 500
  if err.code == "limit" and err.retry_after then status = 429 end -- a provider's, not a size
  local message = err.message
  if status >= 500 then trace.failed(message, err.traceback) end
  if status == 500 then
    log.error("app", message, { code = err.code, traceback = err.traceback })
    message = "internal error"
  end
  local headers = err.headers
  if err.retry_after then headers = { ["Retry-After"] = ("%d"):format(math.ceil(err.retry_after)) } end
  -- both may quote what was asked for, or a part of it that ends within a character
  return status, json.encode {
    error = json.text(message), code = err.code, field = err.field and json.text(err.field), status = err.status_now,
  }, headers
end

-- -> the decoded object, its text | nil, err
local function read_body(http, options)
  local text, err = http:body(options.body_max)
  if not text then return nil, err end
  local value, why = json.decode(text == "" and "{}" or text)
  if value == nil then return nil, why end
  if value == json.null or type(value) ~= "table" then
    return errors.fail("invalid", "body: a JSON object expected")
  end
  if options.body ~= true then
    local ok, fault = schema.check(options.body, value)
    if not ok then return nil, fault end
  end
  return value, text
end

local function not_found(http, allowed)
  if not allowed then return errors.fail("not_found", "no such route: " .. http:path():sub(1, 200)) end
  return errors.fail("invalid", "method not allowed here; allowed: " .. table.concat(allowed, ", "),
    { http_status = 405, headers = { Allow = table.concat(allowed, ", ") } })
end

-- The version that If-Match asks for of the record in the path, or nil for any. -> version or nil | false, err
function M.if_match(http)
  local match = http:header("if-match")
  if match == nil or match == "*" then return nil end
  local version = tonumber(match:match('^"(%d+)%.?%w*"$'))
  if version then return version end
  return false, errors.new("invalid", 'If-Match: a version in quotes expected, like "3"', { field = "If-Match" })
end

-- A name that is not looked at is refused, and a value that is not: what is asked for would not be what is answered.
local function query_fault(http, options)
  local text, known = http:query(), options.query
  if not text or not known or options.others then return nil end
  local all, twice = query.all(text)
  local said = {}
  for name in pairs(all) do
    if not known[name] and not (name == "token" and options.upgrade) then said[#said + 1] = name end
  end
  if #said == 0 then
    return twice and errors.new("invalid", twice .. ": once expected, not twice", { field = twice }) or nil
  end
  table.sort(said)
  local name, names = said[1]:sub(1, 64), sorted_keys(known)
  return errors.new("invalid", ("%s: no such parameter; %s expected"):format(name,
    #names == 0 and "none" or "one of " .. table.concat(names, ", ")), { field = name })
end

-- Calls a route's handler. -> status, body (text), headers | true
local function call(route, req)
  local status, body, headers = route.handler(req)
  if status == nil then return error_answer(body) end
  return status, type(body) == "table" and json.encode(body) or body, headers
end

-- The query without `wait`, which says how long the answer may be held and not what is asked for.
local function asked(text)
  if not text then return "" end
  return (("&" .. text):gsub("&wait=[^&]*", ""))
end

-- Whose keys these are: whoever may see less must not be given the answer to one who could see more.
local function key_owner(actor)
  return (actor.user or "operator") .. (actor.machine and "/" .. actor.machine or "") .. (actor.admin and "/admin" or "")
end

-- Runs perform(req) for a request that carries an Idempotency-Key, unless that was done already. `said`: its body.
local function once(http, route, req, key, said, perform)
  local text = ("%s %s?%s\n%s"):format(http:method(), http:path(), asked(http:query()), said or "")
  local ticket, answer, err = idempotency.begin(key_owner(req.actor), key, crypto.hex(crypto.sha256(text)))
  if err then return error_answer(err) end
  local stands, serr = credentials.check(req.actor)
  if not stands then
    if ticket then ticket:finish() end
    return error_answer(serr)
  end
  if answer then
    local headers = answer.headers or {}
    headers["Idempotency-Replayed"] = "true"
    return answer.status, answer.body, headers
  end
  ticket.secret = route.options.secret
  local begun, berr = ticket:begin_effect(route.options.effect_outside)
  if not begun then
    ticket:finish()
    return error_answer(berr)
  end
  req.actor.idempotent = ticket
  local ok, status, body, headers = xpcall(perform, debug.traceback, route, req)
  ticket:finish(ok and status ~= true and status or nil, body, headers)
  if not ok then error(status, 0) end
  return status, body, headers
end

-- May the actor do this to the object of the path? -> its id, its text | nil, err
local function object_of(actor, kind, key)
  local id, text = rights.find[kind](actor, key)
  if not id then return nil, text end
  if kind == "instance" or kind == "history" then
    local ok, err = rights.within(actor, id)
    if not ok then return nil, err end
  end
  return id, text
end

-- Who asks, if he may ask this now. -> actor (nil: nobody, on an open route), headers | false, err, headers
local function admit(http, options)
  local class = "api"
  if options and options.rate ~= nil then class = options.rate end
  local actor, err
  if not (options and options.open) then
    actor, err = M.authenticate(http, options)
  end
  local headers, too_many = limits.take(http, actor, class)
  if too_many then return false, too_many, headers end
  if err then return false, err, headers end
  if not options then return actor, headers end
  local ok, why = true, nil
  if options.upgrade and http:header("upgrade") then ok, why = origin.check_upgrade(http, actor) end
  if ok and actor and actor.by_cookie then ok, why = origin.check_change(http) end
  if ok and actor then ok, why = rights.allow(actor, options) end
  if not ok then return false, why, headers end
  return actor, headers
end

-- Which route it is, for the log and the figures, and whose request.
local function tell(http, route, actor)
  local number = route.number
  if not number then
    number = host_http.route(route.method, route.pattern or route.path)
    route.number = number
  end
  http:of(number, actor and (actor.user or "operator") or nil, nil, spans.active and actor and spans.plan(actor.user) or nil)
end

-- Which machine it has made, for the same.
function M.made(http, rec) http:of(nil, nil, rec.id, type(rec.plan) == "string" and rec.plan or nil) end

-- Finds the object that the path names and calls the handler. -> status, body (text), headers | true
local function perform(route, req)
  local kind = route.options.object
  if kind then
    local id, text = object_of(req.actor, kind, req.id)
    if not id then return error_answer(text) end
    req.id, req.text = id, text
    if kind == "instance" or kind == "history" then
      req.http:of(nil, nil, id, spans.active and spans.plan(nil, text) or nil)
    end
  end
  local status, body, headers = call(route, req)
  if route.method == "GET" and status ~= true then -- it may have waited for minutes
    local stands, err = credentials.check(req.actor)
    if not stands then return error_answer(err) end
  end
  return status, body, headers
end

local function handle(http, method, route, actor, first, second)
  local options = route.options
  local fault = query_fault(http, options)
  if fault then return error_answer(fault) end
  local body, said
  if options.body and options.body ~= "raw" then
    body, said = read_body(http, options)
    if not body then return error_answer(said) end
    local stands, serr = credentials.check(actor)
    if not stands then return error_answer(serr) end
  end
  local req = { http = http, actor = actor, body = body, id = first, second = second, options = options }
  if options.body == "raw" then return perform(route, req) end -- what its headers say is for whom it is passed on to
  if method ~= "GET" then
    local expects, err = M.if_match(http)
    if expects == false then return error_answer(err) end
    if actor then req.actor = setmetatable({ expects = expects }, { __index = actor }) end
  end
  local key = actor and method == "POST" and http:header("idempotency-key")
  if key then return once(http, route, req, key, said, perform) end
  return perform(route, req)
end

-- Both; of two of one name the first, but an answer varies with all that either says.
local function joined(headers, more)
  if not more then return headers end
  if not headers then return more end
  local out = {}
  for k, v in pairs(more) do out[k] = v end
  for k, v in pairs(headers) do out[k] = v end
  if headers.Vary and more.Vary then out.Vary = headers.Vary .. ", " .. more.Vary end
  return out
end

-- What a host of its own answers (previews): fn(http) -> status, body, headers as a handler | false: it is no such host.
function M.by_host() return false end

local function run(http)
  local method = http:method()
  local status_by, said, their = M.by_host(http)
  if status_by == nil then return error_answer(said) end
  if status_by then return status_by, said, their end
  local route, first, second = M.router:find(method, http:path())
  if not route then
    local own, a, b = own_routes.find(policy.live(), method, http:path())
    if own or not first then route, first, second = own, a, b end
  end
  if not route and first and method == "OPTIONS" and origin.is_preflight(http) then
    return origin.preflight(http, first)
  end
  if not route and not first and web.wants_page(http) then return web.page(http, 404) end
  local actor, more, extra = admit(http, route and route.options)
  if route then tell(http, route, actor) end
  local status, body, headers
  if actor == false then
    status, body, headers = error_answer(more)
    more = extra
  elseif not route then
    status, body, headers = error_answer(select(2, not_found(http, first)))
  else
    status, body, headers = handle(http, method, route, actor, first, second)
  end
  if status == true then return true end
  return status, body, joined(joined(headers, more), origin.cors(http))
end

-- The server's handler. Runs in a task of its own per request.
function M.handle(http)
  local status, body, headers = run(http)
  if status ~= true then http:reply(status, body, headers) end
end

-- The value of a query parameter, decoded, or nil.
function M.query(http, name) return query.value(http:query(), name) end

-- ---- the session's cookie

M.secure = false -- BASE_URL is https

local function cookie(value, seconds, secure)
  return ("session=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s"):format(value, seconds, secure and "; Secure" or "")
end

M.no_cookie = cookie("", 0)

-- The headers that give a browser its session.
function M.session_cookie(http, token)
  return { ["Set-Cookie"] = cookie(token, credentials.session_hours * 3600, M.secure or http:secure()) }
end

-- ---- what requests say

-- ?wait=SECONDS, how long the answer may be held. -> seconds or nil when it is absent | false, err
function M.wait(http)
  local text = M.query(http, "wait")
  if text == nil then return nil end
  local n = text:match("^%d+$") and tonumber(text)
  if n and n <= 300 then return n end
  return false, errors.new("invalid", "wait: a number of seconds from 0 to 300 expected", { field = "wait" })
end

-- The answer to GET of a record that is JSON text: with its ETag, or 304 when the client has that one. A stale record
-- has none: it is not what its version says. Where what is known now (idle.lua: health and idle), or a reading of the ledger, is
-- told beside the record the tag is "VERSION.WORD".
function M.tagged(http, text)
  local version = not text:find('"stale_since"', 1, true) and text:match('"version":(%d+)')
  if not version then return 200, text end
  local decided = text:match('^.*(,"health":{.*)$') or text:match(',"usage_hours":([^,}]+)}$')
  if decided then version = version .. "." .. crypto.hex(crypto.sha256(decided)):sub(1, 8) end
  local tag, have = '"' .. version .. '"', http:header("if-none-match")
  if have and (have == "*" or have:find(tag, 1, true)) then return 304, "", { ETag = tag } end
  return 200, text, { ETag = tag }
end

-- limit=1..1000 and after=cursor of a list, `longest` bytes of it (128). `usual`: the limit when none is given (100).
-- -> limit, after | nil, err
function M.page(http, longest, usual)
  local limit = M.query(http, "limit") or tostring(usual or 100)
  local n = limit:match("^%d+$") and tonumber(limit)
  if not n or n < 1 or n > 1000 then
    return errors.fail("invalid", "limit: a number from 1 to 1000 expected", { field = "limit" })
  end
  local after = M.query(http, "after")
  if after and #after > (longest or 128) then
    return errors.fail("invalid", "after: a cursor from a Link expected", { field = "after" })
  end
  return n, after ~= "" and after or nil
end

return M
