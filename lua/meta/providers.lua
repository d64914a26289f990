---@meta providers
-- luacheck: ignore 212 241
-- What `require "providers"` gives (lua/providers.lua; docs/scripts.md). [yields] marks what waits.

---All that it does waits, and none of it is written down: `instances` and `volumes` are for that. opts = {deadline = seconds}.
---@class providers.provider
local p = {}
---@return table<string, any>
function p:capabilities() end
---@return table<string, integer>
function p:stats() end
---@param opts? table
---@return table[]|nil infos, cchost.error|nil err
function p:list(opts) end
---@param id string
---@param opts? table
---@return table|nil info, cchost.error|nil err
function p:status(id, opts) end
---@param spec table
---@param opts? table
---@return table|nil info, cchost.error|nil err
function p:create(spec, opts) end
---@param id string
---@param opts? table
---@param spec? table
---@return table|nil info, cchost.error|nil err
function p:start(id, opts, spec) end
---@param id string
---@param opts? table
---@return table|nil, cchost.error|nil err
function p:stop(id, opts) end
---@param id string
---@param opts? { purge?: boolean, deadline?: number }
---@return table|nil, cchost.error|nil err
function p:destroy(id, opts) end
---@param id string
---@param opts? table
---@return table|nil, cchost.error|nil err
function p:suspend(id, opts) end
---@param id string
---@param opts? table
---@return table|nil, cchost.error|nil err
function p:activity(id, opts) end
---@param id string
---@param o { cmd: string[], stdin?: string, timeout?: number, deadline?: number, secret?: string }
---@return { exit: integer, stdout: string, stderr: string, truncated: boolean }|nil, cchost.error|nil err
function p:exec(id, o) end
---@param id string
---@param o? { bytes?: integer, deadline?: number }
---@return string|nil bytes, cchost.error|nil err
function p:logs(id, o) end
---@param id string
---@return { unix: string }|nil, cchost.error|nil err
function p:endpoint(id) end
---@param id string
---@param opts? table
---@return string|nil png, cchost.error|nil err
function p:screenshot(id, opts) end
---@param id string
---@param o? { seconds?: number, deadline?: number }
---@return { host: string, port: integer, password: string, until_at: integer }|nil, cchost.error|nil err
function p:console(id, o) end
---@param id string
---@param volume { id: string, path: string }
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:attach(id, volume, opts) end
---@param id string
---@param volume string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:detach(id, volume, opts) end
---@param spec { id: string, size_gib: integer, labels?: table<string, string> }
---@param opts? table
---@return table|nil volume, cchost.error|nil err
function p:volume_create(spec, opts) end
---@param id string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:volume_delete(id, opts) end
---@param opts? table
---@return table[]|nil volumes, cchost.error|nil err
function p:volume_list(opts) end
---@param volume string
---@param name string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:volume_restore(volume, name, opts) end
---@param volume string
---@param name string|nil       of a snapshot
---@param id string             the new one's
---@param opts? table
---@return table|nil volume, cchost.error|nil err
function p:volume_clone(volume, name, id, opts) end
---@param volume string
---@param name string
---@param opts? table
---@return { id: string, volume: string, size_gib: integer, created_at: integer }|nil, cchost.error|nil err
function p:snapshot_create(volume, name, opts) end
---@param volume string
---@param opts? table
---@return table[]|nil snapshots, cchost.error|nil err
function p:snapshot_list(volume, opts) end
---@param volume string
---@param name string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:snapshot_delete(volume, name, opts) end
---@param id string
---@param name string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:machine_snapshot(id, name, opts) end
---@param id string
---@param name string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:machine_snapshot_delete(id, name, opts) end
---@param id string
---@param name string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:machine_restore(id, name, opts) end
---Where a machine of that type may be had.
---@param type string
---@param opts? table
---@return string[]|nil, cchost.error|nil err
function p:places(type, opts) end
---@param opts? table
---@return { what: string, state: "ok"|"warn"|"bad", sentence: string }[]|nil, cchost.error|nil err
function p:check(opts) end
---@param spec { name: string, hash: string, type?: string, location?: string }
---@param opts? table
---@return table|nil image, cchost.error|nil err
function p:image_build(spec, opts) end
---@param opts? table
---@return table[]|nil images, cchost.error|nil err
function p:image_list(opts) end
---@param id string
---@param opts? table
---@return true|nil, cchost.error|nil err
function p:image_delete(id, opts) end
---Waits until something has changed there; behind: more may have, look at everything.
---@return { id: string, what: string }[]|nil, boolean|cchost.error behind_or_err
function p:changes() end
function p:close() end

---@class providers
local providers = {}

---@param name string           local, docker, libvirt, hetzner, mock
---@return providers.provider|nil, cchost.error|nil err
function providers.get(name) end
---@return string[]
function providers.names() end
---@param name string
---@return boolean
function providers.opened(name) end
---Whether its capabilities say `what`.
---@param name string
---@param what string
---@param sentence string       why not: "has no snapshots"
---@return true|nil, cchost.error|nil err
function providers.able(name, what, sentence) end
---What a machine is made of when nobody says it.
---@param name string
---@return string
function providers.default_image(name) end
---Whether at least `share` (0..1) of its requests of this hour are left.
---@param name string
---@param share number
---@return boolean
function providers.within_budget(name, share) end
---@param name any
---@return cchost.error
function providers.unknown(name) end
---Faults of their settings, as sentences.
---@param settings table
---@return string[]
function providers.check(settings) end
---@param settings table
function providers.setup(settings) end

return providers
