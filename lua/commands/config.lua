-- cchost config: the settings as they are in force, and where each comes from.

local command = require "command"
local config = require "config"
local json = require "json"

local M = {}

M.help = [[
usage: cchost config [--json | --markdown] [--SETTING=VALUE ...]

Prints every setting: its name, its value as serve would have it (of a secret only whether it is set), its unit, and where it
comes from. Faults go to stderr, all of them, and the exit code is 1.

  --json       one JSON object a line
  --markdown   the table of all settings, for docs/settings.md
]]

local function flat(value)
  if value == nil then return "" end
  if type(value) ~= "table" then return (tostring(value):gsub("%c", "?")) end
  if value.unix then return "unix:" .. value.unix end
  if value.host then return (value.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(value.host, value.port) end
  if #value > 0 then return table.concat(value, ",") end
  return next(value) == nil and "" or json.encode(value)
end

local function print_markdown()
  command.out("# Settings\n")
  command.out("Made by `cchost config --markdown`. From the command line (`--listen-addr=...`) over the environment")
  command.out("(`LISTEN_ADDR`) over `cchost.lua` in the current folder, a file like `return { LISTEN_ADDR = \":80\" }`")
  command.out("(`CCHOST_CONFIG` names another).\n")
  command.out("| setting | kind | default | meaning |")
  command.out("|---|---|---|---|")
  for _, d in ipairs(config.declared) do
    local kind = d.kind == "enum" and "`" .. table.concat(d.one_of, "`, `") .. "`" or d.kind
    if d.secret then kind = kind .. ", secret" end
    command.out("| `%s` | %s | %s | %s |", d.name, kind, flat(d.default) ~= "" and "`" .. flat(d.default) .. "`" or "",
      d.doc .. (d.unit and d.kind ~= "duration" and "; " .. d.unit or "") .. (d.later and "; not used yet" or ""))
  end
end

function M.run(argv)
  local as, rest = nil, {}
  for _, a in ipairs(argv) do
    if a == "--json" or a == "--markdown" then as = a else rest[#rest + 1] = a end
  end
  if as == "--markdown" then return print_markdown() end
  local settings, words, told = config.load(rest, "serve")
  if not settings then
    for _, fault in ipairs(words) do io.stderr:write("cchost: ", fault, "\n") end
    return 1
  end
  if #words > 0 then command.usage("config takes no arguments, only settings, written --name=value") end
  for _, d in ipairs(config.declared) do
    local value = settings[d.name]
    local text = d.secret and (value ~= nil and "(set)" or "") or flat(value)
    local from = told.origin[d.name] or (d.default == nil and value ~= nil and "derived" or "default")
    if as then
      local set = value ~= nil
      command.out("%s", json.encode { name = d.name, value = text, set = set, unit = d.unit, from = from, used = not d.later })
    else
      command.out("%-28s %-32s %s", d.name, text .. (d.unit and text ~= "" and " " .. d.unit or ""),
        from .. (d.later and ", not used yet" or ""))
    end
  end
  for _, w in ipairs(told.warnings) do io.stderr:write("cchost: warning: ", w, "\n") end
end

return M
