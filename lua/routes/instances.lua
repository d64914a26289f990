-- /instances and what is beneath it.

local app = require "app"
local access = require "machines.access"
local agent = require "machines.agent"
local credentials = require "accounts.credentials"
local decisions = require "idle.decisions"
local errors = require "errors"
local fields = require "machines.fields"
local host_http = require "http"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local lists = require "lists"
local names = require "openapi.names"
local places = require "machines.places"
local policy = require "policy"
local prepaid = require "billing.prepaid"
local query = require "query"
local task = require "task"
local time = require "time"
local types = require "types"
local update = require "machines.update"
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
local function read(options)
  options.scope, options.object = "instances:read", options.object or "instance"
  return options
end
local function write(options)
  options.scope, options.object = "instances:write", "instance"
  return options
end
local function connect(options)
  options.scope, options.object = "instances:connect", "instance"
  return options
end

-- One that changes the machine (moving).
local function work(options)
  options.gives = options.gives or { [200] = "Machine", [202] = "Machine" }
  options.query, options.begins, options.versioned = { wait = names.wait }, true, true
  return write(options)
end

-- Open terminals end with a reason, not with a cut.
local leaving = { delete = "the machine is being deleted", suspend = "the machine is being suspended" }
function instances.on_leaving(id, verb)
  host_http.close_streams(id, 1001, leaving[verb] or "the machine is being stopped")
end

app.get("/types", lists.route {
  scope = "instances:read", does = "Machine types", of = "MachineType", sort = { "name", "vcpu", "memory_mib", "hour_micro" },
  filters = { "name", "prepaid" },
  more = [[`hour_micro`: what an hour that is bought beforehand costs, in micro-units of `currency`, where `policies/plans.lua`
    says it; `list_eur_micro`: about what Hetzner asks; `locations`: where it may be had at the server's own provider (`[]`:
    nowhere), absent where that knows no places (of ours: `hetzner` does) or does not answer within five seconds; up to ten
    minutes old.]],
}, function(req)
  local list, at = types.priced(policy.data("plans"), time.now()), places.of(instances.settings.provider)
  for _, t in ipairs(list) do t.locations = at and at[t.name] end
  local place = {} -- from the smallest on, as the catalogue has them
  for i, t in ipairs(list) do place[t.name] = ("%04d"):format(i) end
  return lists.answer(req, { items = list, key = function(t) return place[t.name] end })
end)

app.post("/instances", {
  scope = "instances:write", body = true, fields = fields.create, query = { wait = names.wait }, does = "Makes a machine",
  more = "An empty body is `{}`. Without `wait` it is `STARTING` when the answer comes.", begins = true,
  gives = { [201] = "Machine" }, fails = { 400, 402, 403, 404, 409 },
  example = { name = "api", type = "small", labels = { team = "blue" }, ports = { 3000 } },
}, function(req)
  local seconds, werr = app.wait(req.http)
  if seconds == false then return nil, werr end
  local rec, op = instances.create(req.actor, req.body)
  if not rec then return nil, op end
  app.made(req.http, rec)
  if seconds then
    instances.operation(req.actor, op, seconds)
    rec = instances.get(req.actor, rec.id) or rec
  end
  return 201, rec, { Location = "/operations/" .. op, ETag = ('"%d"'):format(rec.version) }
end)

app.get("/instances", lists.route {
  scope = "instances:read", does = "Machines that are not deleted", of = "Machine",
  filters = {
    "name", "owner", "status", "desired", "provider", "type", "image", "location", "plan", "vpc_id", "subnet_id", "label",
  },
  sort = { "name", "owner", "status", "type", "created_at", "updated_at", "last_activity_at", "expires_at" },
}, function(req)
  return lists.answer(req, { scan = function(after, limit) return instances.list(req.actor, after, limit) end })
end)

app.get("/instances/{id}", read {
  object = "history", does = "One machine", gives = { [200] = "Machine", [304] = false },
  more = "A deleted one reads `DELETED` by its id. Also as it was at a time: RFC 3339, unix seconds, `2h ago`.",
  query = { at = { "string", about = "As it was then", example = "0s ago" } },
}, function(req)
  local at = req.http:query() and app.query(req.http, "at")
  if at then
    local rec, err = instances.at(req.actor, req.id, at)
    if not rec then return nil, err end
    return 200, rec
  end
  if not req.text then return errors.fail("not_found", "no such machine") end
  return app.tagged(req.http, req.text)
end)

app.patch("/instances/{id}", write {
  body = fields.patch, does = "Changes its name, labels, environment, security groups", gives = { [200] = "Machine" },
  fails = { 409 },
  more = "`env` holds from the next start, `security_groups` at once.", versioned = true, example = { labels = { team = "red" } },
}, function(req)
  local rec, err = instances.patch(req.actor, req.id, req.body)
  if not rec then return nil, err end
  return 200, rec, { ETag = ('"%d"'):format(rec.version) }
end)

app.delete("/instances/{id}", work {
  does = "Deletes it", more = "Also what is being created; may be repeated by its id. Its name is free again.", fails = { 409 },
}, moving(function(req, seconds)
  return instances.move(req.actor, req.id, "delete", seconds)
end))

local verbs = {
  stop = { "Stops it", "May be repeated." }, start = { "Starts it", "May be repeated." },
  pause = { "Stops it, strictly", "Only from `RUNNING`, else 409 `state`." },
  wake = { "Starts it, strictly", "Only from `STOPPED`, or of what is suspended, else 409 `state`." },
  resume = { "Lets it go on that is suspended", "As `start` and `wake` do, too." },
}
for verb, told in pairs(verbs) do
  app.post("/instances/{id}/" .. verb, work {
    body = {}, does = told[1], more = told[2], fails = { 402, 403, 502 },
  }, moving(function(req, seconds)
    return instances.move(req.actor, req.id, verb, seconds)
  end))
end

app.post("/instances/{id}/suspend", work {
  body = {}, does = "Lets it stand still",
  more = "It keeps its memory and stays `RUNNING`, with `suspended_at`. Not with every provider: 400 `unsupported`.",
  fails = { 400, 502 },
}, moving(function(req, seconds)
  return instances.suspend(req.actor, req.id, seconds)
end))

app.post("/instances/{id}/extend", write {
  body = { hours = { "integer", required = true, min = 1, max = 87600 } }, does = "Gives it hours",
  more = [[`expires_at` = max(now, `expires_at`) + hours; one that does not run, and whose hours have ended or that had none,
    starts, and they begin when it runs. It then has an end: it is stopped when its hours are over, and deleted after the grace
    (`policies/expiry.lua`). **Hours that are bought, or given by the operator, make it a prepaid machine for good**, and no
    machine of its plan any more. `notice` in the answer says so.]],
  gives = { [200] = "Machine" }, fails = { 402 }, versioned = true, example = { hours = 24 },
}, function(req)
  local rec, err = instances.extend(req.actor, req.id, req.body.hours)
  if not rec then return nil, err end
  rec.notice = prepaid.notice(rec)
  return 200, rec, { ETag = ('"%d"'):format(rec.version) }
end)

app.post("/instances/{id}/resize", work {
  body = { type = { "string", required = true, max = 64 } }, does = "Gives it another type",
  more = [[One that runs is stopped and started with it, another has it from its next start. Processors and memory become what the
    type has; a disk of a virtual machine grows (what is in it has more from its next boot, by cloud-init's growpart), and never
    shrinks. 409 while something is under way, while prepaid hours last, and beyond the plan.]],
  fails = { 402, 502 }, example = { type = "medium" },
}, moving(function(req, seconds)
  return instances.resize(req.actor, req.id, req.body.type, seconds)
end))

app.post("/instances/{id}/volumes", work {
  body = fields.volume, does = "Attaches a volume", fails = { 502 }, example = { id = "data", path = "/data" },
  more = [[By its name; it is made when it is not there. A machine that runs is stopped and started for it where the provider
    needs that.]],
}, moving(function(req, seconds)
  return instances.attach(req.actor, req.id, req.body, seconds)
end))

app.delete("/instances/{id}/volumes/{volume}", work {
  does = "Detaches a volume", more = "Its data stay.", fails = { 409, 502 },
}, moving(function(req, seconds)
  return instances.detach(req.actor, req.id, req.second, seconds)
end))

-- ---- snapshots of the machine

app.get("/instances/{id}/snapshots", lists.route(read {
  does = "Its snapshots", of = "MachineSnapshot", filters = { "name" }, sort = { "name", "created_at" }, order = "created_at",
}), function(req)
  local list, err = instances.snapshots(req.actor, req.id)
  if not list then return nil, err end
  return lists.answer(req, { items = list, key = "name" })
end)

app.post("/instances/{id}/snapshots", work {
  body = fields.snapshot, does = "Keeps its disk as it is", example = { name = "before-upgrade" }, fails = { 400, 502 },
  more = [[And the volume that was made for it at `/claude-data`; volumes that it was given are not in it. Without `name` it is
    called by the time. One that runs is stopped and started for it. At most 16. Not with every provider: 400 `unsupported`.]],
  gives = { [201] = "MachineSnapshot", [202] = "Machine" },
}, function(req)
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

app.delete("/instances/{id}/snapshots/{snapshot}", work {
  does = "Deletes a snapshot", more = "For good. One that runs is stopped and started for it.", fails = { 409, 502 },
}, moving(function(req, seconds)
  return instances.delete_snapshot(req.actor, req.id, req.second, seconds)
end))

app.post("/instances/{id}/snapshots/{snapshot}/restore", work {
  body = {}, does = "Makes it what it was at a snapshot", fails = { 502 },
  more = [[The snapshot stays; what came after is lost, but for the size of its disk. One that runs is stopped and started for
    it.]],
}, moving(function(req, seconds)
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

app.post("/instances/{id}/exec", connect {
  body = exec_fields, effect_outside = true, does = "Runs a command", gives = { [200] = "ExecResult" }, fails = { 502, 503, 504 },
  more = [[1 MiB of each output; bytes that are no UTF-8 are U+FFFD. 404: no such program; 409: it does not run; 503: half of the
    provider's threads run commands.]],
  example = { cmd = { "uname", "-a" } },
}, function(req)
  if #req.body.cmd == 0 then return errors.fail("invalid", "cmd: at least the program's name expected", { field = "cmd" }) end
  local result, err = while_asked(req.http, function()
    return access.exec(req.actor, req.id, req.body.cmd, req.body.timeout)
  end)
  if not result then return nil, err end
  result.stdout, result.stderr = json.text(result.stdout), json.text(result.stderr)
  return 200, result
end)

app.get("/instances/{id}/logs", read {
  does = "The newest 64 KiB of what its `cmd` wrote", more = "400 when the provider keeps none.",
  gives = { [200] = "text/plain" },
  fails = { 400, 409 },
}, function(req)
  local text, err = access.logs(req.actor, req.id)
  if not text then return nil, err end
  return 200, json.text(text), { ["Content-Type"] = "text/plain; charset=utf-8" }
end)

app.get("/instances/{id}/stats", read {
  does = "Activity, as its agent sees it", gives = { [200] = "Activity" }, fails = { 409, 502, 504 },
}, function(req)
  local activity, err = access.activity(req.actor, req.id)
  if not activity then return nil, err end
  activity.agent = update.of(req.id)
  if activity.last_input_at then activity.last_input_at = math.min(activity.last_input_at, math.floor(time.now())) end
  return 200, activity
end)

-- "Busy until T because R": not stopped for idleness meanwhile.
app.post("/instances/{id}/lease", write {
  body = leases.fields, does = "Takes a lease, or prolongs one", gives = { [201] = "Lease" }, fails = { 409 },
  more = [[Busy until then, whatever is seen of it; how long is granted the policy decides (`shortened` says why it is less). 403
    has the reason.]],
  example = { reason = "a long upload", ttl = 3600 },
}, function(req)
  local lease, err = leases.take(req.actor, req.id, req.body)
  if not lease then return nil, err end
  return 201, lease
end)

app.get("/instances/{id}/leases", lists.route(read {
  does = "Leases that are held from outside", more = "The machine's own are in its stats.", of = "Lease",
  filters = { "id", "by" }, sort = { "since", "expires_at" }, order = "since",
}), function(req) return lists.answer(req, { items = leases.of(req.id) }) end)

app.delete("/instances/{id}/leases/{lease}", write { does = "Gives a lease back", gives = { [200] = "Done" } }, function(req)
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

local function answer_decision(one, err)
  if not one then return nil, err end
  return 200, one
end

local function decision_view(row)
  return { kind = row.kind, name = row.name, from = time.rfc3339(row.from), to = time.rfc3339(row.to), count = row.count,
    verdict = row.verdict, reason = row.reason, generation = row.generation, event = row.event }
end

-- ?at=: one of them. -> status, body | nil, err, or nothing when it is not asked for
local function one_decision(req, kind)
  local said = query.all(req.http:query())
  if not said.at then return nil end
  for _, name in ipairs { "after", "fields", "limit", "since", "sort", "until" } do
    if said[name] then return errors.fail("invalid", name .. ": not together with at", { field = name }) end
  end
  if said.at == "stop" then return answer_decision(decisions.stopped_by(req.id, req.actor)) end
  local at, err = time_of(req.http, "at")
  if err then return nil, err end
  return answer_decision(decisions.at(req.id, at, kind, req.actor))
end

-- What is kept of the policies' decisions about a machine; ?at=: one of them, taken again and explained.
app.get("/instances/{id}/decisions", lists.route(read {
  object = "history", of = "Decision", does = "What policies decided about it, newest first",
  more = [[As runs of the same decision; with `at` the last one that was not after that time, explained (`stop`: the one that
    stopped it). See "Decisions".]],
  query = {
    at = { "string", about = "A time, or `stop`" }, since = { "string", about = "A time", example = "30d ago" },
    ["until"] = { "string", about = "A time", example = "0s ago" },
    kind = { "string", one_of = decisions.kinds, example = "access" },
  },
  filters = { "name", "verdict", "generation", "event" }, sort = { "from", "count" },
  gives = { [200] = { "choice", of = { { "list", of = "Decision" }, "Explanation" } } },
}), function(req)
  local kind = app.query(req.http, "kind")
  local fault = kind and decisions.kind_fault(kind)
  if fault then return errors.fail("invalid", "kind: " .. fault, { field = "kind" }) end
  local status, body = one_decision(req, kind)
  if status or body then return status, body end
  local times = {}
  for _, name in ipairs { "since", "until" } do
    local ms, err = time_of(req.http, name)
    if err then return nil, err end
    times[name] = ms
  end
  return lists.answer(req, { batch = 5000, scan = function(after, limit)
    local rows, more, keys = decisions.list(req.id, {
      since = times.since, until_ms = times["until"], after = after, limit = limit, kind = kind,
    })
    if not rows then return nil, more end
    for i, row in ipairs(rows) do rows[i] = decision_view(row) end
    return { items = rows, keys = keys, after = more }
  end })
end)

-- For browsers, which can give a WebSocket no header: good once, for a minute, as ?token= at what is beneath this machine.
app.post("/instances/{id}/ticket", connect {
  body = {}, secret = true, does = "A ticket for a browser's WebSocket",
  more = "Good once, for a minute, as `?token=` beneath this machine.",
  gives = { [201] = "Ticket" },
}, function(req)
  local ticket, err = credentials.make_ticket(req.actor, req.id)
  if not ticket then return nil, err end
  return 201, ticket, { ["Cache-Control"] = "no-store" }
end)

-- ---- the screen

-- A password for the machine's screen, and the ticket of the one connection that it is for.
local function open_console(req)
  if req.actor.credential.kind == "ticket" then
    return errors.fail("unauthorized", "a ticket opens a WebSocket, and gives no other ticket")
  end
  local c, err = access.console(req.actor, req.id)
  if not c then return nil, err end
  local t, terr = credentials.make_ticket(req.actor, req.id, { host = c.host, port = c.port })
  if not t then return nil, terr end
  local base = app.reached_at(req.http):gsub("^http", "ws")
  return 200, {
    url = ("%s/instances/%s/console?token=%s"):format(base, req.id, t.ticket), ticket = t.ticket,
    password = c.password, protocol = "binary", expires_at = time.rfc3339(math.min(time.parse(t.expires_at), c.until_at)),
  }, { ["Cache-Control"] = "no-store" }
end

-- VNC (RFB) in a WebSocket, as noVNC speaks it. Without an upgrade: what it takes to open one.
app.get("/instances/{id}/console", connect {
  upgrade = true, does = "The screen of a virtual machine",
  more = [[Without an upgrade: what it takes to see it, for one connection within a minute; the next answer makes this one's
    password useless. With one, and `token` its ticket: a WebSocket, subprotocol `binary`: VNC (RFB) as it is, for noVNC and the
    like; the password is for its own log-in. A key or a pointer is use, as typing is. Open ones end with the machine, its
    suspension and the session.]],
  query = { token = { "string", about = "The ticket, of an upgrade" } }, gives = { [101] = false, [200] = "Console" },
  fails = { 400, 409, 502 },
}, function(req)
  if not req.http:header("upgrade") then return open_console(req) end
  local to = req.actor.console
  if not to then return errors.fail("invalid", "token: the ticket of a GET of this address, without an upgrade, is expected") end
  if not (req.http:header("sec-websocket-protocol") or ""):find("binary", 1, true) then
    return errors.fail("invalid", "the subprotocol \"binary\" is expected")
  end
  local rec, err = access.running(req.actor, req.id, nil, true)
  if not rec then return nil, err end
  return agent.relay(req, rec, { at = to, path = "/", kind = "screen", plain = true })
end)

app.get("/instances/{id}/screenshot", connect {
  does = "A picture of its screen", more = "Also of a machine that is suspended. 400 `unsupported`: it has none.",
  gives = { [200] = "image/png" }, fails = { 400, 409, 502 },
}, function(req)
  local png, err = access.screenshot(req.actor, req.id)
  if not png then return nil, err end
  return 200, png, { ["Content-Type"] = "image/png", ["Cache-Control"] = "no-store" }
end)
