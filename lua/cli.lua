-- The command line: which command, which settings, which exit code.
-- Exit codes: 0 ok, 1 failed, 2 usage. A command is a module commands.NAME with run(args) and a `help` text.

local sys = require "sys"

local M = {}

M.version = "0.1.0"

local commands = { "serve", "types" }

local usage = [[
cchost - a control plane for cloud development machines

usage:
  cchost serve [--SETTING=VALUE ...]     the control plane (make run does this)
  cchost SCRIPT.lua [ARGUMENT ...]       a batch script with the full Lua API
  cchost types                           the machine types on offer
  cchost COMMAND --help                  more of one command
  cchost --version

Settings come from the command line (--listen-addr=127.0.0.1:8080), then from the
environment (LISTEN_ADDR), then from cchost.lua in the current folder.
]]

local function is_command(name)
  for _, c in ipairs(commands) do
    if c == name then return true end
  end
  return false
end

-- Runs a script: its folder is searched by require, its arguments are its `...`, its number result is the exit code.
local function run_script(path, args)
  local chunk, why = loadfile(path, "t")
  if not chunk then
    io.stderr:write("cchost: ", why, "\n")
    return 1
  end
  package.path = (path:match("^(.*)/[^/]*$") or ".") .. "/?.lua"
  local ok, code = xpcall(function() return chunk(unpack(args)) end, function(fault)
    return type(fault) == "table" and fault.exit_code and fault or debug.traceback(tostring(fault), 2)
  end)
  require("script").end_progress()
  if not ok then
    if type(code) == "table" then return code.exit_code end
    io.stderr:write("cchost: ", code, "\n")
    return 1
  end
  return type(code) == "number" and code or 0
end

-- main(argv) -> exit code. argv[0] is the program.
function M.main(argv)
  local name = argv[1]
  if name == nil or name == "--help" or name == "-h" or name == "help" then
    sys.stdout(usage)
    return name == nil and 2 or 0
  end
  if name == "--version" then
    sys.stdout("cchost " .. M.version .. "\n")
    return 0
  end
  local rest = {}
  for i = 2, #argv do rest[#rest + 1] = argv[i] end
  if name:match("%.lua$") then return run_script(name, rest) end
  if not is_command(name) then
    io.stderr:write("cchost: unknown command '", name, "'; see cchost --help\n")
    return 2
  end
  local command = require("commands." .. name)
  if rest[1] == "--help" or rest[1] == "-h" then
    sys.stdout(command.help)
    return 0
  end
  return command.run(rest)
end

return M
