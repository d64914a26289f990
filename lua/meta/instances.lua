---@meta instances
-- luacheck: ignore 212 241
-- What `require "instances"` gives (lua/instances.lua; docs/scripts.md). [yields] marks what waits.

---Who asks. {admin = true} is the operator; {user = ID} sees and may what that user does. What he is not to see is "not_found".
---@class cchost.actor
---@field admin? boolean
---@field user? string
---@field by? string            how the log calls him
---@field expects? integer      the version that the record must have

---What failed; tostring(err) is "code: message".
---@class cchost.error
---@field code string           one of docs/api.md#codes
---@field message string
---@field retryable? boolean

---A machine, as GET /instances/{id} answers it.
---@class cchost.machine
---@field id string
---@field short string
---@field name string
---@field owner string
---@field status string         the state that it is in: STARTING, RUNNING, STOPPED, ...
---@field desired string
---@field provider string
---@field type string
---@field image string
---@field labels table<string, string>
---@field env table<string, string>
---@field volumes table[]
---@field created_at string     RFC 3339
---@field updated_at string
---@field expires_at any        a time, or json.null
---@field last_activity_at string
---@field operation any         the id of the work that is under way, or json.null
---@field version integer
---@field [string] any          the rest

---A piece of work, as GET /operations/{id} answers it.
---@class cchost.operation
---@field id string
---@field kind string
---@field state string          queued, running, undoing, done, failed, cancelled
---@field step any
---@field [string] any

---@class cchost.page
---@field texts string[]        JSON of each
---@field keys? string[]
---@field after? string         the cursor of the next page; nil: this is the last

---@class instances
---@field operator cchost.actor  may everything
---@field settings table
local instances = {}

---Machines that are not deleted, by id. [yields]
---@param actor cchost.actor
---@param after? string
---@param limit integer
---@return cchost.page|nil, cchost.error|nil err
function instances.list(actor, after, limit) end

---@param actor cchost.actor
---@param key string            a uuid, its short form, or the name of one of the actor's own
---@return cchost.machine|nil, cchost.error|nil err
function instances.get(actor, key) end

---As it was at that time, written as `when` takes it.
---@param actor cchost.actor
---@param key string
---@param text string
---@return cchost.machine|nil, cchost.error|nil err
function instances.at(actor, key, text) end

---The id and the stored JSON.
---@param actor cchost.actor
---@param key string
---@return string|nil id, string|cchost.error text_or_err
function instances.find(actor, key) end

---@param actor cchost.actor
---@param key string
---@return string|nil text, cchost.error|nil err
function instances.text(actor, key) end

---@param actor cchost.actor
---@param key string
---@return string|nil id        a uuid
function instances.resolve(actor, key) end

---It is being made when this returns. [yields]
---@param actor cchost.actor
---@param spec table            what POST /instances takes
---@return cchost.machine|nil, string|cchost.error operation_or_err
function instances.create(actor, spec) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param verb "start"|"stop"|"delete"|"pause"|"wake"|"resume"
---@param seconds? number       how long its end is waited for (30)
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.move(actor, key, verb, seconds) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param change { name?: string, labels?: table<string, string>, env?: table<string, string>, security_groups?: string[] }
---@return cchost.machine|nil, cchost.error|nil err
function instances.patch(actor, key, change) end

---Its end is so many hours later; one that waits for hours is started. [yields]
---@param actor cchost.actor
---@param key string
---@param hours number
---@return cchost.machine|nil, string|cchost.error|nil operation_or_err
function instances.extend(actor, key, hours) end

---It stands still and keeps its memory. [yields]
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.suspend(actor, key, seconds) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param type_name string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.resize(actor, key, type_name, seconds) end

---[yields] Off and on again, as one operation.
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.restart(actor, key, seconds) end

---A volume that is not there yet is made. [yields]
---@param actor cchost.actor
---@param key string
---@param volume { id: string, path: string }
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.attach(actor, key, volume, seconds) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param id string             the volume's
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.detach(actor, key, id, seconds) end

---Of its disk, and of the volume that was made for it. [yields]
---@param actor cchost.actor
---@param key string
---@param name string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.snapshot(actor, key, name, seconds) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param name string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.restore(actor, key, name, seconds) end

---[yields]
---@param actor cchost.actor
---@param key string
---@param name string
---@param seconds? number
---@return cchost.machine|nil, boolean|cchost.error done_or_err, string|nil operation
function instances.delete_snapshot(actor, key, name, seconds) end

---@param actor cchost.actor
---@param key string
---@return table[]|nil, cchost.error|nil err
function instances.snapshots(actor, key) end

---When it is over, or the time is. [yields]
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@return cchost.operation|nil, cchost.error|nil err
function instances.operation(actor, key, seconds) end

---Ends it, and undoes what it did. [yields]
---@param actor cchost.actor
---@param id string
---@param seconds? number
---@return cchost.operation|nil, cchost.error|nil err
function instances.cancel(actor, id, seconds) end

---Whose a new machine or volume is: the actor's, or that of an account which an admin names.
---@param actor cchost.actor
---@param user_id? string
---@return string|nil owner, cchost.error|nil err
function instances.owner_for(actor, user_id) end

---Machines that came with an address as their owner become those of the account that has it. [yields]
---@param address string
---@param owner string
---@return true|nil, cchost.error|nil err
function instances.give(address, owner) end

-- What the server puts here for itself: called, not to be called.

---@param id string
---@param verb string
function instances.on_leaving(id, verb) end
---@param text string
---@return string text          as clients see it
function instances.as_seen(text) end
---@param id string
---@return string|nil at        RFC 3339
function instances.last_used(id) end
---@param rec cchost.machine
---@return string|nil why, table|nil decision
function instances.refuses_start(rec) end

return instances
