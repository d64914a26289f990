---@meta store
-- luacheck: ignore 212 241
-- What `require "store"` gives to scripts (host/script/bind_store*.c; docs/scripts.md). [yields] marks what waits.

---@class store
local store = {}

---@class store.range
---@field prefix? string
---@field after? string         left out of the answer
---@field limit? integer
---@field reverse? boolean

---@class store.entry           of the log
---@field seq integer
---@field at integer            unix ms
---@field kind string
---@field id string
---@field type string
---@field by string
---@field data string           JSON; "" when trimmed
---@field hash string
---@field before string
---@field prev integer
---@field trimmed boolean

---@class store.tx
local tx = {}
---@return any value, integer rev
function tx:get(kind, id) end
---@return string text, string owner, integer rev
function tx:raw(kind, id) end
---@return any value
function tx:lookup(index, key) end
---@param owner? string         nil: stays what it is
---@return integer rev
function tx:put(kind, id, value, owner) end
---@return boolean was_there
function tx:del(kind, id) end
function tx:index(index, key, value) end
---@return boolean was_there
function tx:unindex(index, key) end
---@param data? table
function tx:log(kind, id, type, data, by) end
---@return integer ms           when the update began
function tx:now() end

---@return any value, integer rev      nil: absent
function store.get(kind, id) end
---@return string text, string owner, integer rev
function store.raw(kind, id) end
---@return string|nil value
function store.lookup(index, key) end
---@param range? store.range
---@return { key: string, value: string }[]|nil, table|nil err
function store.scan(index, range) end
---@param range? store.range
---@return { id: string, json: string, owner: string, rev: integer }[]|nil, table|nil err
function store.list(kind, range) end
---@param range? { after: integer, limit: integer, reverse: boolean }
---@return store.entry[]|nil, table|nil err
function store.log(range) end
---@param range? { limit: integer }
---@return store.entry[]|nil, table|nil err     newest first
function store.history(kind, id, range) end
---[yields] true: the log has more than that sequence; false: the time is over.
---@return boolean|nil, table|nil err
function store.wait(after, seconds) end
---[yields] What fn returns, once it is durable. It must not wait, and may run again.
---@param fn fun(tx: store.tx): any
---@return any ...
function store.update(fn) end
---[yields]
---@return { entries: integer, objects: integer }|nil, table|nil err
function store.verify() end
---[yields] Drops the data of these entries of the log for ever; it stays provable.
---@param seqs integer[]
---@return integer|nil n, table|nil err         how many had data that could be dropped
function store.trim(seqs) end
---Kinds, and indexes, that hold something.
---@return string[]|nil, table|nil err
function store.kinds() end
---@return string[]|nil, table|nil err
function store.indexes() end
---[yields]
---@param options? { even_broken: boolean }
---@return { bytes: integer, entries: integer, objects: integer, log_seq: integer }|nil, table|nil err
function store.backup(path, options) end
---@return { records: integer, log_seq: integer, map_bytes: integer }|nil, table|nil err
function store.stats() end

---[yields] Makes a backup the store of the data folder `dir`. No store may be open here.
---@param options? { force: boolean }
---@return { bytes: integer, entries: integer, objects: integer, log_seq: integer }|nil, table|nil err   exists
function store.restore(path, dir, options) end
---script.open does this.
---@param o { dir: string, serve?: boolean, serve_fd?: integer, map_mib?: integer }
---@return true|nil, table|nil err
function store.open(o) end
function store.close() end

-- Of the server, for the process that takes its place.

---@return integer fd
function store.serve_fd() end
function store.serve_note() end

return store
