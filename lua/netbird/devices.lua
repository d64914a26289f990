-- The user's own device in his machines' network: a key for one more, issued by connect.sh.
--
--   devices.key(api, rec) -> key, manager or nil | nil, err     [yields] for the group of that machine's owner
--   devices.place(owner)                                        where the vault has the next device's key
--
-- A key is good for one device and one day. The one that was given last is given again until it was used: however often the
-- script is fetched, an owner has one unused key at most.

local json = require "json"
local store = require "store"
local time = require "time"
local vault = require "vault"

local M = {}

local DAY, HOUR = 86400, 3600

function M.place(owner) return "user/" .. owner .. "/netbird_device" end

-- -> {id, key, ends} that is not near its end, or nil
local function kept(owner)
  local text = store.get("secret", M.place(owner)) and vault.get(M.place(owner))
  local last = text and json.decode(text)
  return last and last.ends > time.now() / 1000 + HOUR and last or nil
end

-- Whether Netbird still takes it. -> true or false | nil, err
local function is_good(api, last)
  local key, err = api.request("GET", "/api/setup-keys/" .. last.id)
  if not key then
    if err.code == "not_found" then return false end
    return nil, err
  end
  return key.valid and not key.revoked and key.used_times == 0
end

local function make(api, rec)
  local names = api.names(rec)
  local made, err = api.objects:key { name = names.device_key, groups = { names.group }, expires_in = DAY }
  if not made then return nil, err end
  local text = json.encode { id = made.id, key = made.key, ends = math.floor(time.now() / 1000) + DAY }
  local ok
  ok, err = store.update(function(tx)
    vault.put(tx, M.place(rec.owner), text, rec.owner)
    return true
  end)
  if not ok then return nil, err end
  return made.key
end

function M.key(api, rec)
  local key, err = api.objects:alone(rec.owner, function()
    local last = kept(rec.owner)
    if not last then return make(api, rec) end
    local good, why = is_good(api, last)
    if good then return last.key end
    if why then return nil, why end
    return make(api, rec)
  end)
  if not key then return nil, err end
  return key, api.manager
end

return M
