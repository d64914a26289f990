-- What providers call the volumes that records name. A provider has one list of volumes for everybody, and what one user calls
-- "data" is not what another calls so: there its name begins with the owner's id, and with a dot, which no name in a
-- record has. The operator's keep their names, and so do those of before (record "volume_alias", OWNER/ID: {at = name there}).
--
--   volumes.there(owner, id) -> name at the provider that a new volume gets
--   volumes.of_clone(owner, uuid) -> the same for a clone, which must find nothing there that is not its own
--   volumes.at(rec, id) -> name at the provider of the volume that a machine's record calls so
--   volumes.mounts(rec) -> {{id = name at the provider, path =}...}
--   volumes.plain(owner, err) -> err     whose message calls them as the owner does

local crypto = require "crypto"
local ids = require "ids"
local json = require "json"
local record = require "volumes.record"
local store = require "store"

local M = {}

local MOST = 64 -- characters of a volume's name at a provider

local function digest(text) return crypto.hex(crypto.sha256(text)) end

-- 32 characters
local function prefix(owner)
  if ids.is_uuid(owner) then return (owner:gsub("-", "")) end
  return digest(owner):sub(1, 32)
end

function M.there(owner, id)
  if owner == "operator" then return id end
  local kept = store.get("volume_alias", owner .. "/" .. id)
  if kept then return kept.at end
  local name = prefix(owner) .. "." .. id
  if #name <= MOST then return name end
  return prefix(owner) .. "." .. digest(id):sub(1, MOST - 33)
end

function M.of_clone(owner, id)
  local name = "clone-" .. ids.short(id)
  return owner == "operator" and name or prefix(owner) .. "." .. name
end

function M.at(rec, id)
  local known = record.of_machine(rec, id)
  return known and known.provider_id or M.there(rec.owner, id)
end

function M.mounts(rec)
  local list = json.array {}
  for i, v in ipairs(rec.volumes) do list[i] = { id = M.at(rec, v.id), path = v.path } end
  return list
end

function M.plain(owner, err)
  if owner ~= "operator" and type(err.message) == "string" then
    err.message = err.message:gsub(prefix(owner) .. "%.", "")
  end
  return err
end

return M
