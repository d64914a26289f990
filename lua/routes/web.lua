-- The dashboard's addresses. What a path beneath /dashboard shows, and whether somebody is signed in, is the page's matter
-- (web/src/pages/routes.ts). Static, so it is not counted with requests.

local app = require "app"
local web = require "web"

local function static(o)
  o.open, o.rate, o.others, o.group = true, false, true, "web"
  return o
end

local function page(req) return web.page(req.http) end

for _, path in ipairs {
  "/", "/auth/login", "/help/claude", "/docs/api", "/dashboard", "/dashboard/{page}", "/dashboard/{page}/{id}",
  "/dashboard/admin", "/dashboard/admin/{page}", "/dashboard/admin/{page}/{id}", -- as the router takes a word before a {value}
} do
  app.get(path, static { does = "The dashboard", gives = { [200] = "text/html", [304] = false } }, page)
end

app.get("/assets/{file}", static {
  does = "A file of the dashboard", gives = { [200] = "*/*", [304] = false }, fails = { 404 },
}, function(req) return web.asset(req.http, req.id) end)
