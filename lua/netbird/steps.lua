-- What the steps of policies/netbird.lua may do: netbird.* there, for the machine that the step is about.
--
--   steps.effects(api) -> {["netbird.key"] = fn(x, ...), ...}     api: lua/netbird.lua
--   steps.told(api, x) -> what a step is told beside the machine
--   steps.script(api, rec) -> the text of scripts/netbird-join.sh with the machine's one-time key, or nil: it has none
--
-- The key is kept sealed (vault.lua, "machine/ID/netbird_key") from its making until it has been used or is taken back: no
-- record, no operation, no log and no policy ever has it.

local agent_secret = require "machines.agent_secret"
local devices = require "netbird.devices"
local errors = require "errors"
local json = require "json"
local log = require "log"
local providers = require "providers"
local shell = require "shell"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local vault = require "vault"

local M = {}

local function place(rec) return "machine/" .. rec.id .. "/netbird_key" end

local function keep(rec, key)
  return store.update(function(tx)
    vault.put(tx, place(rec), key, rec.owner)
    return true
  end)
end

-- What is kept here of a key of this name that is no more.
local function forget(api, rec, name)
  local names = api.names(rec)
  local at = name == names.key and place(rec) or name == names.device_key and devices.place(rec.owner)
  if not at or not store.get("secret", at) then return true end
  return store.update(function(tx)
    vault.del(tx, at)
    return true
  end)
end

function M.script(api, rec)
  local key = store.get("secret", place(rec)) and vault.get(place(rec))
  if not key then return nil end
  local text = sys.carried("netbird-join.sh")
  for name, value in pairs { key = key, manager = api.manager or "", name = api.names(rec).peer } do
    local line = ("\n%s=%s\n"):format(name, shell.quote(value))
    local n
    text, n = text:gsub("\n" .. name .. "=''\n", function() return line end, 1)
    assert(n == 1, "netbird-join.sh has no line for " .. name)
  end
  return text
end

-- Whether the machine is the last of its owner's that the network is there for. One that is being made, and whose making is
-- undone, is not there any more; one that is merely stopped, is.
local function is_last(x)
  if x.op.kind ~= "delete" and x.op.kind ~= "cleanup" and x.op.kind ~= "create" then return false end
  local owner = x.rec.owner
  for _, row in ipairs(store.scan("instance_owner", { prefix = owner .. "/" })) do
    local other = store.get("instance", row.key:sub(#owner + 2))
    local there = other and other.id ~= x.rec.id and other.desired ~= "DELETED"
    if there and (other.mesh or other.status == "STARTING") then return false end
  end
  return true
end

-- Has the machine be told its key, where it was not told at its making. -> true | nil, err
local function tell(api, x)
  local p, err = providers.get(x.rec.provider)
  if not p then return nil, err end
  local caps = p:capabilities()
  local script = not caps.user_data and caps.exec and M.script(api, x.rec)
  if not script then return true end
  local result
  result, err = p:exec("cc-" .. x.rec.short, {
    cmd = { "sh" }, stdin = script, timeout = math.min(300, x.seconds), deadline = x.seconds,
    secret = agent_secret.get(x.rec),
  })
  if not result then return nil, err end
  if result.exit == 0 then return true end
  return errors.fail("failed", json.text(result.stderr):gsub("%s+$", ""):sub(-300), { retryable = true })
end

local function joined(api, o)
  local list, err = api.objects:peers(o.peer, o.group)
  if not list then return nil, err end
  local peer = list[1]
  return peer and { peer = peer.id, address = (peer.ip:gsub("/%d+$", "")) } or nil
end

-- Waits until the machine is a peer of its owner's group.
local function join(api, x, o)
  local ends, pause, told = time.mono() + (x.seconds - 3) * 1000, 1, false
  while true do
    local peer, err = joined(api, o)
    if peer or err then return peer, err end
    if not told then
      told, err = tell(api, x)
      if not told then return nil, err end
    else
      if time.mono() + pause * 1000 > ends then
        return errors.fail("unavailable", "the machine has not joined the network yet", { retryable = true, retry_after = 2 })
      end
      local ok, why = task.sleep(pause)
      if not ok then return nil, why end
      pause = math.min(5, pause * 1.5)
    end
  end
end

local function key(api, x, o)
  local rec = x.rec
  return api.objects:alone(rec.owner, function()
    local gone, err = api.objects:remove("peer", api.names(rec).peer) -- of a machine that was: a new one is another peer
    if not gone then return nil, err end
    local made
    made, err = api.objects:key(o)
    if not made then return nil, err end
    local kept
    kept, err = keep(rec, made.key)
    if not kept then return nil, err end
    return { key = made.id }
  end)
end

-- A group that others' things refer to stays, and the operator is told; the clean-up comes back to it.
local function remove(api, x, kind, name)
  local ok, err = api.objects:remove(kind, name)
  if ok and kind == "key" then return forget(api, x.rec, name) end
  if ok or err.code ~= "linked" then return ok, err end
  if (x.op.attempts or 1) < 4 then
    err.retryable = true
    return nil, err
  end
  log.warn("netbird", "a group stays, for something else refers to it", { group = name, why = err.message })
  return true
end

local function remove_last(api, x, kind, name)
  return api.objects:alone(x.rec.owner, function()
    if not is_last(x) then return true end
    return remove(api, x, kind, name)
  end)
end

local function names_fault(o, fields)
  for field, kind in pairs(fields) do
    if type(o) ~= "table" or type(o[field]) ~= kind then return errors.new("invalid", field .. ": a " .. kind .. " expected") end
  end
end

-- What a policy hands over is looked at before it is used.
local function checked(fields, fn)
  return function(x, o)
    local fault = names_fault(o, fields)
    if fault then return nil, fault end
    return fn(x, o)
  end
end

local removable = { group = true, key = true, policy = true, route = true, peer = true, devices = true }

local function removing(fn)
  return function(x, kind, name)
    if not removable[kind] or type(name) ~= "string" or name == "" then
      return errors.fail("invalid", "remove: a kind (group, key, policy, route, peer, devices) and a name expected")
    end
    return fn(x, kind, name)
  end
end

function M.effects(api)
  return {
    ["netbird.group"] = function(x, name)
      if type(name) ~= "string" then return errors.fail("invalid", "a group's name expected") end
      return api.objects:alone(x.rec.owner, function()
        local id, err = api.objects:group(name)
        return id and { group = id } or nil, err
      end)
    end,
    ["netbird.key"] = checked({ name = "string", groups = "table" }, function(x, o) return key(api, x, o) end),
    ["netbird.join"] = checked({ peer = "string", group = "string" }, function(x, o) return join(api, x, o) end),
    ["netbird.policy"] = checked({ name = "string", from = "table", to = "table" }, function(x, o)
      return api.objects:alone(x.rec.owner, function() return api.objects:policy(o) end)
    end),
    ["netbird.route"] = checked({ name = "string", network = "string", peer = "string", groups = "table" }, function(_, o)
      return api.objects:route(o)
    end),
    ["netbird.remove"] = removing(function(x, kind, name) return remove(api, x, kind, name) end),
    ["netbird.remove_last"] = removing(function(x, kind, name) return remove_last(api, x, kind, name) end),
    ["netbird.request"] = function(x, method, path, body) return api.request(method, path, body, { seconds = x.seconds }) end,
  }
end

-- The network behind a machine that is reached through it, where its owner has asked for one: of "10.1.2.3/24", "10.1.2.0/24".
local function subnet(rec)
  if rec.subnet_id == json.null or not rec.address then return nil end
  return require("addresses").network(rec.address)
end

function M.told(api, x)
  return { names = api.names(x.rec), agent_port = api.agent_port, subnet = subnet(x.rec) }
end

return M
