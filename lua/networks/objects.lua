-- What VPCs, subnets and security groups have in common: records of an owner's, with a name that is unique where they are.
--
--   local vpcs = objects.new { kind = "vpc", what = "VPC", scope = function(rec) return rec.owner end }
--     part: what the log of a VPC calls one that is in it
--     scope: where its name is unique; the owner's are also called by their name where that is the owner
--   vpcs:find(actor, key) -> id, JSON text | nil, err        vpcs:get(actor, key) -> record | nil, err
--   vpcs:list(actor, after, limit) -> {texts =, keys =, after = cursor or nil} | nil, err
--   in an update:
--   vpcs:taken(tx, rec) -> err or nil
--   vpcs:save(tx, old, rec, type, by, note)                  old nil: a new one
--   vpcs:remove(tx, rec, type, by, note)

local errors = require "errors"
local ids = require "ids"
local json = require "json"
local machine_record = require "machines.record"
local rights = require "rights"
local store = require "store"
local time = require "time"

local M = {}

local Objects = {}
Objects.__index = Objects

function M.new(o)
  local self = setmetatable(o, Objects)
  rights.find[o.kind] = function(actor, key) return self:find(actor, key) end
  return self
end

-- The actor's own, as what it makes has as its owner.
local function owner_of(actor) return actor.user or "operator" end
M.owner_of = owner_of

function Objects:not_found() return errors.fail("not_found", "no such " .. self.what) end

function Objects:find(actor, key)
  local id = ids.is_uuid(key) and key:lower()
    or self.by_name and #key <= 128 and store.lookup(self.kind .. "_name", owner_of(actor) .. "/" .. key)
  local text, owner
  if id then text, owner = store.raw(self.kind, id) end
  if text and rights.owns(actor, owner) then return id, text end
  return self:not_found()
end

function Objects:get(actor, key)
  local id, text = self:find(actor, key)
  if not id then return nil, text end
  return json.decode(text)
end

function Objects:list(actor, after, limit)
  local index, prefix = self.kind .. "_all", ""
  if not actor.admin then index, prefix = self.kind .. "_owner", actor.user .. "/" end
  local page, err = store.scan(index, { prefix = prefix, after = after and prefix .. after, limit = limit + 1 })
  if not page then return nil, err end
  local texts, keys = {}, {}
  for i = 1, math.min(#page, limit) do
    after = page[i].key:sub(#prefix + 1)
    local text = store.raw(self.kind, after)
    if text then texts[#texts + 1], keys[#keys + 1] = text, after end
  end
  return { texts = texts, keys = keys, after = #page > limit and after or nil }
end

-- ---- in an update

function Objects:taken(tx, rec)
  if tx:lookup(self.kind .. "_name", self.scope(rec) .. "/" .. rec.name) then
    return errors.new("exists", ("name: there is a %s called '%s' already"):format(self.what, rec.name), { field = "name" })
  end
end

function Objects:save(tx, old, rec, type, by, note)
  rec.version = old and old.version + 1 or 1
  rec.updated_at = time.rfc3339(tx:now())
  if not old then
    tx:index(self.kind .. "_name", self.scope(rec) .. "/" .. rec.name, rec.id)
    tx:index(self.kind .. "_owner", rec.owner .. "/" .. rec.id, "")
    tx:index(self.kind .. "_all", rec.id, "")
  end
  tx:put(self.kind, rec.id, rec, rec.owner)
  local data = {}
  for k, v in pairs(note or {}) do data[k] = v end
  if old then data.changes, data.removed = machine_record.changes(old, rec) else data.changes = rec end
  tx:log(self.kind, rec.id, type, data, by)
end

function Objects:remove(tx, rec, type, by, note)
  tx:unindex(self.kind .. "_name", self.scope(rec) .. "/" .. rec.name)
  tx:unindex(self.kind .. "_owner", rec.owner .. "/" .. rec.id)
  tx:unindex(self.kind .. "_all", rec.id)
  tx:del(self.kind, rec.id)
  tx:log(self.kind, rec.id, type, note, by)
end

return M
