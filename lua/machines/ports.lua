-- What passes between a client and a port of a machine: whatever its user serves there, foreign to us. Requests lose what
-- proves to us who asks; answers lose what would speak for our origin, and, where they are shown on it, are kept in a
-- sandbox (docs/security.md).
--
--   ports.to(req, {port =, path = of the request there, query =, prefix = "/instances/ID/ports/N", sandbox = bool, link = bool})
--     -> `to` as agent.pass and agent.relay have it
--   ports.may_ask(http, the same) -> true | nil, err
--   ports.preflight(http) -> status, body, headers of what a page in the sandbox asks first, or nil

local errors = require "errors"

local M = {}

-- "session" is ours, on whichever of our origins it was sent.
local function cookies(header)
  if not header then return nil end
  local kept = {}
  for pair in header:gmatch("[^;]+") do
    pair = pair:match("^%s*(.-)%s*$")
    if pair ~= "" and pair:match("^([^=]*)") ~= "session" then kept[#kept + 1] = pair end
  end
  return kept[1] and table.concat(kept, "; ") or nil
end

local function own_origin(http)
  return ("%s://%s"):format(http:secure() and "https" or "http", (http:header("host") or ""):lower())
end

-- Where the server there believes that it is, an Origin of the page that it made is its own.
local function origin(http, authority)
  local said = http:header("origin")
  if not said then return nil end
  return said:lower() == own_origin(http) and "http://" .. authority or said
end

local function request_headers(http, authority, prefix)
  return {
    ["X-Forwarded-For"] = http:remote(), ["X-Forwarded-Proto"] = http:secure() and "https" or "http",
    ["X-Forwarded-Host"] = http:header("host"), ["X-Forwarded-Prefix"] = prefix ~= "" and prefix or nil,
    Cookie = cookies(http:header("cookie")), Origin = origin(http, authority),
  }
end

-- These speak for all of an origin, and the origin is ours, or that of all previews' host.
local dropped = {
  ["strict-transport-security"] = true, ["public-key-pins"] = true, ["clear-site-data"] = true, ["alt-svc"] = true,
  ["service-worker-allowed"] = true, ["nel"] = true, ["report-to"] = true, ["reporting-endpoints"] = true,
  ["origin-agent-cluster"] = true, ["accept-ch"] = true, ["critical-ch"] = true, ["set-login"] = true,
  ["sec-session-registration"] = true, ["secure-session-registration"] = true, ["use-as-dictionary"] = true,
}

local SANDBOX = "sandbox allow-downloads allow-forms allow-modals allow-pointer-lock allow-popups allow-scripts"

-- The machine's own addresses, as what listens there may name itself.
local function machines_own(host, port)
  host = host:lower()
  local name, at = host:match("^(.-):(%d+)$")
  name, at = name or host, at or "80"
  return tonumber(at) == port and (name == "localhost" or name == "127.0.0.1" or name == "[::1]" or name == "0.0.0.0")
end

-- A place on the machine, as a client reaches it; others stay.
local function location(value, port, prefix, ours)
  local host, rest = value:match("^[hH][tT][tT][pP][sS]?://([^/?#]*)(.*)$")
  if host then
    if not machines_own(host, port) and host:lower() ~= ours then return value end
    value = rest:sub(1, 1) == "/" and rest or "/" .. rest
  end
  if value:sub(1, 1) ~= "/" or value:sub(1, 2) == "//" then return value end
  if value == prefix or value:sub(1, #prefix + 1) == prefix .. "/" then return value end
  return prefix .. value
end

-- A page in the sandbox has no origin, so that all that its scripts fetch is another's. By a link anybody may have it, anyway.
local function may_read(out, said)
  if not said then out[#out + 1] = { "Access-Control-Allow-Origin", "*" } end
end

function M.preflight(http)
  local method = http:header("access-control-request-method")
  if http:method() ~= "OPTIONS" or http:header("origin") ~= "null" or not method then return nil end
  return 204, "", {
    ["Access-Control-Allow-Origin"] = "*", ["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, PATCH, DELETE",
    ["Access-Control-Allow-Headers"] = http:header("access-control-request-headers"), ["Access-Control-Max-Age"] = "600",
  }
end

-- A worker of a whole origin's requests: where the origin is ours a machine has none. -> true | nil, err
function M.may_ask(http, o)
  if not o.sandbox or not http:header("service-worker") then return true end
  return errors.fail("denied", "no service worker is registered here: these pages have no origin of their own")
end

-- A cookie is for the port that sets it: beneath its prefix, at its host and no other, or it would reach every page of ours, and
-- other machines' ports. -> value of Set-Cookie, or nil: it would be taken for ours. One without a name is sent as it is.
local function set_cookie(value, prefix)
  local kept, path = {}, nil
  for part in value:gmatch("[^;]+") do
    local name, said = part:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    if not kept[1] then
      if not name or name == "" or name == "session" then return nil end
      kept[1] = part:match("^%s*(.-)%s*$")
    elseif name and name:lower() == "path" then
      path = said
    elseif not (name and name:lower() == "domain") then
      kept[#kept + 1] = part:match("^%s*(.-)%s*$")
    end
  end
  if not kept[1] then return nil end
  if path and path:sub(1, 1) == "/" then
    local inside = path == prefix or path:sub(1, #prefix + 1) == prefix .. "/"
    kept[#kept + 1] = "Path=" .. (inside and path or prefix .. path)
  end
  return table.concat(kept, "; ")
end

local function answer(head, o, ours)
  local out, cors = {}, false
  for _, h in ipairs(head.headers) do
    local name, value = h[1]:lower(), h[2]
    cors = cors or name == "access-control-allow-origin"
    if name == "location" or name == "content-location" then
      out[#out + 1] = { h[1], location(value, o.port, o.prefix, ours) }
    elseif name == "set-cookie" then
      local cookie = set_cookie(value, o.prefix)
      if cookie then out[#out + 1] = { h[1], cookie } end
    elseif not dropped[name] then
      out[#out + 1] = h
    end
  end
  if o.sandbox then out[#out + 1] = { "Content-Security-Policy", SANDBOX } end
  if o.sandbox and o.link then may_read(out, cors) end
  return head.status, out
end

function M.to(req, o)
  local http, authority = req.http, ("localhost:%d"):format(o.port)
  local ours = (http:header("host") or ""):lower()
  return {
    port = o.port, authority = authority, kind = "other", path = o.path .. (o.query and "?" .. o.query or ""),
    headers = request_headers(http, authority, o.prefix), answer = function(head) return answer(head, o, ours) end,
  }
end

return M
