---@meta policy
-- luacheck: ignore 212 241
-- What `require "policy"` gives (lua/policy.lua; docs/scripts.md). [yields] marks what waits.

---A set of policies.
---@class policy.generation
---@field number integer
---@field [string] any

---@class policy
---@field derived table<string, function>
---@field folder? string        POLICIES_DIR
local policy = {}

---What a policy says. It never fails: where it does, the safe answer is given.
---@param owner string
---@param name string           "idle.decide"
---@param input table           what lua/meta/policies.lua says
---@param now? number           unix seconds
---@return policy.generation, any verdict, string reason, any ...
function policy.ask_for(owner, name, input, now) end
---The same for input.owner.
---@param name string
---@param input table
---@param now? number
---@return any verdict, string reason, any ...
function policy.ask(name, input, now) end
---@param gen policy.generation
---@param name string
---@param input table
---@param now? number
---@return any verdict, string reason, any ...
function policy.ask_of(gen, name, input, now) end
---The table of a file that is data.
---@param kind string           "plans"
---@param owner? string
---@return table
function policy.data(kind, owner) end
---The set in force. [yields the first time in a script]
---@return policy.generation
function policy.live() end
---That which decides for this user.
---@param owner string
---@return policy.generation
function policy.for_owner(owner) end
---@param owner? string
---@return integer|nil
function policy.number(owner) end
---Of that number, also one that was replaced.
---@param number integer
---@return policy.generation|nil, cchost.error|nil err
function policy.of(number) end
---@return table                what `cchost policy status` shows
function policy.status() end
---@return table<string, table<string, integer>>   by function and verdict
function policy.counts() end
---Puts it in force when it is good. [yields]
---@param sources table<string, string>
---@param author string
---@param note? string
---@return table|nil set, table[]|nil faults
function policy.try(sources, author, note) end
---@return boolean              whether somebody's set is being built
function policy.trying() end
---Waits until none is. [yields]
---@return true|nil, cchost.error|nil err     cancelled
function policy.rest() end
---@return table<string, string>
function policy.shipped() end
---The files of a folder, and the shipped one of each that it does not have. [yields]
---@param folder string
---@return table<string, string>|nil sources, cchost.error|nil err
function policy.read(folder) end
---The files of a folder alone. [yields]
---@param folder string
---@return table<string, string>|nil sources, cchost.error|nil err
function policy.read_own(folder) end
---fn(gen) after another set is in force.
---@param fn fun(gen: policy.generation)
function policy.on_change(fn) end
---fn() after other users than before are decided for by a staged set.
---@param fn fun()
function policy.on_split(fn) end
---script.open does this. [yields]
---@param settings table
---@param options? { serve: boolean }
---@return true|nil, cchost.error|nil err
function policy.open(settings, options) end

-- The server's own.

---@param trial table|nil
function policy.stage(trial) end
---@param err cchost.error
function policy.refuse(err) end
---@param gen policy.generation
---@param name string
---@param why string
---@param then_what string
function policy.failed(gen, name, why, then_what) end
---@param gen policy.generation
---@param name string
---@param input table
---@param ok boolean
---@return any ...
function policy.settle(gen, name, input, ok, a, b, c) end

return policy
