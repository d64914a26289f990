-- /instances and what is beneath it.

local app = require "app"
local access = require "machines.access"
local credentials = require "accounts.credentials"
local decisions = require "idle.decisions"
local errors = require "errors"
local fields = require "machines.fields"
local host_http = require "http"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local policy = require "policy"
local prepaid = require "billing.prepaid"
local query = require "query"
local task = require "task"
local time = require "time"
local types = require "types"
local when = require "when"

-- What changes when the answer comes before the work is done: 202, and where to look.
local function moved(rec, done, op)
  if rec == nil then return nil, done end
  if done then return 200, rec, { ETag = ('"%d"'):format(rec.version) } end
  return 202, rec, { Location = "/operations/" .. op }
end

-- A handler that asks for something of a machine: fn(req, seconds to wait) as instances.move answers.
local function moving(fn)
  return function(req)
    local seconds, err = app.wait(req.http)
    if seconds == false then return nil, err end
    return moved(fn(req, seconds))
  end
end

-- What routes beneath one machine need.
local read = { scope = "instances:read", object = "instance" }
local function write(body) return { scope = "instances:write", object = "instance", body = body } end
local function connect(options)
  options.scope, options.object = "instances:connect", "instance"
  return options
end

-- Open terminals end with a reason, not with a cut.
local leaving = { delete = "the machine is being deleted", suspend = "the machine is being suspended" }
function instances.on_leaving(id, verb)
  host_http.close_streams(id, 1001, leaving[verb] or "the machine is being stopped")
end

app.get("/types", { scope = "instances:read" }, function()
  return 200, types.priced(policy.data("plans"), time.now())
end)

app.post("/instances", { scope = "instances:write", body = true }, function(req)
  local seconds, werr = app.wait(req.http)
  if seconds == false then return nil, werr end
  local rec, op = instances.create(req.actor, req.body)
  if not rec then return nil, op end
  if seconds then
    instances.operation(req.actor, op, seconds)
    rec = instances.get(req.actor, rec.id) or rec
  end
  return 201, rec, { Location = "/operations/" .. op, ETag = ('"%d"'):format(rec.version) }
end)

app.get("/instances", { scope = "instances:read" }, function(req)
  local limit, after = app.page(req.http)
  if not limit then return nil, after end
  if app.query(req.http, "at") then
    return errors.fail("invalid", "at: one machine is expected (GET /instances/{id}?at=); all: cchost at TIME instances",
      { field = "at" })
  end
  local page = instances.list(req.actor, after, limit)
  local headers
  if page.after then
    headers = { Link = ('</instances?limit=%d&after=%s>; rel="next"'):format(limit, page.after) }
  end
  return 200, "[" .. table.concat(page.texts, ",") .. "]", headers
end)

app.get("/instances/{id}", { scope = "instances:read", object = "history" }, function(req)
  local at = req.http:query() and app.query(req.http, "at")
  if at then
    local rec, err = instances.at(req.actor, req.id, at)
    if not rec then return nil, err end
    return 200, rec
  end
  if not req.text then return errors.fail("not_found", "no such machine") end
  return app.tagged(req.http, req.text)
end)

app.patch("/instances/{id}", write(fields.patch), function(req)
  local rec, err = instances.patch(req.actor, req.id, req.body)
  if not rec then return nil, err end
  return 200, rec, { ETag = ('"%d"'):format(rec.version) }
end)

app.delete("/instances/{id}", write(), moving(function(req, seconds)
  return instances.move(req.actor, req.id, "delete", seconds)
end))

for _, verb in ipairs { "stop", "start", "pause", "wake", "resume" } do
  app.post("/instances/{id}/" .. verb, write {}, moving(function(req, seconds)
    return instances.move(req.actor, req.id, verb, seconds)
  end))
end

app.post("/instances/{id}/suspend", write {}, moving(function(req, seconds)
  return instances.suspend(req.actor, req.id, seconds)
end))

app.post("/instances/{id}/extend", write { hours = { "integer", required = true, min = 1, max = 87600 } }, function(req)
  local rec, err = instances.extend(req.actor, req.id, req.body.hours)
  if not rec then return nil, err end
  rec.notice = prepaid.notice(rec)
  return 200, rec, { ETag = ('"%d"'):format(rec.version) }
end)

app.post("/instances/{id}/resize", write { type = { "string", required = true, max = 64 } }, moving(function(req, seconds)
  return instances.resize(req.actor, req.id, req.body.type, seconds)
end))

app.post("/instances/{id}/volumes", write(fields.volume), moving(function(req, seconds)
  return instances.attach(req.actor, req.id, req.body, seconds)
end))

app.delete("/instances/{id}/volumes/{volume}", write(), moving(function(req, seconds)
  return instances.detach(req.actor, req.id, req.second, seconds)
end))

-- ---- snapshots of the machine

app.get("/instances/{id}/snapshots", read, function(req)
  local list, err = instances.snapshots(req.actor, req.id)
  if not list then return nil, err end
  return 200, list
end)

app.post("/instances/{id}/snapshots", write(fields.snapshot), function(req)
  local seconds, werr = app.wait(req.http)
  if seconds == false then return nil, werr end
  local name = req.body.name or time.rfc3339(time.now()):gsub("%D", ""):sub(1, 14)
  local rec, done, op = instances.snapshot(req.actor, req.id, name, seconds)
  if not rec or not done then return moved(rec, done, op) end
  for _, s in ipairs(rec.snapshots or {}) do
    if s.name == name then return 201, s end
  end
  return errors.fail("conflict", "the snapshot is gone already")
end)

app.delete("/instances/{id}/snapshots/{snapshot}", write(), moving(function(req, seconds)
  return instances.delete_snapshot(req.actor, req.id, req.second, seconds)
end))

app.post("/instances/{id}/snapshots/{snapshot}/restore", write {}, moving(function(req, seconds)
  return instances.restore(req.actor, req.id, req.second, seconds)
end))

-- Runs fn in a task of its own, which is cancelled when the client goes.
local function while_asked(http, fn)
  local done = task.signal()
  local h = task.spawn(function()
    local value, err = fn()
    done:fire()
    return value, err
  end)
  while not h:done() and not http:gone() do done:wait(0.5) end
  if not h:done() then h:cancel("the client has gone") end
  return h:join()
end

local exec_fields = {
  cmd = { "list", required = true, max = 1000, of = { "string", max = 131072 } },
  timeout = { "integer", min = 1, max = 3600 },
}

app.post("/instances/{id}/exec", connect { body = exec_fields, effect_outside = true }, function(req)
  if #req.body.cmd == 0 then return errors.fail("invalid", "cmd: at least the program's name expected", { field = "cmd" }) end
  local result, err = while_asked(req.http, function()
    return access.exec(req.actor, req.id, req.body.cmd, req.body.timeout)
  end)
  if not result then return nil, err end
  result.stdout, result.stderr = json.text(result.stdout), json.text(result.stderr)
  return 200, result
end)

app.get("/instances/{id}/logs", read, function(req)
  local text, err = access.logs(req.actor, req.id)
  if not text then return nil, err end
  return 200, json.text(text), { ["Content-Type"] = "text/plain; charset=utf-8" }
end)

app.get("/instances/{id}/stats", read, function(req)
  local activity, err = access.activity(req.actor, req.id)
  if not activity then return nil, err end
  return 200, activity
end)

-- "Busy until T because R": not stopped for idleness meanwhile.
app.post("/instances/{id}/lease", write(leases.fields), function(req)
  local lease, err = leases.take(req.actor, req.id, req.body)
  if not lease then return nil, err end
  return 201, lease
end)

app.get("/instances/{id}/leases", read, function(req) return 200, leases.of(req.id) end)

app.delete("/instances/{id}/leases/{lease}", write(), function(req)
  local ok, err = leases.release(req.actor, req.id, req.second)
  if not ok then return nil, err end
  return 200, { message = "released" }
end)

-- A time in the query. -> unix ms or nil | nil, err
local function time_of(http, name)
  local text = app.query(http, name)
  if not text then return nil end
  local ms, err = when.parse(text, time.now())
  if not ms then return errors.fail("invalid", name .. ": " .. err.message, { field = name }) end
  return ms
end


-- What is kept of the policies' decisions about a machine; ?at=: one of them, taken again and explained.
app.get("/instances/{id}/decisions", { scope = "instances:read", object = "history" }, function(req)
  local limit, after = app.page(req.http)
  if not limit then return nil, after end
  local times = {}
  for _, name in ipairs { "at", "since", "until" } do
    local ms, err = time_of(req.http, name)
    if err then return nil, err end
    times[name] = ms
  end
  local kind = app.query(req.http, "kind")
  local fault = kind and decisions.kind_fault(kind)
  if fault then return errors.fail("invalid", "kind: " .. fault, { field = "kind" }) end
  if times.at then
    local one, err = decisions.at(req.id, times.at, kind, req.actor)
    if not one then return nil, err end
    return 200, one
  end
  local rows, more = decisions.list(req.id, {
    since = times.since, until_ms = times["until"], after = after, limit = limit, kind = kind,
  })
  if not rows then return nil, more end
  local out = json.array {}
  for i, row in ipairs(rows) do
    out[i] = { kind = row.kind, name = row.name, from = time.rfc3339(row.from), to = time.rfc3339(row.to), count = row.count,
      verdict = row.verdict, reason = row.reason, generation = row.generation, event = row.event }
  end
  local headers
  if more then
    local link = ("/instances/%s/decisions?limit=%d&after=%s"):format(req.id, limit, more)
    if times.since then link = link .. "&since=" .. query.encode(time.rfc3339(times.since)) end
    if kind then link = link .. "&kind=" .. kind end
    headers = { Link = ("<%s>; rel=\"next\""):format(link) }
  end
  return 200, out, headers
end)

-- For browsers, which can give a WebSocket no header: good once, for a minute, as ?token= at what is beneath this machine.
app.post("/instances/{id}/ticket", connect { body = {}, secret = true }, function(req)
  local ticket, err = credentials.make_ticket(req.actor, req.id)
  if not ticket then return nil, err end
  return 201, ticket, { ["Cache-Control"] = "no-store" }
end)

-- Passes a WebSocket through: `to` as req:proxy has it. -> true | nil, err
local function relay(req, rec, to)
  to.id, to.who = rec.id, req.actor.credential.who
  local ok, perr = req.http:proxy(to)
  if ok then
    if req.actor.credential.revoked then host_http.close_streams_of(req.actor.credential.who, 1008, "signed out") end
    return true
  end
  if perr.code == "invalid" or perr.code == "unsupported" then
    return errors.fail("invalid", perr.message, {
      http_status = 426, headers = { Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13" },
    })
  end
  access.doubt(rec, perr)
  return errors.fail(perr.code, perr.message, { http_status = 502 })
end

-- The terminal: ttyd's protocol, spoken by the agent on the machine; here only who may, and the way there.
app.get("/instances/{id}/terminal", connect { upgrade = true }, function(req)
  local rec, p = access.running(req.actor, req.id)
  if not rec then return nil, p end
  local at, err = p:endpoint(rec.provider_id)
  if not at then return nil, err end
  return relay(req, rec, { unix = at.unix, path = "/ws" })
end)

-- ---- the screen

-- Where this server is reached by who asks, for WebSockets.
local function ws_url(http)
  local url = app.base_url or ("%s://%s"):format(http:secure() and "https" or "http", http:header("host") or "localhost")
  return (url:gsub("/+$", ""):gsub("^http", "ws"))
end

-- A password for the machine's screen, and the ticket of the one connection that it is for.
local function open_console(req)
  if req.actor.credential.kind == "ticket" then
    return errors.fail("unauthorized", "a ticket opens a WebSocket, and gives no other ticket")
  end
  local c, err = access.console(req.actor, req.id)
  if not c then return nil, err end
  local t, terr = credentials.make_ticket(req.actor, req.id, { host = c.host, port = c.port })
  if not t then return nil, terr end
  return 200, {
    url = ("%s/instances/%s/console?token=%s"):format(ws_url(req.http), req.id, t.ticket), ticket = t.ticket,
    password = c.password, protocol = "binary", expires_at = time.rfc3339(math.min(time.parse(t.expires_at), c.until_at)),
  }, { ["Cache-Control"] = "no-store" }
end

-- VNC (RFB) in a WebSocket, as noVNC speaks it. Without an upgrade: what it takes to open one.
app.get("/instances/{id}/console", connect { upgrade = true }, function(req)
  if not req.http:header("upgrade") then return open_console(req) end
  local to = req.actor.console
  if not to then return errors.fail("invalid", "token: the ticket of a GET of this address, without an upgrade, is expected") end
  if not (req.http:header("sec-websocket-protocol") or ""):find("binary", 1, true) then
    return errors.fail("invalid", "the subprotocol \"binary\" is expected")
  end
  local rec, err = access.running(req.actor, req.id, nil, true)
  if not rec then return nil, err end
  return relay(req, rec, { host = to.host, port = to.port, path = "/", screen = true })
end)

app.get("/instances/{id}/screenshot", connect {}, function(req)
  local png, err = access.screenshot(req.actor, req.id)
  if not png then return nil, err end
  return 200, png, { ["Content-Type"] = "image/png", ["Cache-Control"] = "no-store" }
end)
