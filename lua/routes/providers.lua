-- /providers: what each provider that is in use has told lately (the operator's own view).

local app = require "app"
local freshness = require "machines.freshness"
local instances = require "instances"
local json = require "json"
local providers = require "providers"
local reconcile = require "reconcile"
local store = require "store"

local function view(name)
  local rec = store.get("provider", name) or {}
  local p = providers.get(name)
  return {
    name = name, ok = freshness.since(name) == nil, stale_since = freshness.since(name), error = rec.error,
    orphans = rec.orphans or {}, calls = p and p:stats() or json.null,
  }
end

app.get("/providers", { scope = "operator", admin = true }, function()
  local list = json.array {}
  for _, name in ipairs(reconcile.in_use(instances.settings.provider)) do list[#list + 1] = view(name) end
  return 200, { providers = list, reconcile = reconcile.counters }
end)
