-- What listens at a machine's ports, through us: for its owner beneath /instances/{id}/ports/{port}/, and by links that he
-- makes (machines/previews.lua), as paths of this server or, with PREVIEW_URL, as a host each.

local agent = require "machines.agent"
local app = require "app"
local errors = require "errors"
local links = require "routes.links"
local names = require "openapi.names"
local page = require "page"
local ports = require "machines.ports"
local previews = require "machines.previews"
local query = require "query"
local store = require "store"
local wake = require "machines.wake"

-- ---- passing on

local function port_of(text)
  local n = text:match("^[1-9]%d*$") and #text <= 5 and tonumber(text)
  if n and n <= 65535 then return n end
  return errors.fail("invalid", "port: a number from 1 to 65535 expected", { field = "port" })
end

local function is_browser(http)
  return http:method() == "GET" and (http:header("accept") or ""):find("text/html", 1, true) ~= nil
end

local AGAIN = 2 -- seconds

-- A browser's user is shown that it starts, and asks again by himself.
local function starting(req, rec)
  local begun, err = rec, nil
  if wake.asleep(rec) then begun, err = wake.begin(req.actor, rec) end
  if not begun then
    return page.answer(err.http_status or errors.status[err.code] or 500, "The machine is stopped",
      ("<p>%s</p>"):format(page.escape(err.message)))
  end
  local status, body, headers = page.answer(503, "The machine is starting",
    ("<p>It is %s. This page asks again every %d seconds.</p>"):format(page.escape(begun.status), AGAIN))
  headers["Retry-After"], headers.Refresh = tostring(AGAIN), tostring(AGAIN)
  return status, body, headers
end

-- Another site's page could start what costs, by a mere link that its reader follows.
local function by_stranger(req)
  return req.actor.by_cookie and req.http:header("sec-fetch-site") == "cross-site"
end

local function up(rec) return rec.status == "RUNNING" and not wake.asleep(rec) end

-- place: as ports.to has it; wakes: whether it may be started.
local function serve(req, rec, place, wakes)
  local http = req.http
  if not up(rec) and wakes and is_browser(http) and (wake.asleep(rec) or rec.status == "STARTING") then
    return starting(req, rec)
  end
  local may, err = ports.may_ask(http, place)
  if not may then return nil, err end
  rec, err = wake.reach(req.actor, rec.id, { wake = wakes, gone = function() return http:gone() end })
  if not rec then return nil, err end
  local to = ports.to(req, place)
  if http:header("upgrade") and http:wants_upgrade() then return agent.relay(req, rec, to) end
  return agent.pass(req, rec, to)
end

-- "/a/b" behind so many segments of the raw path, or nil: not even a "/".
local function behind(http, n)
  return http:raw_path():match("^" .. ("/[^/]+"):rep(n) .. "(/.*)$")
end

local function with_slash(http)
  local text = http:query()
  return 308, "", { Location = http:raw_path() .. "/" .. (text and "?" .. text or "") }
end

-- ---- its owner's way

local ours = { wake = true }
-- any: what listens there answers as it likes
local any = { [101] = false, [200] = "*/*" }
local function owners(o)
  o.scope, o.object, o.gives, o.others, o.passes = "instances:connect", "instance", o.gives or any, true, true
  o.query, o.fails = { wake = names.wake }, { 400, 402, 409, 502, 504 }
  return o
end

local function own(req)
  local port, err = port_of(req.second)
  if not port then return nil, err end
  local path = behind(req.http, 4)
  if not path then return with_slash(req.http) end
  local rec = store.get("instance", req.id)
  if not rec then return errors.fail("not_found", "no such machine") end
  local wakes = app.query(req.http, "wake") ~= "false" and not by_stranger(req)
  local place = {
    port = port, path = path, query = query.without(req.http:query(), ours),
    prefix = req.http:raw_path():match("^/[^/]+/[^/]+/[^/]+/[^/]+"), sandbox = true,
  }
  return serve(req, rec, place, wakes)
end

for _, method in ipairs(app.methods) do
  app[method:lower()]("/instances/{id}/ports/{port}/*", owners {
    upgrade = true, ticket = false, rate = false, body = "raw", does = "What listens at a port, by HTTP and WebSocket",
    more = 'See "Ports".',
  }, own)
end
app.get("/instances/{id}/ports/{port}", owners { does = "The same, with a `/`", gives = { [308] = false } }, own)

-- ---- links

links.routes("/instances/{id}/ports/{port}/link", {
  what = function(req) return port_of(req.second) end,
  create = {
    does = "A link to that port, for whoever has it", body = previews.fields, example = { hours = 2, wake = false },
  },
})

-- By a link. Nothing that a request shows says who asks, but the link.
local function by_link(http, token, path, prefix)
  local link, rec, actor = previews.find(token, "port")
  if not link then return nil, rec end
  local place = { port = link.port, path = path, query = http:query(), prefix = prefix, sandbox = prefix ~= "", link = true }
  if place.sandbox and ports.preflight(http) then return ports.preflight(http) end
  return serve({ http = http, actor = actor, id = rec.id }, rec, place, link.wake)
end

local function open(o)
  o.open, o.rate, o.body, o.others, o.passes = true, false, "raw", true, true
  o.when = function() return previews.url == nil end
  return o
end
local function by_path(req)
  local path = behind(req.http, 2)
  if not path then return with_slash(req.http) end
  return by_link(req.http, req.id, path, req.http:raw_path():match("^/[^/]+/[^/]+"))
end

for _, method in ipairs(app.methods) do
  app[method:lower()]("/preview/{token}/*", open {
    does = "What listens at a port, by a link", more = "Not there with `PREVIEW_URL`.", gives = any, fails = { 404, 409, 502,
    504 },
  }, by_path)
end
app.get("/preview/{token}", open { does = "The same, with a `/`", gives = { [308] = false } }, by_path)

-- With PREVIEW_URL: the host is the link, and nothing else of ours is there.
function app.by_host(http)
  local parent = previews.url and previews.url:match("^https?://(.+)$")
  local host = parent and (http:header("host") or ""):lower()
  if not host or host:sub(-#parent - 1) ~= "." .. parent then return false end
  return by_link(http, host:sub(1, -#parent - 2), http:raw_path(), "")
end
