---@meta machines.access
-- luacheck: ignore 212 241
-- What `require "machines.access"` gives (lua/machines/access.lua; docs/scripts.md). [yields] marks what waits.

---@class machines.access
---@field CONSOLE_SECONDS number  how long the password of a screen is good
local access = {}

---Runs a command on a machine that runs. [yields]
---@param actor cchost.actor
---@param key string
---@param cmd string[]
---@param seconds? number       60
---@return { exit: integer, stdout: string, stderr: string, truncated: boolean }|nil, cchost.error|nil err
function access.exec(actor, key, cmd, seconds) end

---The newest output of its command, 64 KiB at most. [yields]
---@param actor cchost.actor
---@param key string
---@return string|nil bytes, cchost.error|nil err
function access.logs(actor, key) end

---What it does: last_input_at, load, ...; times are unix ms. [yields]
---@param actor cchost.actor
---@param key string
---@return table|nil activity, cchost.error|nil err
function access.activity(actor, key) end

---[yields]
---@param actor cchost.actor
---@param key string
---@return string|nil png, cchost.error|nil err   unsupported: it has no screen
function access.screenshot(actor, key) end

---A password for its screen. [yields]
---@param actor cchost.actor
---@param key string
---@return { host: string, port: integer, password: string, until_at: integer }|nil, cchost.error|nil err
function access.console(actor, key) end

---One that runs, with its provider; one that is starting is waited for. [yields]
---@param actor cchost.actor
---@param key string
---@param seconds? number
---@param still? boolean        or is suspended
---@return cchost.machine|nil, providers.provider|cchost.error provider_or_err
function access.running(actor, key, seconds, still) end

---What needs the machine has failed: it is looked at, and started again when it does not run. [yields]
---@param rec cchost.machine
---@param err cchost.error
function access.doubt(rec, err) end

---What the server puts here for itself: called when a command was run for its user.
---@param id string
function access.on_use(id) end

return access
