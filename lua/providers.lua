-- The providers that this process uses, opened once each.
--
-- providers.setup(settings)      how each is configured
-- providers.get(name) -> p | nil, err

local provider = require "provider"

local M = {}

local settings_of = {}
local open = {}

function M.setup(settings)
  settings_of["local"] = {
    dir = settings.DATA_DIR .. "/local",
    stop_grace_ms = settings.STOP_GRACE_SECONDS * 1000,
    shell = settings.TERMINAL_COMMAND,
    threads = settings.PROVIDER_THREADS,
  }
  local mock = settings.MOCK or {}
  mock.threads = settings.PROVIDER_THREADS
  settings_of.mock = mock
  M.seconds = settings.PROVIDER_SECONDS
  M.threads = settings.PROVIDER_THREADS
end

function M.get(name)
  if open[name] then return open[name] end
  local p, err = provider.open(name, settings_of[name])
  if not p then return nil, err end
  open[name] = p
  return p
end

return M
