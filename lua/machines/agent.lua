-- The one place that asks a machine's agent something: its address, the secret that it wants, and what becomes of failures.
-- Whose the machine is has been asked before; that it runs, too (machines/wake.lua).
--
--   agent.request(rec, {method =, path =, headers =, body =, timeout =, max_body =}) -> as http.request | nil, err
--   agent.relay(req, rec, to[, held]) -> true | nil, err   a WebSocket passed through; a failure that a browser could not see
--       as a status ends the WebSocket with a reason, and is true, too. held: one that is accepted already (req:hold)
--   agent.pass(req, rec, to) -> true | nil, err            HTTP, streamed both ways
-- to: {path = what to ask the agent for, headers =, kind = "terminal", "chat", "screen", "view", "other" (of a WebSocket),
--   port = a port of the machine instead of the agent, authority =, answer = fn(head) -> status, headers (a list of pairs),
--   at = {host =, port =} another place than the agent, plain = true: failures of a WebSocket as a status}

local access = require "machines.access"
local agent_secret = require "machines.agent_secret"
local errors = require "errors"
local host_http = require "http"
local providers = require "providers"
local task = require "task"
local trace = require "trace"

local M = {}

-- Set by setup.lua.
M.settings = { idle = 300, head = 10, ping = 30, body_max = 16 * 2 ^ 30 }

-- Where its agent is. -> {unix =, ...} as req:proxy has it, the value of Authorization or nil | nil, err
local function way(rec, to)
  if to.at then return { host = to.at.host, port = to.at.port } end
  local p, err = providers.get(rec.provider)
  if not p then return nil, err end
  local at
  at, err = p:endpoint(rec.provider_id)
  if not at then return nil, err end
  local secret = agent_secret.header(rec)
  if to.port then return { unix = at.unix, tunnel = ("/ports/%d"):format(to.port), secret = secret } end
  return { unix = at.unix }, secret
end

-- What only an agent is told: the secret, and of which trace this is a part. A port is the user's own.
local function with_secret(headers, secret, to)
  local out = { Authorization = secret, traceparent = not to.at and not to.port and task.carried().trace or nil }
  for name, value in pairs(headers or {}) do out[name] = value end
  return out
end

-- What is asked for: as the host's calls have it. -> table | nil, err
local function options(req, rec, to)
  local o, secret = way(rec, to)
  if not o then return nil, secret end
  o.path, o.authority, o.headers = to.path, to.authority, with_secret(to.headers, secret, to)
  o.id, o.who, o.kind = rec.id, to.who or req.actor.credential.who, to.kind
  return o
end

-- One connection for each: one that is kept would hold a way to a machine that is elsewhere open, with a process there.
function M.request(rec, o)
  local at, secret = way(rec, {})
  if not at then return nil, secret end
  local headers = { Connection = "close", Authorization = secret }
  for name, value in pairs(o.headers or {}) do headers[name] = value end
  return host_http.request {
    url = "http://localhost" .. o.path, unix = at.unix, method = o.method, headers = headers,
    body = o.body, timeout = o.timeout or 10, max_body = o.max_body, traced = true,
  }
end

-- Whether it answers at all. It wants no secret for that. -> true | false | nil, err
function M.answers(rec)
  local answer, err = M.request(rec, { path = "/healthz", timeout = 2, max_body = 4096 })
  if not answer then return nil, err end
  return answer.status == 200
end

-- ---- failures

M.no_upgrade = { http_status = 426, headers = { Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13" } }

M.going = "the server is going away" -- as host/http/splice_dial.c says it

local SECRET = "the machine's agent does not take this server's secret: stop the machine and start it"

-- What whoever asked is told. What is refused for his own sake stays as it is.
local function told(rec, to, err)
  if err.code == "limit" or err.code == "invalid" then return errors.fail(err.code, err.message) end
  if err.code == "io" then return nil, err end -- nobody is there to be told
  if err.code == "not_found" and to.port then
    return errors.fail("unavailable", ("nothing answers at port %d of the machine"):format(to.port), { http_status = 502 })
  end
  if err.code == "denied" then -- it was asked, and has answered
    local ours = not to.port and not to.at and err.message:find("status 401", 1, true)
    return errors.fail("unavailable", ours and SECRET or err.message, { http_status = 502 })
  end
  if err.message == M.going then return errors.fail("unavailable", err.message) end -- the machine was not asked
  access.doubt(rec, err)
  if to.at then return errors.fail(err.code, err.message, { http_status = 502 }) end
  local late = err.code == "timeout" -- at a port it is the user's own server, whose fault he is to find
  return errors.fail(late and "timeout" or "unavailable", to.port and err.message or "instance agent unavailable", {
    http_status = late and 504 or 502,
  })
end

-- Accepts the WebSocket, so that its end can have a reason: a browser shows its page no status. -> true | nil, err
local function refuse(req, err, protocol)
  local held = req.http:hold { protocol = protocol }
  if not held then return nil, err end
  held:close(1011, err.message)
  return true
end

-- ---- WebSockets

local function open(req, o, held)
  o.ping = M.settings.ping
  if held then return held:proxy(o) end
  return req.http:proxy(o)
end

-- What we ask a machine for, as a span of the request; of a WebSocket until it is handed over.
local function spanned(fn)
  return function(req, rec, to, ...)
    local span = trace.begin(to.port and "port" or to.at and "screen" or "agent", req.http:method(), "client")
    local ok, err = fn(req, rec, to, ...)
    if span then span:finish(not ok and err or nil) end
    return ok, err
  end
end

M.relay = spanned(function(req, rec, to, held)
  local o, err = options(req, rec, to)
  local ok = o ~= nil
  if ok then ok, err = open(req, o, held) end
  if ok then
    local credential = req.actor and req.actor.credential
    if credential and credential.revoked then host_http.close_streams_of(credential.who, 1008, "signed out") end
    return true
  end
  if not held and (err.code == "invalid" or err.code == "unsupported") then
    return errors.fail("invalid", err.message, M.no_upgrade)
  end
  local _, said = told(rec, to, err)
  if held then
    held:close(1011, said.message)
    return true
  end
  if to.plain then return nil, said end
  return refuse(req, said, to.protocol)
end)

-- ---- HTTP

-- What is on a machine may be hostile to its own user: of what an agent says only this goes on, and nothing of it is a page.
local passed = {
  ["accept-ranges"] = true, ["cache-control"] = true, ["content-disposition"] = true, ["content-encoding"] = true,
  ["content-language"] = true, ["content-range"] = true, ["content-type"] = true, ["etag"] = true, ["last-modified"] = true,
  ["retry-after"] = true, ["allow"] = true,
}

-- A link to the next page of a list, and to nowhere else.
local function next_page(value) return value:match('^<%?[%w%%%._~&=/-]*>; rel="next"$') ~= nil end

local function agents(head)
  local out = { { "Content-Security-Policy", "default-src 'none'; sandbox" } }
  for _, h in ipairs(head.headers) do
    local name = h[1]:lower()
    if passed[name] or name == "link" and next_page(h[2]) then out[#out + 1] = h end
  end
  return head.status, out
end

M.pass = spanned(function(req, rec, to)
  local o, err = options(req, rec, to)
  if not o then return nil, err end
  o.body_max, o.idle, o.head = M.settings.body_max, M.settings.idle, M.settings.head
  local head
  head, err = req.http:forward(o)
  if not head then return told(rec, to, err) end
  if head.status == 401 and not to.port then -- our secret, not the caller's: he is signed in
    return errors.fail("unavailable", SECRET, { http_status = 502 })
  end
  local status, headers = (to.answer or agents)(head)
  local ok
  ok, err = req.http:give(status, headers)
  if not ok and req.http:id() then -- it was not begun
    return errors.fail("unavailable", err.message, { http_status = 502 })
  end
  return true
end)

return M
