-- Whether a provider will do, in plain words: for `cchost provider check` and GET /providers/{id}/check.
--
--   checks.of(name, settings) -> {{state = "ok" | "warn" | "bad", what =, sentence =}, ...} | nil, err    [yields] `name`: a
--       provider's, or "netbird"
--   checks.settings    the server's
--   checks.known(name) -> whether there is a provider of that name

local netbird = require "netbird"
local providers = require "providers"
local statuses = require "statuses"

local M = {}

local INSTALL_SECONDS = 1800 -- what is less is not meant for it

function M.known(name)
  for _, each in ipairs(providers.names()) do
    if each == name then return true end
  end
  return false
end

-- The image nixos-anywhere needs a call that lasts as long as an installation. -> finding or nil
local function hasty(settings)
  local options = settings.HCLOUD_OPTIONS or {}
  local default = settings.HCLOUD_IMAGE == "nixos-anywhere"
  if not default and not options["nixos.flake"] and not (options.nixos or {}).flake then return nil end
  local call = settings.PROVIDER_SECONDS
  local starting = (settings.STATUS_SECONDS or {}).STARTING or statuses.get("STARTING").seconds
  if call >= INSTALL_SECONDS and starting >= call then return nil end
  return {
    state = default and "bad" or "warn", what = "seconds",
    sentence = ("A machine of image nixos-anywhere is installed at each start, which takes minutes. PROVIDER_SECONDS (%d) and "
      .. "STATUS_SECONDS.STARTING (%d) would cut it off: set 3600 and 7200."):format(call, starting),
  }
end

function M.of(name, settings)
  if name == "netbird" then return netbird.check() end
  local p, err = providers.get(name)
  if not p then return { { what = "settings", state = "bad", sentence = err.message } } end
  if not p:capabilities().check then
    return { { what = "settings", state = "ok", sentence = ("the provider %s needs nothing of this host"):format(name) } }
  end
  local list
  list, err = p:check { deadline = providers.seconds }
  if not list then return nil, err end
  if name == "hetzner" then list[#list + 1] = hasty(settings) end
  return list
end

return M
