-- Opens what serve and scripts stand on: the store, brought up to date, the providers, and this process's name among those
-- that do work.
--
-- setup.open(settings, {serve = true}) -> true | nil, err     [yields]
--   read_only = store.update answers nil and an error; records of an older cchost are an error, too
--   parent = a process whose place we take (upgrade.lua): its lock and clock are ours, and it is asked before records change
-- setup.open_vault(settings) -> true | nil, err    in `open`: the master key's secrets can be read
-- setup.adopt_clock()      for who has opened the store alone: the clock of deadlines is that of the server beside him
-- setup.use(settings) -> true | nil, err     only hands the settings to those who need them; opens nothing

local agent = require "machines.agent"
local checks = require "provider_checks"
local machine_addresses = require "machines.addresses"
local book = require "billing.book"
local errors = require "errors"
local fs = require "fs"
local generation = require "policy.generation"
local health = require "machines.health"
local instances = require "instances"
local keys = require "keys"
local log = require "log"
require "billing.metering"
local migrations = require "migrations"
local netbird = require "netbird"
local networks = require "networks"
local policy = require "policy"
local previews = require "machines.previews"
local providers = require "providers"
local reconcile = require "reconcile"
local retention = require "retention"
local runner = require "runner"
local sessions = require "accounts.sessions"
local standing = require "billing.standing"
local statuses = require "statuses"
local steady = require "steady"
local store = require "store"
local stripe = require "stripe"
local stripe_serve = require "stripe.serve"
local task = require "task"
local update = require "machines.update"
local users = require "accounts.users"
local vault = require "vault"
local wake = require "machines.wake"
local whatif = require "whatif.child"
local webhooks = require "webhooks.setup"
local workflows = require "machines.workflows"
require "volumes"

local M = {}

local function network_of(settings)
  local backend = settings.NETWORK_BACKEND
  local driver = { dir = settings.DATA_DIR .. "/network" }
  if backend == "ovs" then
    driver = { rundir = settings.OVS_RUNDIR, datapath = settings.OVS_DATAPATH }
    for name, value in pairs(settings.OVS_OPTIONS or {}) do driver[name] = value end
  end
  return {
    backend = backend, settings = driver, plain = settings.OVS_DATAPATH == "netdev", quota = settings.QUOTA_VPCS,
    cidr = settings.DEFAULT_VPC_CIDR,
  }
end

function M.use(settings)
  local changes = {}
  for name, seconds in pairs(settings.STATUS_SECONDS or {}) do changes[name] = { seconds = seconds } end
  providers.setup(settings)
  checks.settings, whatif.settings = settings, settings
  runner.seconds = settings.PROVIDER_SECONDS
  instances.settings.provider = settings.PROVIDER
  instances.settings.quota = settings.QUOTA_INSTANCES
  agent.settings = {
    idle = settings.PROXY_IDLE_SECONDS, head = settings.HTTP_HEAD_SECONDS, ping = settings.PROXY_PING_SECONDS,
    body_max = settings.PROXY_BODY_BYTES,
  }
  wake.seconds = settings.WAKE_SECONDS
  health.setup(settings)
  update.seconds = settings.AGENT_CHECK_SECONDS
  workflows.terminals = { ring = settings.TERMINAL_RING, sessions = settings.TERMINAL_SESSIONS }
  previews.url = settings.PREVIEW_URL
  reconcile.settings.sweep_seconds = settings.SWEEP_SECONDS
  reconcile.settings.orphans = settings.ORPHANS
  reconcile.settings.grace_seconds = settings.ORPHAN_GRACE_SECONDS
  netbird.setup {
    token = settings.NETBIRD_API_TOKEN, url = settings.NETBIRD_API_URL, manager = settings.NETBIRD_MANAGEMENT_URL,
    prefix = settings.NETBIRD_PREFIX, agent_port = settings.NETBIRD_AGENT_PORT,
    a_minute = settings.NETBIRD_REQUESTS_PER_MINUTE,
  }
  networks.setup(network_of(settings))
  stripe.setup {
    key = settings.STRIPE_SECRET_KEY, url = settings.STRIPE_API_URL, version = settings.STRIPE_API_VERSION,
    usage = settings.STRIPE_USAGE, meter = settings.STRIPE_METER,
  }
  standing.on = stripe.configured()
  stripe_serve.setup(settings)
  machine_addresses.network = settings.MACHINE_NETWORKS
  users.admin_email = settings.ADMIN_EMAIL
  sessions.signup = settings.SIGNUP or "open"
  retention.settings = {
    log_days = settings.LOG_DAYS, tombstone_days = settings.TOMBSTONE_DAYS, operation_days = settings.OPERATION_DAYS,
    conversation_days = settings.CONVERSATION_DAYS, delivery_days = settings.WEBHOOK_LOG_DAYS,
  }
  webhooks.setup(settings)
  local faults = providers.check(settings)
  if #faults > 0 then return errors.fail("invalid", table.concat(faults, "; ")) end
  return statuses.extend(changes)
end

-- The clock of deadlines is one on this host until it boots again: serve says which, scripts take it.
local function share_clock(serve)
  local boot = (fs.read("/proc/sys/kernel/random/boot_id", 64) or "?"):match("^%S+")
  if serve then
    local _, err = store.update(function(tx)
      tx:put("meta", "clock", { boot = boot, offset = math.floor(steady.offset()) })
      return true
    end)
    if err then log.warn("setup", "scripts cannot be told the clock of deadlines", { error = tostring(err) }) end
    return true
  end
  local clock = store.get("meta", "clock")
  if clock and clock.boot == boot then steady.adopt(clock.offset) end
  return true
end

-- Steps of workflows, which scripts do, too, keep secrets there, and who makes a machine seals its agent's.
function M.open_vault(settings)
  local ring, err = keys.master(settings)
  if not ring then return nil, err end
  vault.setup(ring)
  return true
end

function M.adopt_clock() return share_clock(false) end

-- Balances are numbers without a currency: once there are any, it stays what it is.
generation.checks[#generation.checks + 1] = function(gen)
  local meta = store.stats() and store.get("meta", "price_book")
  if not meta then return nil end
  local is, new = book.get(meta.last).currency, gen:data("plans").currency or "USD"
  if is == new or #assert(store.list("ledger", { limit = 1 })) == 0 then return nil end
  return ("currency: the books are in %s, and their balances cannot become %s; make a new store for another currency")
    :format(is, new), "plans"
end

-- Nothing is written by this process.
local function only_read()
  if migrations.due() then
    return errors.fail("denied", "the records are of an older cchost; who may write brings them up to date")
  end
  function store.update() return errors.fail("denied", "this process only reads the store") end
  return true
end

-- The prices in force are in the book before anything is metered by them.
local function open_book(serve, read_only)
  if not serve then
    if read_only or store.get("meta", "price_book") then return true end
    return book.note(policy.data("plans"))
  end
  policy.on_change(function(gen)
    local plans = gen:data("plans")
    task.spawn(function()
      repeat -- an edit's prices are not lost because the disk was full when it was made
        local ok, err = book.note(plans)
        if not ok then log.error("setup", "new prices are not in the book; tried again", { error = tostring(err) }) end
      until ok or policy.live() ~= gen or not task.sleep(5)
    end)
  end)
  return book.note(policy.data("plans"))
end

function M.open(settings, options)
  local ok, err = M.use(settings)
  if not ok then return nil, err end
  local parent = options.parent
  for _, step in ipairs {
    function() return store.open { dir = settings.DATA_DIR, serve = options.serve, serve_fd = parent and parent.lock } end,
    function() return runner.setup(settings.DATA_DIR) end,
    function() return M.open_vault(settings) end,
    function() return not (parent and migrations.due()) or parent:wait("migrates") end,
    options.read_only and only_read or migrations.run,
    function() return share_clock(options.serve and not parent) end,
    function() return policy.open(settings, options) end,
    function() return open_book(options.serve, options.read_only) end,
  } do
    ok, err = step()
    if not ok then return nil, err end
  end
  return true
end

return M
