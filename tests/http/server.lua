-- The server that the tests of tests/http talk to.
--
--   cchost tests/http/server.lua [LIMIT=NUMBER ...]
--
-- Prints "listening PORT SOCKET"; GET /quit drains it and ends the process, whose exit code then says whether
-- anything was left open.

local http = require "http"
local sys = require "sys"
local task = require "task"

local limits, words = {}, {}
local trusted = { "127.0.0.0/8", "unix" }
for _, a in ipairs { ... } do
  local name, value = a:match("^([%w_]+)=(.+)$")
  if tonumber(value) then limits[name] = tonumber(value) else words[name] = value end
end

local finished = task.signal()
local server
local routes = {}

routes["/"] = function(req) req:reply(200, '{"ok":true}') end

-- What arrived, so that a test sees which request was understood as what.
routes["/echo"] = function(req)
  local body, err = req:body()
  if not body then return req:reply(err.code == "limit" and 413 or err.code == "timeout" and 408 or 400, tostring(err)) end
  req:reply(200, body, { ["content-type"] = "application/octet-stream" })
end

routes["/small"] = function(req)
  local body, err = req:body(10)
  req:reply(body and 200 or 413, body or tostring(err))
end

-- Refuses the body, but only after /let_go.
local refused, let_go = 0, task.signal()
routes["/late_refusal"] = function(req)
  local _, err = req:body(10)
  refused = refused + 1
  let_go:wait(60)
  req:reply(413, tostring(err))
end
routes["/refused"] = function(req) req:reply(200, tostring(refused)) end

-- Begins a reply that does not fit into the buffers while the body still comes, then wants the rest of the body.
local hoards, hoarded = 0, nil
routes["/hoard"] = function(req)
  assert(req:read())
  req:start(200, {})
  hoards = hoards + 1
  req:write(("x"):rep(20000000))
  local n = 0
  local bytes, err
  repeat
    bytes, err = req:read()
    n = n + #(bytes or "")
  until not bytes
  hoarded = err and err.code or n
  req:write("end")
  req:finish()
end
routes["/hoards"] = function(req) req:reply(200, ('{"began":%d,"read":"%s"}'):format(hoards, tostring(hoarded))) end

routes["/let_go"] = function(req)
  let_go:fire()
  req:reply(200, "{}")
end

-- The body as it comes: how many bytes, and their sum, so that a test knows that none was lost or doubled.
routes["/read"] = function(req)
  local n, sum, max = 0, 0, tonumber(req:query() or "")
  while true do
    local bytes, err = req:read(max or 1e9)
    if not bytes then
      if err then return req:reply(err.code == "limit" and 413 or 400, err.code) end
      return req:reply(200, ("%d %d"):format(n, sum))
    end
    n = n + #bytes
    for i = 1, #bytes, 997 do sum = (sum + bytes:byte(i)) % 65521 end
    if n % 5 == 0 then task.sleep(0.001) end -- a slow reader
  end
end

-- /sized?promised,written
routes["/sized"] = function(req)
  local promised, written = (req:query() or ""):match("^(%d+),(%d+)$")
  req:start(200, {}, tonumber(promised))
  req:write(("x"):rep(tonumber(written)))
  req:finish()
end

routes["/unread"] = function(req) req:reply(200, "did not look") end
routes["/nobody"] = function(req) req:reply(204) end
routes["/raise"] = function() error("a fault on purpose") end
routes["/silent"] = function() end

routes["/info"] = function(req)
  local h = req:headers()
  req:reply(200, table.concat({ req:method(), req:path(), tostring(req:query()), req:version(), req:remote(), req:id(),
    tostring(h["x-test"]) }, "|"), { ["Content-Type"] = "text/plain", ["Set-Cookie"] = { "a=1", "b=2" } })
end

routes["/secure"] = function(req) req:reply(200, tostring(req:secure())) end

routes["/sleep"] = function(req)
  task.sleep(tonumber(req:query()) or 0.2)
  req:reply(200, req:gone() and "gone" or "here")
end

routes["/stream"] = function(req)
  local n, size = (req:query() or "10,10"):match("(%d+),(%d+)")
  req:start(200, { ["content-type"] = "text/plain" })
  for _ = 1, tonumber(n) do
    local ok, err = req:write(("x"):rep(tonumber(size)))
    if not ok then
      io.stderr:write("stream: ", tostring(err), "\n")
      break
    end
  end
  req:finish()
end

routes["/big"] = function(req) req:reply(200, ("y"):rep(tonumber(req:query()))) end
routes["/split"] = function(req) req:reply(200, "x", { ["x-evil"] = "a\r\nset-cookie: b" }) end
routes["/framing"] = function(req) req:reply(200, "x", { ["Content-Length"] = "5" }) end
routes["/twice"] = function(req)
  req:reply(200, "first")
  assert(req:reply(200, "second") == false and req:path() == nil and req:gone())
end
routes["/override"] = function(req) req:reply(200, "x", { ["x-frame-options"] = "SAMEORIGIN" }) end

routes["/ws"] = function(req)
  local ws = req:websocket { protocol = "tty", max_message = 1000000, ping = limits.ping }
  if not ws then return end
  while true do
    local data, kind = ws:recv()
    if not data then return end
    if data == "close me" then ws:close(4001, "as you wish") end
    if data == "flood" then
      for _ = 1, 2000 do
        if not ws:send(("z"):rep(65536), "binary") then break end
      end
    end
    ws:send(data, kind)
  end
end

routes["/proxy"] = function(req)
  local path = req:query() and "/" .. req:query() or "/ws"
  local ok, err = req:proxy { unix = words.backend, path = path, id = "machine", headers = { ["X-Test"] = "ours" },
    ping = limits.ping }
  if not ok then req:reply(err.code == "timeout" and 504 or err.code == "invalid" and 400 or 502, tostring(err)) end
end

-- Proxies only once the client has ended his side.
routes["/proxy_late"] = function(req)
  while not req:gone() do task.sleep(0.01) end
  return routes["/proxy"](req)
end

-- Proxies only after /let_go, holding the client until then.
routes["/hold"] = function(req)
  local held, err = req:hold { id = "machine", ping = limits.ping }
  if not held then return req:reply(502, tostring(err)) end
  let_go:wait(60)
  local ok, e = held:proxy { unix = words.backend, path = "/ws", headers = { ["X-Test"] = "ours" } }
  if not ok then io.stderr:write("hold: ", tostring(e), "\n") end
end

-- Passes the request on, then answers by itself.
routes["/change_of_mind"] = function(req)
  req:forward { unix = words.backend, path = "/x" }
  req:start(200, {})
  req:finish()
  let_go:wait(60)
end

-- As much as is taken without waiting, and the close.
local closing = "no"
routes["/ws_full"] = function(req)
  local ws = req:websocket {}
  if not ws then return end
  local n, before = 0, -1
  local sender = task.spawn(function()
    while ws:send(("z"):rep(65536), "binary") do n = n + 1 end
  end)
  while n ~= before or n < 32 do -- less is always taken
    before = n
    task.sleep(0.3)
  end
  sender:cancel("enough")
  sender:join()
  ws:close(1000, "all of it")
  closing = tostring(n)
  ws:recv()
end
routes["/closing"] = function(req) req:reply(200, closing) end

-- Begins to drain; what has begun goes on.
routes["/drain"] = function(req)
  req:reply(200, "{}")
  task.spawn(function()
    server:drain(20, true)
    finished:fire()
  end)
end

routes["/streams"] = function(req)
  local out = {}
  for i, s in ipairs(http.streams()) do
    out[i] = ('{"id":"%s","in":%d,"out":%d,"typed":%d}'):format(s.id, s.from_client, s.from_machine, s.typed)
  end
  req:reply(200, "[" .. table.concat(out, ",") .. "]")
end

routes["/close_streams"] = function(req) req:reply(200, tostring(http.close_streams("machine", 4009, "stopped"))) end

local function unescape(s) return (s:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)) end

-- /fetch?url=..&timeout=..&max_body=..&cancel=seconds: what http.request says of it
routes["/fetch"] = function(req)
  local o = {}
  for k, v in (req:query() or ""):gmatch("([^&=]+)=([^&]*)") do o[k] = unescape(v) end
  local work = task.spawn(function()
    local a, err = http.request { url = o.url, unix = o.unix, ca = o.ca, method = o.method, body = o.body,
      timeout = tonumber(o.timeout) or 5, max_body = tonumber(o.max_body), headers = { ["X-Test"] = "1", ["X-Empty"] = "" } }
    if not a then return "err " .. err.code end
    return "ok " .. a.status .. " " .. #a.body .. " " .. tostring(a.headers["x-back"])
  end)
  if o.cancel then
    task.sleep(tonumber(o.cancel))
    work:cancel("the test says so")
  end
  local text, err = work:join()
  req:reply(200, text or tostring(err), { ["content-type"] = "text/plain" })
end

routes["/stats"] = function(req)
  local out = {}
  for k, v in pairs(server:stats()) do out[#out + 1] = ('"%s":%d'):format(k, v) end
  req:reply(200, "{" .. table.concat(out, ",") .. "}")
end

-- /reload?cert=..&key=..: what server:tls_reload says of it
routes["/reload"] = function(req)
  local o = {}
  for k, v in (req:query() or ""):gmatch("([^&=]+)=([^&]*)") do o[k] = v end
  local ok, err = server:tls_reload { { cert = o.cert, key = o.key } }
  req:reply(ok and 200 or 409, tostring(ok or err))
end

routes["/quit"] = function(req)
  req:reply(200, "{}")
  finished:fire()
end

local socket = words.socket
if not socket then
  socket = os.tmpname()
  os.remove(socket)
end
local err
server, err = http.serve {
  host = words.host or "127.0.0.1", port = 0, unix = socket, limits = limits, trusted = trusted,
  tls = words.cert and { { cert = words.cert, key = words.key } },
  headers = { ["X-Frame-Options"] = "DENY", ["X-Content-Type-Options"] = "nosniff" },
  handler = function(req)
    local route = routes[req:path()]
    if route then return route(req) end
    req:reply(404, '{"error":"no such route","code":"not_found"}')
  end,
}
if not server then
  io.stderr:write(tostring(err), "\n")
  return 1
end
local _, port = server:addr()
sys.stdout(("listening %d %s\n"):format(port, socket))
finished:wait(600)
local clean = server:drain(limits.drain or 5)
server:close()
return clean and 0 or 3
