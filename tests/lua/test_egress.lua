-- Requests that strangers name the URL of (http.request's `public`), and answers of which the beginning is enough (`cut`).
local http = require "http"
local t = require "t"

local served = 0
local server = assert(http.serve { host = "127.0.0.1", port = 0, handler = function(req)
  served = served + 1
  req:reply(200, ("x"):rep(100000))
end })
local host, port = server:addr()
local url = ("http://%s:%d/"):format(host, port)

t.test("what is not public is not connected to, however it is written", function()
  local accepted = server:stats().accepted
  for _, name in ipairs { "127.0.0.1", "localhost", "2130706433", "0x7f000001", "017700000001", "127.1", "0.0.0.0", "[::1]",
    "[::ffff:127.0.0.1]", "[::]", "[::127.0.0.1]" } do
    local answer, err = http.request { url = ("http://%s:%d/"):format(name, port), public = {} }
    t.eq(answer, nil, name); t.eq(err.code, "denied", name); t.match(err.message, "not public")
  end
  t.eq(server:stats().accepted, accepted)
  t.eq(served, 0)
end)

t.test("a connection that is open already is no way around", function()
  t.eq(assert(http.request { url = url }).status, 200)
  local accepted = server:stats().accepted
  local answer, err = http.request { url = url, public = { "10.0.0.0/8" } }
  t.eq(answer, nil); t.eq(err.code, "denied")
  t.eq(served, 1)
  t.eq(server:stats().accepted, accepted)
  for i = 1, 3 do
    t.eq(assert(http.request { url = url, public = { "127.0.0.0/8" } }).status, 200)
    t.eq(served, 1 + i)
  end
  t.eq(server:stats().accepted, accepted + 1, "what may be reached is reached by one connection")
end)

t.test("an answer is cut where it is long enough", function()
  local answer = assert(http.request { url = url, max_body = 10, cut = true })
  t.eq(answer.status, 200); t.eq(answer.body, ("x"):rep(10))
  t.eq(#assert(http.request { url = url, max_body = 100000, cut = true }).body, 100000)
  local none, err = http.request { url = url, max_body = 10 }
  t.eq(none, nil); t.eq(err.code, "limit")
end)

t.test("what is no list of ranges raises", function()
  for _, public in ipairs { { "x" }, { 1, {} }, "10.0.0.0/8", { "10.0.0.1/8" } } do
    t.raises(function() http.request { url = url, public = public } end, "public")
  end
end)

server:close()
return t.done()
