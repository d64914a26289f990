-- The providers that this process uses, opened once each, and what each may be asked.
--
-- providers.setup(settings)      how each is configured
-- providers.get(name) -> p | nil, err
-- providers.able(name, what, sentence) -> true | nil, err     whether its capabilities say `what`; sentence: "has no snapshots"
-- providers.names(), providers.opened(name)
-- providers.default_image(name)  what a machine is made of when nobody says it
-- providers.within_budget(name, share)   whether at least `share` (0..1) of its requests of this hour are left

local provider = require "provider"
local time = require "time"

local M = {}

local HOUR, MINUTE = 3600000, 60000

local settings_of, per_hour = {}, {}
local open, samples = {}, {}

-- What our own types are at Hetzner; any other type is Hetzner's own name.
local own_types = { tiny = "cpx11", small = "cpx11", medium = "cpx21", large = "cpx31" }

local function hetzner(settings)
  local out = {
    dir = settings.DATA_DIR .. "/hetzner", token = settings.HCLOUD_TOKEN, endpoint = settings.HCLOUD_ENDPOINT,
    location = settings.HCLOUD_LOCATION, image = settings.HCLOUD_IMAGE, types = settings.HCLOUD_TYPES or own_types,
    shell = settings.TERMINAL_COMMAND,
    requests_per_hour = (settings.PROVIDER_REQUESTS_PER_HOUR or {}).hetzner, threads = settings.PROVIDER_THREADS,
  }
  for name, value in pairs(settings.HCLOUD_OPTIONS or {}) do out[name] = value end
  return out
end

local function libvirt(settings)
  local out = {
    dir = settings.DATA_DIR .. "/libvirt", uri = settings.LIBVIRT_URI, virt = settings.LIBVIRT_TYPE,
    image = settings.LIBVIRT_IMAGE, images = settings.LIBVIRT_IMAGES, network = settings.LIBVIRT_NETWORK,
    storage = settings.STORAGE_BACKEND, vg = settings.LVM_VG_NAME, pool = settings.LVM_POOL_NAME,
    stop_grace_ms = settings.STOP_GRACE_SECONDS * 1000,
    shell = settings.TERMINAL_COMMAND, threads = settings.PROVIDER_THREADS,
  }
  for name, value in pairs(settings.LIBVIRT_OPTIONS or {}) do out[name] = value end
  return out
end

function M.setup(settings)
  settings_of["local"] = {
    dir = settings.DATA_DIR .. "/local",
    stop_grace_ms = settings.STOP_GRACE_SECONDS * 1000,
    shell = settings.TERMINAL_COMMAND,
    threads = settings.PROVIDER_THREADS,
    ssh_ports = settings.SSH_PORTS,
    spawner = settings.LOCAL_SPAWNER,
  }
  settings_of.docker = {
    dir = settings.DATA_DIR .. "/docker",
    host = settings.DOCKER_HOST,
    tls_verify = settings.DOCKER_TLS_VERIFY,
    cert_path = settings.DOCKER_CERT_PATH,
    image = settings.DOCKER_IMAGE,
    subnets = settings.DOCKER_SUBNETS,
    ports_address = settings.DOCKER_PORTS_ADDRESS,
    pids = settings.DOCKER_PIDS,
    firewall = settings.DOCKER_FIREWALL,
    stop_grace_ms = settings.STOP_GRACE_SECONDS * 1000,
    shell = settings.TERMINAL_COMMAND,
    threads = settings.PROVIDER_THREADS,
  }
  settings_of.hetzner = hetzner(settings)
  settings_of.libvirt = libvirt(settings)
  local mock = settings.MOCK or {}
  mock.threads = settings.PROVIDER_THREADS
  settings_of.mock = mock
  per_hour = settings.PROVIDER_REQUESTS_PER_HOUR or {}
  M.seconds = settings.PROVIDER_SECONDS
  M.threads = settings.PROVIDER_THREADS
end

function M.get(name)
  if open[name] then return open[name] end
  if name == "foreign" then return require("foreign") end
  if not settings_of[name] then return nil, M.unknown(name) end
  local p, err = provider.open(name, settings_of[name])
  if not p then
    if err.message:match "^dir: " then err.message = "DATA_DIR: the provider's " .. err.message end -- it is below that
    return nil, err
  end
  open[name] = p
  return p
end

function M.unknown(name)
  return require("errors").new("unsupported", "there is no provider called " .. tostring(name))
end

function M.able(name, what, sentence)
  local p, err = M.get(name)
  if not p then return nil, err end
  if p:capabilities()[what] then return true end
  return require("errors").fail("unsupported", ("the provider %s %s"):format(name, sentence))
end

function M.names() return provider.names() end

function M.opened(name) return open[name] ~= nil end

function M.default_image(name)
  local p = M.get(name)
  return p and p:capabilities().default_image or "host"
end

-- Faults of the settings of providers, as sentences; opens and closes the mock, which needs nothing of the host.
function M.check(settings)
  local faults, known = {}, {}
  for _, name in ipairs(M.names()) do known[name] = true end
  for name in pairs(settings.PROVIDER_REQUESTS_PER_HOUR or {}) do
    if not known[name] then
      faults[#faults + 1] = ("PROVIDER_REQUESTS_PER_HOUR: there is no provider called %s; known: %s"):format(name,
        table.concat(M.names(), ", "))
    end
  end
  local p, err = provider.open("mock", settings.MOCK)
  if p then p:close() else faults[#faults + 1] = "MOCK: " .. err.message end
  return faults
end

-- One sample a minute of how many calls there have been, for an hour. -> calls of the last hour
local function used(name)
  local list, now, calls = samples[name] or {}, time.mono(), open[name]:stats().calls
  samples[name] = list
  if #list == 0 then list[1] = { at = now, calls = 0 } end
  if now - list[#list].at >= MINUTE then list[#list + 1] = { at = now, calls = calls } end
  while #list > 1 and now - list[2].at >= HOUR do table.remove(list, 1) end
  return calls - list[1].calls
end

function M.within_budget(name, share)
  local most = per_hour[name]
  if not most or not open[name] then return true end
  return used(name) <= most * (1 - share)
end

return M
