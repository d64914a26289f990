-- How a person's own terminal gets onto a machine: which machine is meant, and the script that connects to it.
--
--   connect.script(rec, url) -> text of a POSIX script, by the machine's provider; url: where this server is reached
--   connect.choose(actor, owner, key) -> record | nil, err
--       the machine called `key`, else the one that was used last and runs, of the actor's own, or of `owner`'s for an admin
--
local errors = require "errors"
local instances = require "instances"
local json = require "json"
local netbird = require "netbird"
local rights = require "rights"
local shell = require "shell"

local M = {}

-- A key with which the user's own device joins the machine's network. -> key [, URL of the network's manager] | nil, err
function M.device_key(rec) return netbird.device_key(rec) end

-- The machine's address in that network. -> text | nil, err
function M.address(rec) return netbird.address(rec) end

-- ---- scripts

-- Piped into sh, a script has itself as its standard input.
local needs_terminal = {
  "if [ ! -t 0 ]; then",
  "    if ! (: </dev/tty) 2>/dev/null; then echo 'A terminal is needed.' >&2; exit 1; fi",
  "    exec </dev/tty",
  "fi",
}

local function needs(program, how)
  return ("command -v %s >/dev/null 2>&1 || { echo %s >&2; exit 1; }")
    :format(program, shell.quote(("%s is needed: %s"):format(program, how)))
end

local function script(...)
  local lines = {}
  for _, part in ipairs { ... } do
    if type(part) == "string" then part = { part } end
    for _, line in ipairs(part) do lines[#lines + 1] = line end
  end
  return shell.script(lines)
end

local providers = {}

providers["local"] = function(rec, url)
  return script(
    needs("cchost", "this machine is reached through it"), needs_terminal,
    "CCHOST_URL=${CCHOST_URL:-" .. shell.quote(url) .. "}", "export CCHOST_URL",
    "exec cchost attach " .. shell.quote(rec.id))
end

function providers.docker(rec)
  return script(
    needs("docker", "this machine is a container of it"), needs_terminal,
    "exec docker exec -it " .. shell.quote("claude-" .. rec.short) .. " /run/cchost/bin/cchost-agent shell")
end

-- The key goes by a file: as an argument everybody on the device could read it.
local function join_network(key, manager)
  return {
    "if ! command -v netbird >/dev/null 2>&1; then",
    "    echo 'Installing Netbird...' >&2",
    "    curl -fsSL https://pkgs.netbird.io/install.sh | sh || { echo 'Netbird could not be installed.' >&2; exit 1; }",
    "fi",
    "root=''",
    "[ \"$(id -u)\" = 0 ] || root=sudo",
    "umask 077",
    "dir=$(mktemp -d) || exit 1",
    "trap 'rm -rf \"$dir\"' EXIT",
    "trap 'exit 1' HUP INT TERM",
    "printf '%s\\n' " .. shell.quote(key) .. " >\"$dir/key\"",
    "$root netbird up" .. (manager and " --management-url " .. shell.quote(manager) or "")
      .. " --setup-key-file \"$dir/key\" || { echo 'The network could not be joined.' >&2; exit 1; }",
    "rm -rf \"$dir\"",
  }
end

local function by_network(rec)
  local address, err = M.address(rec)
  if not address then return shell.failure(err.message) end
  local key, manager = M.device_key(rec)
  if not key then return shell.failure(manager.message) end
  return script(
    needs("mosh", "install it with your system's package manager"), needs_terminal, join_network(key, manager),
    "exec mosh " .. shell.quote("claude@" .. address) .. " -- zellij attach claude")
end

providers.hetzner = by_network

function M.script(rec, url)
  local make = providers[rec.provider] or rec.mesh and by_network
  if make then return make(rec, url) end
  return shell.failure(("'%s' cannot be attached to: it is a machine of the provider '%s'"):format(rec.name, rec.provider))
end

-- ---- which machine

local function more_recent(a, b)
  if not b or a.last_activity_at ~= b.last_activity_at then return not b or a.last_activity_at > b.last_activity_at end
  return a.created_at > b.created_at
end

local function last_used(owner)
  local best, after = {}, nil
  repeat
    local page = instances.list({ user = owner }, after, 500)
    for _, text in ipairs(page.texts) do
      local rec = json.decode(text)
      if more_recent(rec, best[rec.status]) then best[rec.status] = rec end
    end
    after = page.after
  until not after
  return best.RUNNING or best.STOPPED
end

local function named(actor, owner, key)
  local rec, err = instances.get(owner and { user = owner } or actor, key)
  if not rec then return nil, err end
  local ok, denied = rights.within(actor, rec.id)
  if not ok then return nil, denied end
  return rec
end

function M.choose(actor, owner, key)
  key = key or actor.machine
  local rec, err
  if key then rec, err = named(actor, owner, key) else rec = last_used(owner or actor.user or "operator") end
  if err then return nil, err end
  if not rec then return errors.fail("not_found", "no running instance found for this user") end
  if rec.status == "RUNNING" then return rec end
  if rec.status == "STOPPED" then
    return errors.fail("state", ("'%s' is stopped. Start it with: claude-cloud start %s"):format(rec.name, rec.name))
  end
  return errors.fail("state", ("'%s' is %s"):format(rec.name, rec.status))
end

return M
