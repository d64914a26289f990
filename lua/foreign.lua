-- The provider "foreign": servers that somebody else drives, known to us by an import of instances.json. Its machines
-- are records, and nothing here or in a sweep ever touches the servers. A wish that would need the provider fails and
-- says why; the deletion of such a machine is the deletion of its record.

local errors = require "errors"

local M = {}
M.__index = M

local function refuse()
  return errors.fail("unsupported", "this machine came from instances.json: its server is not driven by cchost")
end

for _, verb in ipairs {
  "create", "start", "stop", "status", "list", "exec", "endpoint", "activity", "volume_create", "attach", "detach",
} do
  M[verb] = refuse
end

function M.destroy() return true end

function M.capabilities() return {} end

return setmetatable({}, M)
