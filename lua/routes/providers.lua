-- /providers: what each provider that is in use has told lately, whether it will do, and the machines there that no record
-- knows (the operator's own view). {id} is one of those in use, or netbird where that is configured.

local app = require "app"
local checks = require "provider_checks"
local errors = require "errors"
local freshness = require "machines.freshness"
local instances = require "instances"
local json = require "json"
local netbird = require "netbird"
local providers = require "providers"
local reconcile = require "reconcile"
local rights = require "rights"
local store = require "store"
local users = require "accounts.users"

local function view(name)
  local rec = store.get("provider", name) or {}
  local p = providers.get(name)
  return {
    name = name, ok = freshness.since(name) == nil, stale_since = freshness.since(name), error = rec.error,
    orphans = rec.orphans or {}, calls = p and p:stats() or json.null,
  }
end

local function admins(o)
  o.scope, o.admin = "operator", true
  return o
end

app.get("/providers", admins { does = "The providers in use: reachable, orphans, calls", gives = { [200] = "Providers" } },
  function()
  local list = json.array {}
  for _, name in ipairs(reconcile.in_use(instances.settings.provider)) do list[#list + 1] = view(name) end
  return 200, { providers = list, reconcile = reconcile.counters }
end)

-- Only those in use: to open another one would make it one that is swept.
function rights.find.provider(_, name)
  for _, each in ipairs(reconcile.in_use(instances.settings.provider)) do
    if each == name then return name end
  end
  if name == "netbird" and netbird.configured() then return name end
  return errors.fail("not_found", "no such provider is in use")
end

app.get("/providers/{id}/check", admins {
  object = "provider", does = "Whether one of those, or `netbird`, will do", more = "Of others `cchost provider check` tells.",
  gives = { [200] = { "list", of = "Finding" } }, fails = { 502, 504 },
}, function(req)
  local list, err = checks.of(req.id, checks.settings)
  if not list then return nil, err end
  return 200, json.array(list), { ["Cache-Control"] = "no-store" }
end)

app.delete("/providers/{id}/orphans/{orphan}", admins {
  object = "provider", does = "Destroys a machine there that no record knows", gives = { [202] = "Begun" }, fails = { 409 },
  more = "Whatever `ORPHANS` says. 409 while another is being destroyed.",
}, function(req)
  local op, err = reconcile.remove_orphan(req.id, req.second, users.by(req.actor))
  if not op then return nil, err end
  return 202, { operation = op }
end)
