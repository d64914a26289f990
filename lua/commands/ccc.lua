-- ccc: Claude Code Cloud's operator tool (`cchost ccc ...`, and `ccc`, a link to the binary). Its words, outputs and exit codes
-- are those of the scripts that it takes the place of: 0, and 1 for every error, wrong usage included.
--
-- Where the machines are: at the server in CCHOST_URL (ccc/far.lua), else in the store of DATA_DIR (ccc/near.lua).

local say = require "ccc.say"

local M = {}

M.help = [[
Claude Code Cloud CLI

Usage: ccc <command> [options]

Commands:
  provision   Create a new instance
  deprovision Delete an instance
  status      Check instance status
  list        List all instances
  extend      Extend instance time
  types       Show available server types

Run 'ccc <command> --help' for command-specific help.
]]

local commands = {
  provision = "ccc.provision", deprovision = "ccc.deprovision", status = "ccc.status", list = "ccc.list",
  extend = "ccc.extend", types = "ccc.types",
}

M.commands = commands

local function asks_for_help(argv)
  for _, a in ipairs(argv) do
    if a == "--" then return false end
    if a == "--help" or a == "-h" then return true end
  end
  return false
end

-- argv[1] is the first word behind `ccc`. -> exit code
function M.run(argv)
  local name = argv[1]
  if name == nil or name == "-h" or name == "--help" then
    say.text(M.help)
    return 0
  end
  local module = commands[name]
  if not module then
    io.stderr:write("Unknown command: ", say.plain(name), "\n", M.help)
    return 1
  end
  local command = require(module)
  local rest = { unpack(argv, 2) }
  if asks_for_help(rest) then
    say.text(command.help)
    return 0
  end
  return command.run(rest)
end

return M
