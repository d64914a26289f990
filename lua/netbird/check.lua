-- Whether Netbird will do, in plain words, before the first machine: the token, its rights, and what in the account would keep
-- machines from joining, or let everybody reach everybody. Changes nothing.
--
--   check.run(api) -> {{what =, state = "ok" | "warn" | "bad", sentence =}...}     [yields]

local M = {}

local needed = {
  groups = { "read", "create", "delete" }, setup_keys = { "read", "create", "delete" }, peers = { "read", "delete" },
  policies = { "read", "create", "update", "delete" }, routes = { "read", "create", "update", "delete" },
}

local function finding(what, state, format, ...)
  return { what = what, state = state, sentence = format:format(...) }
end

local function why_not(what, err)
  return finding(what, "bad", err.status == 403 and "the token may not read this: %s" or "%s", err.message)
end

local function lacking(modules)
  local out = {}
  for name, operations in pairs(needed) do
    for _, operation in ipairs(operations) do
      if not (modules[name] and modules[name][operation]) then out[#out + 1] = operation .. " " .. name:gsub("_", " ") end
    end
  end
  table.sort(out)
  return table.concat(out, ", ")
end

local function token(api, add)
  local user, err = api.request("GET", "/api/users/current")
  if not user then
    if err.code ~= "not_found" then
      add(why_not("token", err))
      return false
    end
    user = {} -- a Netbird that does not know the question yet: the lists below tell
  end
  if user.is_blocked then add(finding("token", "bad", "the token's user is blocked")) return false end
  add(finding("token", "ok", "Netbird at %s takes the token%s", api.url, user.role and (", as " .. user.role) or ""))
  local modules = user.permissions and user.permissions.modules
  if modules then
    local lacks = lacking(modules)
    add(lacks == "" and finding("rights", "ok", "the token may do all that is needed")
      or finding("rights", "bad", "the token may not %s; its user needs the role admin or network_admin", lacks))
  end
  return true
end

local function counts(api, add)
  local groups, err = api.objects:list("group")
  if not groups then return add(why_not("groups", err)) end
  local own, control = 0, nil
  for _, g in ipairs(groups) do
    if g.name:sub(1, #api.prefix + 6) == api.prefix .. "-user-" then own = own + 1 end
    if g.name == api.prefix .. "-control" then control = g end
  end
  add(finding("groups", "ok", "%d groups, %d of them of users of this host; each user with machines takes one", #groups, own))
  if not control or (control.peers_count or 0) == 0 then
    add(finding("this host", "warn", "no peer is in the group %s-control: no port of machines is reached through the network "
      .. "from here (cchost needs none, it goes by ssh); where you want that, join with what `cchost netbird key` prints",
      api.prefix))
  else
    add(finding("this host", "ok", "%d peer in the group %s-control", control.peers_count, api.prefix))
  end
end

local function has_all(list)
  for _, g in ipairs(list or {}) do
    if g.name == "All" then return true end
  end
end

local function isolation(api, add)
  local policies, err = api.objects:list("policy")
  if not policies then return add(why_not("policies", err)) end
  local open = {}
  for _, p in ipairs(policies) do
    for _, rule in ipairs(p.enabled and p.rules or {}) do
      if rule.enabled and rule.action == "accept" and has_all(rule.sources) and has_all(rule.destinations) then
        open[#open + 1] = "'" .. p.name .. "'"
      end
    end
  end
  if #open == 0 then return add(finding("isolation", "ok", "no policy lets all peers reach all peers")) end
  add(finding("isolation", "bad", "the policy %s lets every peer reach every other, so each user all others' machines; "
    .. "disable it at Netbird", table.concat(open, " and ")))
end

local function approval(api, add)
  local accounts = api.request("GET", "/api/accounts")
  local settings = accounts and accounts[1] and accounts[1].settings
  if settings and settings.extra and settings.extra.peer_approval_enabled then
    add(finding("approval", "bad", "the account wants each peer to be approved by hand: machines would wait for that; "
      .. "switch it off at Netbird"))
  end
end

local function lists(api, add)
  for _, kind in ipairs { "key", "peer", "route" } do
    local list, err = api.objects:list(kind)
    local what = kind == "key" and "setup keys" or kind .. "s"
    if not list then add(why_not(what, err)) else add(finding(what, "ok", "%d can be seen", #list)) end
  end
end

function M.run(api)
  local out = {}
  local function add(f) out[#out + 1] = f end
  if not token(api, add) then return out end
  counts(api, add)
  lists(api, add)
  isolation(api, add)
  approval(api, add)
  return out
end

return M
