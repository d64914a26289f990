---@meta volumes
-- luacheck: ignore 212 241
-- What `require "volumes"` gives (lua/volumes.lua; docs/scripts.md). [yields] marks what waits.

---A volume, as GET /volumes/{id} answers it.
---@class cchost.volume
---@field id string
---@field name string
---@field owner string
---@field provider string
---@field size_gib integer
---@field snapshots { name: string, created_at: string, [string]: any }[]
---@field [string] any

---@class volumes
---@field fields table          what `create` takes
local volumes = {}

---@param actor cchost.actor
---@param after? string
---@param limit integer
---@return cchost.page|nil, cchost.error|nil err
function volumes.list(actor, after, limit) end
---@param actor cchost.actor
---@param key string            its id, or its name
---@return cchost.volume|nil, cchost.error|nil err
function volumes.get(actor, key) end
---[yields]
---@param actor cchost.actor
---@param spec { name?: string, size_gib?: integer, provider?: string, user_id?: string }
---@return cchost.volume|nil, string|cchost.error operation_or_err
function volumes.create(actor, spec) end
---A new one with the data of this one, or of a snapshot of it. [yields]
---@param actor cchost.actor
---@param key string
---@param spec { name?: string, snapshot?: string }
---@return cchost.volume|nil, string|cchost.error operation_or_err
function volumes.clone(actor, key, spec) end
---What became of one that was just asked for, after so many seconds at most. [yields]
---@param actor cchost.actor
---@param rec cchost.volume
---@param op string
---@param seconds number
---@return cchost.volume
function volumes.settled(actor, rec, op, seconds) end
---With its data and its snapshots. [yields]
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.delete(actor, key, seconds) end
---[yields]
---@param actor cchost.actor
---@param key string
---@param name? string
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.snapshot(actor, key, name, seconds) end
---[yields]
---@param actor cchost.actor
---@param key string
---@param name string
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.drop_snapshot(actor, key, name, seconds) end
---[yields]
---@param actor cchost.actor
---@param key string
---@param name string
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.restore(actor, key, name, seconds) end
---[yields]
---@param actor cchost.actor
---@param key string
---@param spec { machine: string, path?: string }
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.attach(actor, key, spec, seconds) end
---[yields]
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@return cchost.volume|nil, boolean|cchost.error done_or_err, string|nil operation
function volumes.detach(actor, key, seconds) end

return volumes
