-- How a machine joins its owner's network at Netbird, and leaves it. Nothing here runs unless NETBIRD_API_TOKEN is set, or for
-- machines of providers that are not named below.
--
-- prepare    before a machine is made, or made anew on a start (see README.md); undone in reverse when the whole fails
-- finalize   once it runs; likewise
-- teardown   when it is deleted and gone from its provider; tried again until it is done
--
-- run(x), undo(x) as in provision.lua. x has also: operation ("create", "start", "delete", ...), agent_port, subnet (the network
-- behind the machine, where its owner asked for one), and names = {group, key, peer, policy, route (the machine's, its owner's),
-- control_group, control_policy, device_key}. Groups are named, found, and made when they are not there:
--   netbird.group(name)                     netbird.key{name =, groups =}       one machine, one day; kept sealed for it
--   netbird.join{peer =, group =}           waits until the machine has joined: {peer = id, address =}
--   netbird.policy{name =, from =, to =, bidirectional =, protocol =, ports =}  made, or made like that
--   netbird.route{name =, network =, peer = id, groups =}
--   netbird.remove(kind, name)              all of that name: policy, route, key, peer, group; devices: a group's others
--   netbird.remove_last(kind, name)         the same with the last of the owner's machines, else nothing
--   netbird.request(method, path, body)     anything else of its API

local function remove(kind, name)
  return function(x) return netbird.remove(kind, x.names[name]) end
end

local function remove_last(kind, name)
  return function(x) return netbird.remove_last(kind, x.names[name]) end
end

-- Both of an owner: within his group everything, from this host to it the agent's port alone, never the other way round.
local function make_policies(x)
  local ok, err = netbird.policy { name = x.names.policy, from = { x.names.group }, to = { x.names.group }, bidirectional = true }
  if not ok then return nil, err end
  return netbird.policy {
    name = x.names.control_policy, from = { x.names.control_group }, to = { x.names.group }, protocol = "tcp",
    ports = { tostring(x.agent_port) },
  }
end

local function remove_policies(x)
  local ok, err = netbird.remove_last("policy", x.names.control_policy)
  if not ok then return nil, err end
  return netbird.remove_last("policy", x.names.policy)
end

local function join(x)
  local peer, err = netbird.join { peer = x.names.peer, group = x.names.group }
  if not peer then return nil, err end
  local gone, why = netbird.remove("key", x.names.key) -- it is used up
  if not gone then return nil, why end
  return peer
end

-- Only where there is something behind the machine: the machine itself needs none.
local function make_route(x)
  if not x.subnet then return true end
  return netbird.route { name = x.names.route, network = x.subnet, peer = x.results.join.peer, groups = { x.names.group } }
end

local function remove_route(x)
  if not x.subnet then return true end
  return netbird.remove("route", x.names.route)
end

local function remove_keys(x)
  local ok, err = netbird.remove_last("key", x.names.device_key)
  if not ok then return nil, err end
  return netbird.remove("key", x.names.key)
end

-- The owner's own devices with his last machine: they were there for this group.
local function remove_peers(x)
  local ok, err = netbird.remove("peer", x.names.peer)
  if not ok then return nil, err end
  return netbird.remove_last("devices", x.names.group)
end

return {
  kind = "workflow", name = "netbird", version = 1,
  providers = { "hetzner" }, -- whose machines join
  prepare = {
    { name = "group", run = function(x) return netbird.group(x.names.group) end, undo = remove_last("group", "group") },
    { name = "key", run = function(x) return netbird.key { name = x.names.key, groups = { x.names.group } } end,
      undo = remove("key", "key") },
  },
  finalize = {
    { name = "join", run = join, undo = remove("peer", "peer") },
    { name = "policy", run = make_policies, undo = remove_policies },
    { name = "route", run = make_route, undo = remove_route },
  },
  teardown = {
    { name = "policy", run = remove_policies },
    { name = "route", run = remove_route },
    { name = "key", run = remove_keys },
    { name = "peers", run = remove_peers },
    { name = "group", run = remove_last("group", "group") },
  },
}
