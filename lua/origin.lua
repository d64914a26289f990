-- Which web pages may speak for a browser's user: those of BASE_URL and FRONTEND_URL, and no other.
--
-- A browser sends the session's cookie by itself, so a request that changes something and came with the cookie alone
-- must prove that a page of ours sent it (Sec-Fetch-Site, Origin, or Referer). WebSockets are not bound by CORS, so their
-- Origin is looked at whenever there is one. CORS answers are for exactly FRONTEND_URL.

local errors = require "errors"

local M = {}

local base, front -- "https://host[:port]", or nil

local function origin_of(url) return url and url:match("^(https?://[^/?#]+)") end

-- urls as the settings have them, or nil
function M.setup(base_url, frontend_url)
  base, front = origin_of(base_url), origin_of(frontend_url)
end

-- The origin at which the client reached us, when no BASE_URL says it.
local function own(http)
  return base or ("%s://%s"):format(http:secure() and "https" or "http", (http:header("host") or ""):lower())
end

-- Is this the origin of one of our pages?
function M.is_ours(http, origin)
  origin = origin:lower()
  return origin == own(http) or (front ~= nil and origin == front)
end

local function refuse() return errors.fail("denied", "refused: the request comes from a page of another site") end

-- For a request that came with a cookie: proof that a page of ours sent it, where it changes something. -> true | nil, err
function M.check_change(http)
  local method = http:method()
  if method == "GET" or method == "HEAD" then return true end
  local origin = http:header("origin")
  if origin then
    if M.is_ours(http, origin) then return true end
    return refuse()
  end
  if http:header("sec-fetch-site") == "same-origin" then return true end
  local referer = origin_of(http:header("referer"))
  if referer and M.is_ours(http, referer) then return true end
  return refuse()
end

-- For a WebSocket. A cookie needs an Origin of ours; whatever else is shown is refused only from a page of another site.
function M.check_upgrade(http, actor)
  local origin = http:header("origin")
  local fits
  if origin then fits = M.is_ours(http, origin) else fits = not (actor and actor.by_cookie) end
  if fits then return true end
  return refuse()
end

-- The CORS headers of an answer, or nil.
function M.cors(http)
  if not front or front == base then return nil end
  local origin = http:header("origin")
  if origin ~= front then return { Vary = "Origin" } end
  return {
    ["Access-Control-Allow-Origin"] = front, ["Access-Control-Allow-Credentials"] = "true", Vary = "Origin",
    ["Access-Control-Expose-Headers"] =
      "ETag, Idempotency-Replayed, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
        .. "X-Request-Id",
  }
end

function M.is_preflight(http)
  return http:header("origin") ~= nil and http:header("access-control-request-method") ~= nil
end

-- The answer to a preflight: methods as the route has them. Another origin gets no permission, and no error.
function M.preflight(http, methods)
  local headers = M.cors(http) or { Vary = "Origin" }
  if headers["Access-Control-Allow-Origin"] then
    headers["Access-Control-Allow-Methods"] = table.concat(methods, ", ")
    headers["Access-Control-Allow-Headers"] =
      "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID"
    headers["Access-Control-Max-Age"] = "86400"
  end
  return 204, "", headers
end

return M
