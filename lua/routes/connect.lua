-- What people's own computers fetch: scripts, so that every error is one, too. GET /connect.sh answers 200 to all who ask,
-- for `curl -f ... | sh` would show them nothing else.

local app = require "app"
local connect = require "connect"
local errors = require "errors"
local rights = require "rights"
local shell = require "shell"
local sys = require "sys"
local users = require "accounts.users"

local DEFAULT_URL = "http://localhost:8080"
local headers = { ["Content-Type"] = "text/x-shellscript; charset=utf-8", ["Cache-Control"] = "no-store" }

local function base_url() return app.base_url or DEFAULT_URL end

-- Who asks, and for whose machine. -> actor, owner or nil (his own) | nil, err
local function asked_for(http)
  local actor, err = app.authenticate(http)
  if not actor then
    if err.message == "authentication required" then err.message = "missing authentication or user_id parameter" end
    return nil, err
  end
  local ok
  ok, err = rights.allow(actor, { scope = "instances:connect", object = "instance" })
  if not ok then return nil, err end
  local user_id = app.query(http, "user_id")
  if not user_id then return actor end
  if actor.credential.kind ~= "key" then return errors.fail("denied", "user_id is for the admin key alone") end
  local user = users.find(user_id)
  if not user then return errors.fail("invalid", "invalid user_id parameter") end
  return actor, user.id
end

local function connect_script(http)
  local actor, owner = asked_for(http)
  if not actor then return shell.failure(owner.message) end
  local key = app.query(http, "instance")
  local rec, err = connect.choose(actor, owner, key ~= "" and key or nil)
  if not rec then return shell.failure(err.message) end
  return connect.script(rec, base_url())
end

local script = { [200] = "text/x-shellscript" }

app.get("/connect.sh", {
  open = true, does = "A shell script that connects the caller's terminal to a machine",
  more = 'See "Scripts". 200 always: an error is a script that says so.',
  query = { instance = { "string", about = "Machine" }, user_id = { "string", about = "Account; the operator's key alone" } },
  gives = script,
}, function(req) return 200, connect_script(req.http), headers end)

-- A script that we carry, with this server's address in the line that has one.
local function carried(name, variable)
  local text = sys.carried(name)
  return function()
    local line = variable .. "=" .. shell.quote(base_url())
    local out, n = text:gsub("\n" .. variable .. "=[^\n]*", function() return "\n" .. line end, 1)
    assert(n == 1, name .. " has no line for the server's address")
    return 200, out, headers
  end
end

app.get("/cli/claude-cloud", { open = true, does = "The tool for people's own computers", gives = script },
  carried("claude-cloud.sh", "default_url"))
app.get("/install.sh", { open = true, does = "A shell script that installs it", gives = script },
  carried("install.sh", "base_url"))
