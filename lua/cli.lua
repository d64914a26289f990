-- The command line: which command, which settings, which exit code.
-- Exit codes: 0 ok, 1 failed, 2 usage. A command is a module commands.NAME with run(args) and a `help` text.

local sys = require "sys"

local M = {}

M.version = "0.1.0"

-- name, arguments, what it does; a command's own help says the rest
local commands = {
  { "serve", "[--SETTING=VALUE ...]", "the control plane (make run does this)" },
  { "ccc", "COMMAND [...]", "machines by the hour: provision, status, list, extend, deprovision, types" },
  { "attach", "ID", "a terminal on a machine" },
  { "instances", "[ID]", "the machines, or one" },
  { "operations", "[ID]", "the work that is under way or was, or one piece of it" },
  { "health", "[...]", "is the server ready?" },
  { "levels", "[LEVEL] [MODULE=LEVEL ...]", "how much the server's modules write into its log" },
  { "log", "[--follow] [...]", "what happened; --verify proves that it is whole" },
  { "at", "TIME instances | instance ID", "machines as they were" },
  { "explain", "MACHINE [TIME]", "why a policy decided so, and what would have flipped it" },
  { "fuzz", "DIR | FILE.lua [--seed=S]", "policies tried on inputs by chance" },
  { "backup", "FILE", "a consistent copy of the store, while serving too" },
  { "restore", "FILE [--force]", "the store as it was in a backup" },
  { "export", "[FILE]", "every record as JSON lines" },
  { "import", "FILE", "what an export wrote" },
  { "config", "[--json]", "the settings in force, and where each comes from" },
  { "policy", "ACTION [...]", "which policies are in force, their history; test, apply, roll back, stage, promote" },
  { "whatif", "FILE.lua [--since=30d] [...]", "what other policies would have done, from recorded history" },
  { "upgrade", "[PROGRAM] [...]", "the server gives its place to another build, dropping nobody" },
  { "check", "[--dot]", "configuration, policies and statuses: are they sound?" },
  { "stripe", "[show|retry ID]", "events of Stripe, orders and reports that wait or are parked" },
  { "users", "[ACTION USER]", "the accounts; suspend, resume, export, delete one" },
  { "ledger", "[USER] [...]", "the accounts' books; --verify proves them; adjust, pay, hours" },
  { "plan", "USER [PLAN --reason=TEXT]", "an account's plan; give it another one" },
  { "invoice", "USER MONTH [--plan=NAME]", "what a month came to for an account" },
  { "provider", "ACTION [NAME]", "whether a provider will do (check), and what is there and whose it is (list)" },
  { "image", "nixos ACTION", "images of our own making: build, list, prune" },
  { "netbird", "key|sweep", "how this host joins the mesh network; what is left there goes" },
  { "rekey", "", "secrets sealed anew under a new master key" },
  { "repl", "[--write]", "Lua, line by line, on the store, which it only reads unless told" },
  { "routes", "[--json]", "the API's routes and what each needs" },
  { "openapi", "[--markdown]", "the API described for programs: OpenAPI 3.1" },
  { "types", "", "the machine types on offer" },
  { "completion", "bash|zsh", "what a shell needs to complete these words" },
  { "man", "PAGE", "a page of the manual, as roff" },
}

M.commands = commands

local function usage()
  local lines = {}
  for _, c in ipairs(commands) do
    lines[#lines + 1] = ("  cchost %-36s %s"):format((c[1] .. " " .. c[2]):gsub("%s+$", ""), c[3])
  end
  return ([[
cchost - a control plane for cloud development machines

usage:
%s
  cchost SCRIPT.lua [ARGUMENT ...]            a batch script with the full Lua API
  cchost COMMAND --help                       more of one command
  cchost --version

Commands work on the store in DATA_DIR, beside a server that runs or without one.
Settings come from the command line (--listen-addr=127.0.0.1:8080), then from the
environment (LISTEN_ADDR), then from cchost.lua in the current folder.
Exit codes: 0 ok, 1 failed, 2 usage.
]]):format(table.concat(lines, "\n"))
end

local function is_command(name)
  for _, c in ipairs(commands) do
    if c[1] == name then return true end
  end
  return false
end

-- Runs fn. Its number result is the exit code; so is the one that script.quit raises. -> exit code
local function run(fn)
  local ok, code = xpcall(fn, function(fault)
    return type(fault) == "table" and fault.exit_code and fault or debug.traceback(tostring(fault), 2)
  end)
  if package.loaded.script then package.loaded.script.end_progress() end
  if not ok then
    if type(code) == "table" then return code.exit_code end
    io.stderr:write("cchost: ", code, "\n")
    return 1
  end
  return type(code) == "number" and code or 0
end

-- Runs a script: its folder is searched by require, its arguments are its `...`.
local function run_script(path, args)
  local chunk, why = loadfile(path, "t")
  if not chunk then
    io.stderr:write("cchost: ", why, "\n")
    return 1
  end
  package.path = (path:match("^(.*)/[^/]*$") or ".") .. "/?.lua"
  return run(function() return chunk(unpack(args)) end)
end

-- main(argv) -> exit code. argv[0] is the program: called `ccc` (a link to it) it is that command.
function M.main(argv)
  if (argv[0] or ""):match("([^/]*)$") == "ccc" then
    return run(function() return require("commands.ccc").run(argv) end)
  end
  local name = argv[1]
  if name == nil or name == "--help" or name == "-h" or name == "help" then
    sys.stdout(usage())
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
    local word = name:match("^[%w_]+$") -- what is no command's name may be a setting with a secret in it
    io.stderr:write("cchost: ", word and "unknown command '" .. word .. "'" or "a command comes first", "; see cchost --help\n")
    return 2
  end
  local command = require("commands." .. name)
  for _, word in ipairs(rest) do -- also behind an action: cchost policy stage --help
    if word == "--" then break end
    if word == "--help" or word == "-h" then
      sys.stdout(command.help)
      return 0
    end
  end
  return run(function() return command.run(rest) end)
end

return M
