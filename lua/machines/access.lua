-- Using a machine that runs: commands, logs, activity, and where its terminal is. Starts again what was found dead.

local agent_secret = require "machines.agent_secret"
local credentials = require "accounts.credentials"
local errors = require "errors"
local instances = require "instances"
local json = require "json"
local providers = require "providers"
local reconcile = require "reconcile"
local runner = require "runner"
local store = require "store"

local M = {}

-- A machine that runs (one that is starting is waited for), with its provider; `still`: or is suspended. -> record, provider |
-- nil, err
function M.running(actor, key, seconds, still)
  local rec, err = instances.get(actor, key)
  if not rec then return nil, err end
  if rec.status == "STARTING" then
    runner.drive("instance", rec.id)
    runner.wait(rec.operation, seconds or 30)
    rec = store.get("instance", rec.id)
    local stands, why = credentials.check(actor)
    if not stands then return nil, why end
  end
  if rec.status ~= "RUNNING" then
    return errors.fail("state", "the machine is " .. rec.status .. ", not RUNNING", { status_now = rec.status })
  end
  if rec.suspended_at and not still then
    return errors.fail("state", "the machine is suspended: resume it", { status_now = rec.status })
  end
  local p, perr = providers.get(rec.provider)
  if not p then return nil, perr end
  return rec, p
end

-- Something that needs the machine failed in a way that says that it may not run: look, and start it again if so.
function M.doubt(rec, err)
  if err.code == "state" or err.code == "not_found" or err.code == "unavailable" then reconcile.look(rec) end
end

-- Called when a command was run on a machine for its user: that is use (idle.lua).
function M.on_use(id) end -- luacheck: ignore 212

local executing = {} -- [provider name] = commands that run now

-- Runs a command on a machine. At most half of a provider's threads do this, or long commands would keep stop and
-- delete waiting. -> {exit=, stdout=, stderr=, truncated=} (bytes) | nil, err
function M.exec(actor, key, cmd, seconds)
  local rec, p = M.running(actor, key)
  if not rec then return nil, p end
  local name = rec.provider
  if (executing[name] or 0) >= math.max(1, math.floor(providers.threads / 2)) then
    return errors.fail("unavailable", "too many commands run already; try again", { retryable = true, retry_after = 1 })
  end
  executing[name] = (executing[name] or 0) + 1
  M.on_use(rec.id)
  local result, err = p:exec(rec.provider_id, { cmd = cmd, timeout = seconds or 60, secret = agent_secret.get(rec) })
  executing[name] = executing[name] - 1
  M.on_use(rec.id)
  if not result then
    -- "not_found" may be the program's, not the machine's: the check tells
    M.doubt(rec, err)
    return nil, err
  end
  return result
end

local LOG_BYTES = 65536

-- Of a machine that need not run, where its provider keeps what it said.
local function kept_log(rec)
  local p, err = providers.get(rec.provider)
  if not p then return nil, err end
  if not p:capabilities().logs then return nil end
  return p:logs(rec.provider_id, { bytes = LOG_BYTES, deadline = 10 })
end

-- The newest output of the machine's `cmd`, 64 KiB at most; "" when it had none. -> bytes | nil, err
function M.logs(actor, key)
  local rec, err = instances.get(actor, key)
  if not rec then return nil, err end
  if rec.provider_id ~= json.null then
    local text
    text, err = kept_log(rec)
    if text or err then return text, err end
  end
  local p
  rec, p = M.running(actor, key)
  if not rec then return nil, p end
  local file = p:capabilities().log_file
  if not file then return errors.fail("unsupported", "the provider " .. rec.provider .. " keeps no log of a machine") end
  local tail = { "sh", "-c", '[ ! -e "$1" ] || tail -c "$2" "$1"', "sh", file, tostring(LOG_BYTES) }
  local result
  result, err = M.exec(actor, key, tail, 10)
  if not result then return nil, err end
  if result.exit ~= 0 then return errors.fail("io", "the log cannot be read: " .. json.text(result.stderr)) end
  return result.stdout
end

-- What the machine does now: {last_input_at=ms, ...} | nil, err
function M.activity(actor, key)
  local rec, p = M.running(actor, key)
  if not rec then return nil, p end
  return p:activity(rec.provider_id, { secret = agent_secret.get(rec) })
end

local function lacks(rec, what)
  return errors.fail("unsupported", ("machines of the provider %s have no %s"):format(rec.provider, what))
end

M.CONSOLE_SECONDS = 60

-- A password for its screen. -> {host =, port =, password =, until_at = ms} | nil, err
function M.console(actor, key)
  local rec, p = M.running(actor, key, nil, true)
  if not rec then return nil, p end
  if not p:capabilities().console then return lacks(rec, "console") end
  return p:console(rec.provider_id, { seconds = M.CONSOLE_SECONDS, deadline = 20 })
end

-- A picture of its screen. -> bytes of a PNG | nil, err
function M.screenshot(actor, key)
  local rec, p = M.running(actor, key, nil, true)
  if not rec then return nil, p end
  if not p:capabilities().screenshot then return lacks(rec, "screen of which a picture could be taken") end
  return p:screenshot(rec.provider_id, { deadline = 20 })
end

return M
