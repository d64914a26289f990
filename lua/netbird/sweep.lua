-- What nobody needs any more at Netbird: keys of ours that were used, have expired or were revoked, and what belongs to machines
-- and accounts of which our own records say that they are gone (an answer of Netbird's may come late, a group may have been
-- referred to when it was to be deleted). Nothing else is touched: what is not called like ours, or has a name of ours and no
-- record here, is somebody else's.
--
--   sweep.run(api) -> {removed = n} | nil, err     [yields] in half of the minute's requests, for it can wait

local log = require "log"
local names = require "netbird.names"
local store = require "store"

local M = {}

local HOW = { share = 0.5 }

-- Whether a record says that this machine is gone.
local function gone(short)
  local id = store.lookup("instance_short", short)
  local rec = id and store.get("instance", id)
  return rec ~= nil and rec.status == "DELETED"
end

-- Whether this is an account of ours that has no machine in the network, and none that may be on its way.
local function idle(owner)
  if owner ~= "operator" and not store.get("user", owner) then return false end
  for _, row in ipairs(store.scan("instance_owner", { prefix = owner .. "/" })) do
    local rec = store.get("instance", row.key:sub(#owner + 2))
    if rec and (rec.mesh or rec.status == "STARTING") then return false end
  end
  return true
end

local function is_gone(whose)
  if whose.short then return gone(whose.short) end
  return idle(whose.owner)
end

local function dead(key) return not key.valid or key.revoked or key.state ~= "valid" end

-- Deletes of one list what `wanted` says. -> how many | nil, err
local function clear(api, kind, wanted)
  local list, err = api.objects:list(kind, HOW)
  if not list then return nil, err end
  local n = 0
  for _, thing in ipairs(list) do
    if wanted(thing) then
      local ok, why = api.objects:delete(kind, thing.id, HOW)
      if not ok and why.code ~= "linked" then return nil, why end
      n = n + (ok and 1 or 0)
      log.info("netbird", ok and "removed" or "stays, for something else refers to it",
        { kind = kind, name = thing.name or thing.network_id })
    end
  end
  return n
end

-- Of an account: not while one of its machines is about to come.
local function for_owner(api, whose, kind, thing)
  return api.objects:alone(whose.owner, function()
    if not idle(whose.owner) then return 0 end
    local n = 0
    if kind == "group" then
      local ok, err = api.objects:remove("devices", thing.name, HOW)
      if not ok then return nil, err end
      api.objects.known[thing.name] = nil
    end
    local ok, err = api.objects:delete(kind, thing.id, HOW)
    if not ok and err.code ~= "linked" then return nil, err end
    if ok then
      n = 1
      log.info("netbird", "removed", { kind = kind, name = thing.name })
    end
    return n
  end)
end

local function clear_owners(api, kind)
  local list, err = api.objects:list(kind, HOW)
  if not list then return nil, err end
  local n = 0
  for _, thing in ipairs(list) do
    local whose = names.parse(api.prefix, kind, thing.name)
    if whose and idle(whose.owner) then
      local more, why = for_owner(api, whose, kind, thing)
      if not more then return nil, why end
      n = n + more
    end
  end
  return n
end

local function ours_gone(api, kind)
  return function(thing)
    local whose = names.parse(api.prefix, kind, thing.name or thing.network_id)
    return whose and is_gone(whose) or false
  end
end

local function in_our_group(api, peer)
  for _, g in ipairs(peer.groups or {}) do
    if names.parse(api.prefix, "group", g.name) then return true end
  end
end

function M.run(api)
  local n = 0
  for _, step in ipairs {
    function() return clear_owners(api, "policy") end,
    function() return clear(api, "route", ours_gone(api, "route")) end,
    function()
      local left = ours_gone(api, "key")
      return clear(api, "key", function(key)
        local ours = names.parse(api.prefix, "key", key.name) or key.name == api.prefix .. "-host"
        return ours and (dead(key) or left(key)) or false
      end)
    end,
    function()
      return clear(api, "peer", function(peer)
        local short = names.peer(peer.name)
        return short and gone(short) and in_our_group(api, peer) or false
      end)
    end,
    function() return clear_owners(api, "group") end,
  } do
    local more, err = step()
    if not more then return nil, err end
    n = n + more
  end
  return { removed = n }
end

return M
