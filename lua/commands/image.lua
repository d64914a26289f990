-- cchost image: images of our own making, at the provider.

local command = require "command"
local json = require "json"
local nixos = require "nixos"
local providers = require "providers"

local M = {}

M.help = [[
usage: cchost image nixos build [--type=TYPE] [--location=PLACE] [--seconds=N]
       cchost image nixos list [--json]
       cchost image nixos prune [--keep=N]
       cchost image nixos hash

build: makes the image that machines of image "nixos" are made from, unless there is one of the same configuration: a server
is made, NixOS is installed on it by nixos-anywhere, it is shut down, becomes a snapshot and is deleted. Cut off at any
moment, the same command goes on where it was. Take the smallest type: a machine's disk must be as large as that one's.
list: those that there are; "*" marks the one of the configuration as it is now.
prune: deletes all but the newest (of each architecture) and that one, and servers that were left of builds of others.
hash: of the configuration as it is now. It changes with every file of the flake.

  --seconds  build: how long it may take; 3,600 when absent
  --keep     prune: how many of the newest stay; 1 when absent
  --json     one JSON object a line

The configuration is HCLOUD_OPTIONS' nixos.flake: {nixos={flake="/etc/cchost/nixos#cloud-instance"}}; docs/nixos.md.
]]

local USAGE = "cchost image nixos build|list|prune|hash [...]"

local function open()
  local p, err = providers.get("hetzner")
  if not p then command.fail("hetzner: %s", err.message) end
  return p
end

local function flake_of(settings)
  local flake = ((settings.HCLOUD_OPTIONS or {}).nixos or {}).flake
  if not flake then command.fail("no flake is set: HCLOUD_OPTIONS={nixos={flake=\"DIR#NAME\"}}") end
  return flake
end

local function hash_of(settings) return command.must(nixos.hash(flake_of(settings))) end

local actions = {}

function actions.hash(_, settings)
  local hash = hash_of(settings)
  command.tell({ hash = hash }, "%s", hash)
end

-- After these the server is still there.
local goes_on = { timeout = true, cancelled = true, limit = true, unavailable = true }

function actions.build(options, settings)
  local hash = hash_of(settings)
  local image, err = open():image_build({ name = "nixos", hash = hash, type = options.type, location = options.location },
    { deadline = options.seconds or 3600 })
  if not image then
    command.fail("%s%s", err.message, goes_on[err.code] and "; the same command goes on where it was" or "")
  end
  command.tell(image, "image %s of configuration %s is there", image.id, hash)
end

local function row(image, current)
  command.out("%s %-26s %-10s %-5s %-20s %s", image.hash == current and "*" or " ", image.id, image.state, image.arch or "-",
    image.created or "-", image.hash or "-")
end

function actions.list(options, settings)
  local has_flake = ((settings.HCLOUD_OPTIONS or {}).nixos or {}).flake
  local current = has_flake and hash_of(settings)
  for _, image in ipairs(command.must(open():image_list { deadline = providers.seconds })) do
    if options.json then
      image.current = image.hash == current
      command.out("%s", json.encode(image))
    else
      row(image, current)
    end
  end
end

function actions.prune(options, settings)
  local hash, p = hash_of(settings), open()
  local images = command.must(p:image_list { deadline = providers.seconds })
  local list = nixos.superfluous(images, hash, options.keep or 1)
  for _, image in ipairs(list) do
    command.must(p:image_delete(image.id, { deadline = providers.seconds }))
    command.tell({ deleted = image.id }, "%s is deleted", image.id)
  end
  command.tell({ count = #list, kept = #images - #list }, "%d deleted, %d kept", #list, #images - #list)
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = USAGE, words = { 2, 2 },
    options = { type = "text", location = "text", seconds = "count", keep = "count", json = "flag" },
  })
  if words[1] ~= "nixos" or not actions[words[2]] then command.usage("usage: %s", USAGE) end
  providers.setup(settings)
  actions[words[2]](options, settings)
end

return M
