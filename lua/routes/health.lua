-- /healthz: is it alive? /readyz: is it to be asked? Open to everybody, so they tell nothing that is not for everybody;
-- ?verbose tells admins more.

local app = require "app"
local cli = require "cli"
local health = require "observe.health"
local json = require "json"
local policy = require "policy"
local store = require "store"
local update = require "machines.update"

local answer = ('{"status":"ok","db":"ok","version":"%s"}'):format(cli.version)
local ill = ('{"status":"unavailable","db":"unavailable","version":"%s"}'):format(cli.version)

local function is_admin(http)
  local actor = app.authenticate(http)
  return actor ~= nil and actor.admin == true
end

-- How each part of the process is, for admins.
local function parts_of(list)
  local out = {}
  for _, part in ipairs(list) do
    out[part.name] = {
      ok = part.ok, needed = part.needed, why = part.why or json.null, since = part.since, age_seconds = part.age_seconds,
      last_success = part.last_success or json.null, says = next(part.says) and part.says or nil,
    }
  end
  return out
end

-- What is in force, for everybody; what is wrong with an edit, and where, for an admin.
local function policies(admin)
  local status = policy.status()
  local out = {
    generation = status.generation, ok = #status.faults == 0, refused_at = status.refused_at, since = status.since,
  }
  if not admin then return out end
  out.faults, out.warnings, out.files = json.array(status.faults), json.array(status.warnings), status.files
  out.author, out.decisions, out.folder = status.author, status.decisions, status.folder
  return out, update.count()
end

app.get("/healthz", {
  open = true, rate = false, does = "Is it alive?", gives = { [200] = "Health", [503] = "Health" },
  query = { verbose = { "string", about = "More; to admins more yet", example = "1" } },
}, function(req)
  local well = store.stats() ~= nil
  if app.query(req.http, "verbose") == nil then return well and 200 or 503, well and answer or ill end
  local body = json.decode(well and answer or ill)
  local admin = is_admin(req.http)
  local told, agents = policies(admin)
  body.generation, body.policies, body.agents = told.generation, told, agents
  if admin then body.parts = parts_of(health.parts()) end
  return well and 200 or 503, body
end)

-- Of what is not ready, everybody hears the name; an admin with ?verbose each part's state, since when, and why; also of the
-- parts without which it is to be asked all the same.
app.get("/readyz", {
  open = true, rate = false, does = "Is it to be asked?", gives = { [200] = "Readiness", [503] = "Readiness" },
  query = { verbose = { "string", about = "To admins: each part's state", example = "1" } },
}, function(req)
  local parts, ready = health.needed()
  local body = { status = ready and "ready" or "unavailable", missing = json.array {} }
  for _, part in ipairs(parts) do
    if not part.ok then table.insert(body.missing, part.name) end
  end
  if app.query(req.http, "verbose") ~= nil and is_admin(req.http) then body.parts = parts_of(health.parts()) end
  return ready and 200 or 503, body
end)
