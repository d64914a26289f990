-- /instances/{id}/: what the machine's agent answers (docs/agent.md). Here only who may, the way there, and waking it up
-- (machines/wake.lua); ?wake=false: a machine that is stopped is left so.

local access = require "machines.access"
local agent = require "machines.agent"
local app = require "app"
local errors = require "errors"
local names = require "openapi.names"
local query = require "query"
local store = require "store"
local terminal = require "machines.terminal"
local wake = require "machines.wake"

local ours = { token = true, wake = true } -- of the query: for us, and not for the agent

local function connect(options)
  options.scope, options.object = "instances:connect", "instance"
  return options
end

-- ?wake=true or false. -> bool or nil | nil, err
local function wish(req)
  local text = app.query(req.http, "wake")
  if text == nil or text == "true" then return true end
  if text == "false" then return false end
  return errors.fail("invalid", "wake: true or false expected", { field = "wake" })
end

-- What to ask the agent for: the path beneath the machine's, as it came, and the query without what is ours.
local function target(req, path)
  local rest = path or req.http:raw_path():match("^/instances/[^/]+(/.*)$")
  local text = query.without(req.http:query(), ours)
  return rest .. (text and "?" .. text or "")
end

-- ---- HTTP

local function pass(req)
  local wakes, err = wish(req)
  if wakes == nil then return nil, err end
  local rec
  rec, err = wake.reach(req.actor, req.id, { wake = wakes, gone = function() return req.http:gone() end })
  if not rec then return nil, err end
  if req.http:method() ~= "GET" then access.on_use(rec.id) end
  return agent.pass(req, rec, { path = target(req) })
end

local path = { "string", required = true, about = "Absolute beneath the root, or relative to it", example = "notes.txt" }
local folder = { "string", about = "The same; the root without it", example = "." }
local into = { "string", required = true, about = "A folder", example = "." }
local name = { "string", max = 64 }
local tar = { ["application/x-tar"] = false }

-- {method, path, what it does, what it gives, more = , query =, body = fields, takes =, example =}; docs/agent.md has the rest.
local passed = {
  { "GET", "/files", "The entries of a folder, by name", { "list", of = "FileEntry" }, query = {
    path = folder, after = { "string", about = "A name" }, limit = { "integer", min = 1, max = 10000, default = 1000 },
  } },
  { "GET", "/files/read", "A text, its first 1 MiB", "FileText", query = { path = path } },
  { "GET", "/files/download", "A file as it is, or a folder as a tar", "application/octet-stream", query = { path = path },
    more = "With `ETag` and ranges." },
  { "PUT", "/files", "The body becomes the file, whole or not at all", "FilePath", query = { path = path },
    takes = { ["application/octet-stream"] = false } },
  { "DELETE", "/files", "Removes a file, a link, an empty folder", "FilePath", query = {
    path = path, recursive = { "string", one_of = { "true", "false" }, about = "`true`: a folder with all that is in it" },
  } },
  { "POST", "/files/upload", "Unpacks a tar into a folder", "Unpacked", query = { path = into }, takes = tar },
  { "POST", "/files/folder", "Makes a folder, with those above it", "FilePath", status = 201,
    body = { path = { "string", required = true } }, example = { path = "a/b" } },
  { "POST", "/files/rename", "Moves a file or a folder", "FilePath", more = "Nothing that is there is replaced.",
    body = { from = { "string", required = true }, to = { "string", required = true } }, example = { from = "a/b", to = "a/c" } },
  { "GET", "/projects", "Folders that have a `.git`", { "list", of = "Project" } },
  { "POST", "/projects/clone", "Clones a repository", "Project", status = 201,
    body = { url = { "string", required = true }, branch = { "string" }, name = { "string" } },
    more = "With `Accept: application/x-ndjson` its progress as lines of JSON.",
    example = { url = "https://example.org/project.git" } },
  { "GET", "/sessions", "Sessions of its terminals", { "list", of = "TerminalSession" } },
  { "GET", "/sessions/{project}/conversations", "What Claude has kept of a project's conversations",
    { "list", of = "Transcript" } },
  { "POST", "/tabs", "Opens a tab", "Tab", example = { name = "build" }, body = {
    name = name, cwd = { "string" }, resume = { "boolean" }, conversationId = { "string", format = "uuid" },
  } },
  { "DELETE", "/tabs/{name}", "Closes a tab", "Tab" },
  { "GET", "/auth/status", "Whether Claude is signed in", "ClaudeStatus" },
  { "GET", "/ports", "What listens on it", { "list", of = "Port" } },
  { "GET", "/services", "What its agent keeps running", "Services" },
  { "POST", "/services", "Reads the files of its services anew", "Services" },
  { "POST", "/services/{name}/restart", "Begins a service anew", "Service" },
  { "GET", "/services/{name}/log", "What a service said last", "text/plain" },
}

-- Raw: the body goes on as it comes, and nothing in its headers is for us; nor is what else its query says.
for _, r in ipairs(passed) do
  local query_too = { wake = names.wake }
  for k, v in pairs(r.query or {}) do query_too[k] = v end
  app[r[1]:lower()]("/instances/{id}" .. r[2], connect {
    body = "raw", others = true, passes = true, does = r[3], more = r.more, query = query_too,
    gives = { [r.status or 200] = r[4] },
    fields = r.body, takes = r.takes, example = r.example, fails = { 400, 402, 409, 413, 502, 504 },
  }, pass)
end

-- ---- WebSockets

local REFUSED = { denied = 1008, payment = 1008, quota = 1008, state = 1008, unauthorized = 1008 }

-- Told in the terminal itself, where there is one, and as the reason of the end.
local function say_no(held, to, err)
  if to.say then held:say(to.say(err.message .. "\r\n")) end
  held:close(REFUSED[err.code] or 1011, err.message)
  return true
end

-- The machine sleeps, or is on its way: the client is let in at once, is told how it goes, and then passed through.
local function hold(req, to)
  local actor = req.actor
  local held, err = req.http:hold { protocol = to.protocol, id = req.id, who = actor.credential.who, kind = to.kind,
    ping = agent.settings.ping }
  if not held then
    if err.code == "invalid" or err.code == "unsupported" then return errors.fail("invalid", err.message, agent.no_upgrade) end
    return nil, err
  end
  local progress = to.say and function(sentence) held:say(to.say("\r\27[2K" .. sentence)) end
  local rec
  rec, err = wake.reach(actor, req.id, { progress = progress, gone = function() return held:gone() end })
  if held:gone() then return true end
  if progress then held:say(to.say("\r\27[2K")) end
  if not rec then return say_no(held, to, err) end
  return agent.relay(req, rec, to, held)
end

local function socket(where, options, make)
  options.upgrade, options.gives, options.fails = true, { [101] = false }, { 400, 402, 409, 502, 504 }
  app.get("/instances/{id}" .. where, connect(options), function(req)
    local wakes, err = wish(req)
    if wakes == nil then return nil, err end
    local to
    to, err = make(req)
    if not to then return nil, err end
    local rec = store.get("instance", req.id)
    if rec and (rec.status == "STARTING" or wakes and wake.asleep(rec)) then return hold(req, to) end
    rec, err = wake.reach(req.actor, req.id, { wake = wakes })
    if not rec then return nil, err end
    return agent.relay(req, rec, to)
  end)
end

local token = { "string", about = "A ticket, where no header can be sent" }

socket("/terminal", {
  does = "A terminal: WebSocket, subprotocol `tty`, ttyd's protocol", others = true, -- ttyd's clients add what they like
  more = "With `session` one that survives its connections; docs/terminal.md. Closes with 1008 or 1011 and a reason.", query = {
    session = { "string", max = 64, about = "Name of the session" }, from = { "integer", min = 0,
    about = "The first byte that is wanted" },
    client = { "string", about = "Who types" }, typed = { "integer", min = 0, about = "What was typed" },
    view = { "string", one_of = { "1" }, about = "To look on alone" }, wake = names.wake, token = token,
  },
}, function(req) return terminal.to(req.http:query()) end)

socket("/chat", {
  does = "A chat with Claude on the machine: WebSocket", more = "docs/chat.md.", query = { wake = names.wake, token = token },
  others = true,
}, function(req) return { path = target(req, "/chat"), kind = "chat" } end)
