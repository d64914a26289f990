-- The arguments of ccc's commands: words, options of their own, and settings (--data-dir=DIR). Every fault ends the command
-- with code 1, as the scripts did.
--
--   local options, words, at = args.read(argv, {usage = text, options = {name = "text" | "many" | "flag"}, words = {min, max}})
--       "many": a list; --name VALUE is --name=VALUE; behind -- everything is a word
--       at: where the machines are (ccc/far.lua, ccc/near.lua); {may_be_new = true}: also in a store that is not there yet
--   args.hours(text) -> number          args.instance(text) -> a machine's key

local config = require "config"
local logging = require "observe.logging"
local say = require "ccc.say"
local script = require "script"
local sys = require "sys"

local M = {}

M.common_help = [[
  --json            one JSON object (or list) instead of text
  --url=URL         the server; else CCHOST_URL, else the store in DATA_DIR (--data-dir=DIR) on this host
  --token-file=FILE a file with an API token; else CCHOST_TOKEN, else API_KEY, or DATA_DIR/api_key for a server on this host
  --ca=FILE         authorities that the server's certificate may come from, instead of the system's
]]

local common = { json = "flag", url = "text", ["token-file"] = "text", ca = "text" }

local function usage(spec)
  io.stderr:write(spec.usage)
  if say.as_json then say.json { error = "wrong usage" } end
  script.quit(1)
end

local function declared(spec, name) return spec.options and spec.options[name] or common[name] end

local function keep(options, kind, name, value)
  if value == "" then say.fail(("Option --%s: a value expected"):format(name)) end
  if kind == "many" then
    options[name] = options[name] or {}
    table.insert(options[name], value)
    return
  end
  if options[name] then say.fail(("Option --%s is given twice"):format(name)) end
  options[name] = value
end

-- One argument that begins with "--". -> how many arguments it was; 0: it is none of ours
local function option(options, spec, argv, i)
  local name, equals, value = argv[i]:match("^%-%-([%w-]+)(=?)(.*)$")
  local kind = name and declared(spec, name)
  if not kind then return 0 end
  if kind == "flag" then
    if equals ~= "" then say.fail(("Option --%s takes no value"):format(name)) end
    options[name] = true
    return 1
  end
  if equals ~= "" then
    keep(options, kind, name, value)
    return 1
  end
  if argv[i + 1] == nil then say.fail(("Option --%s: a value expected"):format(name)) end
  keep(options, kind, name, argv[i + 1])
  return 2
end

local function split(argv, spec)
  local options, words, settings, i = {}, {}, {}, 1
  while i <= #argv do
    local a = argv[i]
    if a == "--" then
      for k = i + 1, #argv do words[#words + 1] = argv[k] end
      break
    end
    local n = a:sub(1, 2) == "--" and option(options, spec, argv, i) or nil
    if n == 0 and not a:find("=", 1, true) then say.fail("Unknown option: " .. say.plain(a)) end
    if n == 0 then settings[#settings + 1] = a end
    if not n then words[#words + 1] = a end
    i = i + math.max(1, n or 1)
  end
  return options, words, settings
end

local function has_json(argv)
  for _, a in ipairs(argv) do
    if a == "--json" then return true end
  end
end

function M.read(argv, spec)
  say.as_json = has_json(argv) or false
  local options, words, given = split(argv, spec)
  local least, most = unpack(spec.words or { 0, 0 })
  if #words < least then usage(spec) end
  if #words > most then
    io.stderr:write("Error: Unexpected argument: ", say.plain(words[most + 1]), "\n")
    usage(spec)
  end
  local settings, faults = config.load(given)
  if not settings then say.fail(table.concat(faults, "; ")) end
  logging.of_command(settings, "error")
  local url = options.url or sys.env("CCHOST_URL")
  local far = url ~= nil and url ~= ""
  return options, words, function(how)
    local at, err = require(far and "ccc.far" or "ccc.near").open(settings, options, how or {})
    return say.must(at, err)
  end
end

function M.hours(text)
  local n = text:match("^%d+$") and #text < 7 and tonumber(text)
  if n and n >= 1 and n <= 87600 then return n end
  say.fail(("Invalid hours '%s'. Must be a whole number from 1 to 87600."):format(say.plain(text)))
end

-- The id, "cc-" and the id, or the whole uuid.
function M.instance(text) return text:match("^cc%-(%x%x%x%x%x%x%x%x%x%x%x%x)$") or text end

-- A machine that is there, deleted ones are not. -> record
function M.machine(at, key)
  local rec, err = at:get(M.instance(key))
  if not rec and err.code ~= "not_found" then say.fail(say.plain(err.message)) end
  if not rec or rec.status == "DELETED" then say.fail(("Instance %s not found"):format(say.plain(key))) end
  return rec
end

return M
