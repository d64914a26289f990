-- Groups, setup keys, policies, routes and peers at Netbird, by their names: found before they are made, gone when they are
-- deleted, however often one is asked. What several tries have made twice becomes one again.
--
--   objects.new(request) -> o          request: client.lua's. All [yield] and give a value, or nil, err
--   o:group(name) -> id                made when it is not there            o:find_group(name) -> group | nil [, err]
--   o:key{name =, groups = {names}, expires_in = 86400} -> {id, key}        the key in clear; those of its name before are gone
--   o:policy{name =, from =, to = {names of groups}, bidirectional =, protocol = "all", ports = {"3001"}} -> {id}
--   o:route{name =, network =, peer = id, groups = {names}} -> {id}
--   o:peers(name, group) -> list       those of that name (and in that group), newest first
--   o:list(kind)                       kind: group, key, policy, route, peer
--   o:remove(kind, name [, how])       all of that name: true
--                                      kind "devices": the peers of that group that nobody's login has made
-- A group that others' things refer to cannot be deleted: code "linked".

local errors = require "errors"
local json = require "json"
local task = require "task"
local time = require "time"

local M = {}
local Objects = {}
Objects.__index = Objects

local KNOWN_MS = 60000 -- so long a group that was seen is believed to be there
local DAY, YEAR = 86400, 31536000

local places = {
  group = "/api/groups", key = "/api/setup-keys", policy = "/api/policies", route = "/api/routes", peer = "/api/peers",
}

function M.new(request) return setmetatable({ request = request, known = {}, locks = {} }, Objects) end

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- fn() while nobody else in this process does likewise for that name. -> what it gives
function Objects:alone(name, fn)
  while self.locks[name] do
    local _, err = self.locks[name]:wait(60)
    if err and err.code == "cancelled" then return nil, err end
  end
  local signal = task.signal()
  self.locks[name] = signal
  local ok, value, err = xpcall(fn, debug.traceback)
  self.locks[name] = nil
  signal:fire()
  if not ok then error(value, 0) end
  return value, err
end

-- ---- finding

-- What they call the name of one of a kind.
local function name_of(kind, thing) return kind == "route" and thing.network_id or thing.name end

function Objects:list(kind, how) return self.request("GET", places[kind], nil, how) end

local function query(kind, name)
  return places[kind] .. ((kind == "group" or kind == "peer") and "?name=" .. escape(name) or "")
end

-- All of that name; a name in the query is not asked for to the letter everywhere.
function Objects:named(kind, name, how)
  local all, err = self.request("GET", query(kind, name), nil, how)
  if not all then
    if err.code == "not_found" and kind == "group" then return {} end -- so some versions say that there is none
    return nil, err
  end
  local out = {}
  for _, thing in ipairs(all) do
    if name_of(kind, thing) == name or kind == "peer" and thing.hostname == name then out[#out + 1] = thing end
  end
  return out
end

function Objects:find_group(name)
  local list, err = self:named("group", name)
  return list and list[1] or nil, err
end

local function is_in(peer, group)
  for _, g in ipairs(peer.groups or {}) do
    if g.name == group then return true end
  end
end

local function newer(a, b)
  if a.connected ~= b.connected then return a.connected end
  return (a.created_at or "") > (b.created_at or "")
end

function Objects:peers(name, group)
  local list, err = self:named("peer", name)
  if not list then return nil, err end
  local out = {}
  for _, p in ipairs(list) do
    if not group or is_in(p, group) then out[#out + 1] = p end
  end
  table.sort(out, newer)
  return out
end

-- ---- making

function Objects:group(name)
  local seen = self.known[name]
  if seen and time.mono() - seen.at < KNOWN_MS then return seen.id end
  local group, err = self:find_group(name)
  if err then return nil, err end
  if not group then
    group, err = self.request("POST", places.group, { name = name })
    if not group and err.code == "exists" then group, err = self:find_group(name) end -- somebody else was quicker
    if not group then
      return nil, err or errors.new("unavailable", "Netbird: the group " .. name .. " comes and goes", { retryable = true })
    end
  end
  self.known[name] = { id = group.id, at = time.mono() }
  return group.id
end

local function ids_of(self, names)
  local ids = json.array {}
  for i, name in ipairs(names) do
    local id, err = self:group(name)
    if not id then return nil, err end
    ids[i] = id
  end
  return ids
end

-- fn(ids of the groups); once again with what is really there when one that was known has gone.
local function with_groups(self, names, fn)
  for try = 1, 2 do
    local ids, err = ids_of(self, names)
    if not ids then return nil, err end
    local value
    value, err = fn(ids)
    if value or try == 2 or err.code ~= "not_found" and err.code ~= "invalid" then return value, err end
    for _, name in ipairs(names) do self.known[name] = nil end
  end
end

function Objects:key(o)
  local ok, err = self:remove("key", o.name)
  if not ok then return nil, err end
  return with_groups(self, o.groups, function(ids)
    local made, why = self.request("POST", places.key, {
      name = o.name, type = "one-off", expires_in = math.max(DAY, math.min(YEAR, o.expires_in or DAY)), auto_groups = ids,
      usage_limit = 1, ephemeral = false,
    })
    if not made then return nil, why end
    if type(made.key) ~= "string" then return errors.fail("failed", "Netbird: it made a setup key and did not tell it") end
    return { id = made.id, key = made.key }
  end)
end

-- Makes one, or changes the one that there is when it is not like that; more than one are too many.
local function ensure(self, kind, name, body, same)
  local found, err = self:named(kind, name)
  if not found then return nil, err end
  for i = 2, #found do
    local gone, why = self:delete(kind, found[i].id)
    if not gone then return nil, why end
  end
  local thing = found[1]
  if thing and same(thing) then return { id = thing.id } end
  local made
  if thing then
    made, err = self.request("PUT", places[kind] .. "/" .. escape(thing.id), body)
  else
    made, err = self.request("POST", places[kind], body)
  end
  if not made then return nil, err end
  if same(made) then return { id = made.id } end -- groups that are not there are left out, and nothing is said of it
  return errors.fail("invalid", ("Netbird: it made the %s %s another one than it was told"):format(kind, name))
end

local function set_of(list, field)
  local words = {}
  for i, v in ipairs(type(list) == "table" and list or {}) do
    words[i] = tostring(field and type(v) == "table" and v[field] or v)
  end
  table.sort(words)
  return table.concat(words, " ")
end

local function same_rule(policy, rule)
  local is = policy.rules and policy.rules[1]
  return policy.enabled and #policy.rules == 1 and is.enabled and is.action == rule.action and is.protocol == rule.protocol
    and is.bidirectional == rule.bidirectional and set_of(is.sources, "id") == set_of(rule.sources)
    and set_of(is.destinations, "id") == set_of(rule.destinations) and set_of(is.ports) == set_of(rule.ports)
end

function Objects:policy(o)
  local names = {}
  for _, name in ipairs(o.from) do names[#names + 1] = name end
  for _, name in ipairs(o.to) do names[#names + 1] = name end
  return with_groups(self, names, function(ids)
    local rule = {
      name = o.name, enabled = true, action = "accept", bidirectional = o.bidirectional == true, protocol = o.protocol or "all",
      sources = json.array { unpack(ids, 1, #o.from) }, destinations = json.array { unpack(ids, #o.from + 1) },
      ports = o.ports and json.array { unpack(o.ports) } or nil,
    }
    return ensure(self, "policy", o.name, {
      name = o.name, description = "made by cchost", enabled = true, rules = json.array { rule },
    }, function(policy) return same_rule(policy, rule) end)
  end)
end

function Objects:route(o)
  return with_groups(self, o.groups, function(ids)
    return ensure(self, "route", o.name, {
      description = "made by cchost", network_id = o.name, enabled = true, peer = o.peer, network = o.network, metric = 9999,
      masquerade = true, groups = ids, keep_route = false, access_control_groups = ids,
    }, function(route)
      return route.enabled and route.peer == o.peer and route.network == o.network and set_of(route.groups) == set_of(ids)
    end)
  end)
end

-- ---- removing

-- One by its id; what is not there is gone.
function Objects:delete(kind, id, how)
  local ok, err = self.request("DELETE", places[kind] .. "/" .. escape(id), nil, how)
  if ok or err.code == "not_found" then return true end
  return nil, err
end

local function delete_all(self, kind, list, how)
  for _, thing in ipairs(list) do
    local ok, err = self:delete(kind, thing.id, how)
    if not ok then return nil, err end
  end
  return true
end

-- The peers of a group that a setup key has made, and that are in no other: devices that are there for this group alone.
local function devices(self, group, how)
  local all, err = self:list("peer", how)
  if not all then return nil, err end
  local out = {}
  for _, p in ipairs(all) do
    local own = is_in(p, group) and (p.user_id == nil or p.user_id == "")
    for _, g in ipairs(p.groups or {}) do own = own and (g.name == group or g.name == "All") end
    if own then out[#out + 1] = p end
  end
  return delete_all(self, "peer", out, how)
end

function Objects:remove(kind, name, how)
  if kind == "devices" then return devices(self, name, how) end
  if kind == "group" then self.known[name] = nil end
  local list, err = self:named(kind, name, how)
  if not list then return nil, err end
  return delete_all(self, kind, list, how)
end

return M
