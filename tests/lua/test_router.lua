-- Routes by method and path: values, what takes the rest of a path, methods that are not there.

local router = require "router"
local t = require "t"

local function of(list)
  local r = router.new()
  for _, pattern in ipairs(list) do
    local method, path = pattern:match("^(%u+) (.+)$")
    r:add(method, path, { open = true }, pattern)
  end
  return function(method, path)
    local route, a, b = r:find(method, path)
    if route then return table.concat({ route.handler, a, b }, " ") end
    return a and "other methods: " .. table.concat(a, ",") or "nothing"
  end
end

t.test("values, a last slash, and methods", function()
  local find = of { "GET /a", "GET /a/{id}", "POST /a/{id}", "GET /a/{id}/b/{c}" }
  t.eq(find("GET", "/a/"), "GET /a")
  t.eq(find("HEAD", "/a/x"), "GET /a/{id} x")
  t.eq(find("GET", "/a/x/b/y"), "GET /a/{id}/b/{c} x y")
  t.eq(find("DELETE", "/a/x"), "other methods: GET,POST")
  for _, path in ipairs { "/b", "/a//x", "//a", "/a/x/c", "/a/x/b" } do t.eq(find("GET", path), "nothing", path) end
end)

t.test("a star takes whatever follows, and less than what is there without it", function()
  local find = of { "GET /a/{id}/p/{n}/*", "GET /a/{id}/p/{n}", "POST /a/{id}/p/{n}/link", "PUT /a/{id}/p/{n}/*" }
  for _, rest in ipairs { "/", "/b", "/b/c/d/", "//", "//x", "/link", "/b//c" } do
    t.eq(find("GET", "/a/i/p/7" .. rest), "GET /a/{id}/p/{n}/* i 7", rest)
  end
  t.eq(find("GET", "/a/i/p/7"), "GET /a/{id}/p/{n} i 7")
  t.eq(find("POST", "/a/i/p/7/link"), "POST /a/{id}/p/{n}/link i 7")
  t.eq(find("PUT", "/a/i/p/7/link"), "PUT /a/{id}/p/{n}/* i 7")
  t.eq(find("POST", "/a/i/p/7/other"), "other methods: GET,PUT")
end)

return t.done()
