-- /healthz: is it alive? Open to everybody, so it tells nothing that is not for everybody; ?verbose tells admins more.

local app = require "app"
local cli = require "cli"
local json = require "json"
local policy = require "policy"
local store = require "store"

local answer = ('{"status":"ok","db":"ok","version":"%s"}'):format(cli.version)
local ill = ('{"status":"unavailable","db":"unavailable","version":"%s"}'):format(cli.version)

-- What is in force, for everybody; what is wrong with an edit, and where, for an admin.
local function policies(http)
  local status = policy.status()
  local out = {
    generation = status.generation, ok = #status.faults == 0, refused_at = status.refused_at, since = status.since,
  }
  local actor = app.authenticate(http)
  if not (actor and actor.admin) then return out end
  out.faults, out.warnings, out.files = json.array(status.faults), json.array(status.warnings), status.files
  out.author, out.decisions, out.folder = status.author, status.decisions, status.folder
  return out
end

app.get("/healthz", { open = true, rate = false }, function(req)
  local well = store.stats() ~= nil
  if app.query(req.http, "verbose") == nil then return well and 200 or 503, well and answer or ill end
  local body = json.decode(well and answer or ill)
  local told = policies(req.http)
  body.generation, body.policies = told.generation, told
  return well and 200 or 503, body
end)
