-- cchost provider: whether a provider will do, and what is there.

local checks = require "provider_checks"
local command = require "command"
local fs = require "fs"
local json = require "json"
local providers = require "providers"
local reconcile = require "reconcile"
local script = require "script"
local setup = require "setup"
local store = require "store"

local M = {}

M.help = [[
usage: cchost provider check [NAME] [--json]
       cchost provider list [NAME] [--all] [--json]

check: whether credentials, quota, images, network and permissions will do, before the first machine; one line for each
finding: ok, warn or bad, what, and a sentence. It ends with 1 when one is bad, or when the provider does not answer.
list: the machines that are at the provider, and whose they are: name there, state, provider, owner, name, status.
"-" where no record knows the machine (the sweep of a server reports it, see ORPHANS).

NAME is that of a provider; PROVIDER's when absent. check knows netbird, too: the mesh network.

  --all    list: of every provider that has, or may have, machines of ours
  --json   one JSON object a line
]]

local function open(name)
  local p, err = providers.get(name)
  if not p then command.fail("%s: %s", name, err.message) end
  return p
end

local function findings_of(name, settings)
  if name == "netbird" then
    command.must(setup.use(settings))
  else
    if not checks.known(name) then open(name) end
    command.must(fs.mkdir(settings.DATA_DIR, tonumber("700", 8))) -- as the server's first start does
  end
  return command.must(checks.of(name, settings))
end

local function check(name, options, settings)
  local bad = false
  for _, f in ipairs(findings_of(name, settings)) do
    bad = bad or f.state == "bad"
    if options.json then
      command.out("%s", json.encode(f))
    else
      command.out("%-5s %-12s %s", f.state, f.what, f.sentence)
    end
  end
  if bad then script.quit(1) end
end

local function row(name, info)
  local short = info.provider_id:match("^cc%-(%x+)$")
  local id = short and store.lookup("instance_short", short)
  local rec = id and store.get("instance", id)
  return {
    provider = name, provider_id = info.provider_id, state = info.state, address = info.address,
    id = rec and rec.id, owner = rec and rec.owner, name = rec and rec.name, status = rec and rec.status,
  }
end

local function list_one(name, options)
  for _, info in ipairs(command.must(open(name):list { deadline = providers.seconds })) do
    local r = row(name, info)
    if options.json then
      command.out("%s", json.encode(r))
    else
      command.out("%-16s %-9s %-9s %-36s %-20s %s", r.provider_id, r.state, r.provider, r.owner or "-", r.name or "-",
        r.status or "-")
    end
  end
end

local function list(name, options, settings)
  command.open(settings)
  if not options.all then return list_one(name, options) end
  for _, each in ipairs(reconcile.in_use(settings.PROVIDER)) do list_one(each, options) end
end

local actions = { check = check, list = list }

function M.run(argv)
  local usage = "cchost provider check|list [NAME] [--all] [--json]"
  local options, words, settings = command.read(argv, {
    usage = usage, options = { all = "flag", json = "flag" }, words = { 1, 2 },
  })
  if not actions[words[1]] then command.usage("usage: %s", usage) end
  providers.setup(settings)
  actions[words[1]](words[2] or settings.PROVIDER, options, settings)
end

return M
