-- What the commands share: their options, the store of DATA_DIR, what they print, how they end.
--
--   options, words, settings = command.read(argv, {usage=, options = {name = kind}, words = {min, max}})
--       kinds: flag (--name), text, count (1 or more), sequence (0 or more), time (unix ms; see when.lua), bound (a number, 0
--       or more, or "off": false). --name VALUE is --name=VALUE.
--       below_zero = true: the last word may be a number like -2.5
--       Every other --name=value is a setting. What cannot be understood ends the command with code 2. Each command has --json.
--   command.open(settings [, "may be new"])   the store; one that is not there is an error unless it may be new
--   command.at_store(settings)                the same error, and nothing is opened
--   value = command.must(value, err)          the value, or the end with the error on stderr and code 1
--   command.out(format, ...)                  one line; ends the command in peace when nobody reads on
--   command.is_json()                         whether --json was given
--   command.tell(value, format, ...)          one line: with --json the value, as JSON, else the text (none: nothing)
--   command.fail(format, ...), command.usage(format, ...)   the end, with code 1 or 2

local config = require "config"
local json = require "json"
local logging = require "observe.logging"
local script = require "script"
local sorted_keys = require "sorted_keys"
local spelling = require "spelling"
local store = require "store"
local sys = require "sys"
local time = require "time"
local when = require "when"

local M = { must = script.must }

local as_json = false -- --json was given

local function complain(code, format, ...)
  io.stderr:write("cchost: ", format:format(...), "\n")
  script.quit(code)
end

function M.fail(format, ...) complain(1, format, ...) end
function M.usage(format, ...) complain(2, format, ...) end

function M.out(format, ...)
  local ok, err = sys.stdout(format:format(...) .. "\n")
  if ok then return end
  if err.code == "cancelled" then script.quit(0) end
  M.fail("%s", err.message)
end

function M.is_json() return as_json end

function M.tell(value, format, ...)
  if as_json then return M.out("%s", json.encode(value)) end
  if format then M.out(format, ...) end
end

-- ---- options

local kinds = {}

function kinds.text(text) return text ~= "" and text or nil, "a value expected" end

function kinds.count(text)
  local n = text:match("^%d+$") and #text < 16 and tonumber(text)
  return n and n > 0 and n or nil, "a number, 1 or more, expected"
end

function kinds.sequence(text)
  return #text < 16 and text:match("^%d+$") and tonumber(text) or nil, "the sequence of an entry expected"
end

function kinds.time(text)
  local ms, err = when.parse(text, time.now())
  return ms, err and err.message
end

function kinds.bound(text)
  if text == "off" then return false end
  local n = #text < 16 and text:match("^%d+%.?%d*$") and tonumber(text)
  return n or nil, "a number, 0 or more, or off, expected"
end

-- "--name" of an option that has a value, and the value behind it, as one argument.
local function joined(argv, i, declared)
  local kind, value = declared[argv[i]:match("^%-%-([%w-]+)$") or ""], argv[i + 1]
  if not kind or kind == "flag" or not value or value:match("^%-%-") then return argv[i], 1 end
  return argv[i] .. "=" .. value, 2
end

-- One argument that is an option of the command's own; true when it was one.
local function take(options, declared, argument)
  local name, value = argument:match("^%-%-([%w-]+)=?(.*)$")
  local kind = name and declared[name]
  if not kind then return false end
  local given = argument:find("=", 1, true) ~= nil
  if kind == "flag" then
    if given then M.usage("--%s takes no value", name) end
    options[name] = true
    return true
  end
  if not given then M.usage("--%s=VALUE expected", name) end
  local why
  options[name], why = kinds[kind](value)
  if options[name] == nil then M.usage("--%s: %s", name, why) end
  return true
end

-- Ends where an argument is nearly an option of the command's own. Only what is that near is quoted: else it may be a secret.
local function look_at_spelling(declared, argument)
  local name = argument:match("^%-%-([%w-]+)") or ""
  local setting = name:upper():gsub("-", "_")
  if config.by_name[setting] then return end
  local near = spelling.nearest(name, sorted_keys(declared), math.min(2, math.floor(#name / 3)))
  if near then M.usage("unknown option --%s; did you mean --%s?", name, near) end
end

function M.read(argv, spec)
  local options, rest, below = {}, {}, nil
  local declared = spec.options or {}
  declared.json = "flag"
  local i = 1
  while i <= #argv do
    local a, n = joined(argv, i, declared)
    if spec.below_zero and a:match("^%-[%d.]+$") then
      below = a
    elseif not take(options, declared, a) then
      rest[#rest + 1] = a
    end
    i = i + n
  end
  for _, a in ipairs(rest) do look_at_spelling(declared, a) end
  local settings, words = config.load(rest)
  if not settings then
    for _, fault in ipairs(words) do io.stderr:write("cchost: ", fault, "\n") end
    script.quit(2)
  end
  words[#words + 1] = below
  as_json = options.json or false
  local least, most = unpack(spec.words or { 0, 0 })
  if #words < least or #words > most then M.usage("usage: %s", spec.usage) end
  logging.of_command(settings, "warn")
  return options, words, settings
end

-- ---- the store

M.at_store = script.at_store

function M.open(settings, may_be_new)
  if not may_be_new then M.at_store(settings) end
  M.must(store.open { dir = settings.DATA_DIR, serve = false })
end

-- ---- printing

-- A machine's record, as one line of a table or of JSON.
function M.machine(record)
  M.tell(record, "%-36s %-10s %-10s %-8s %-16s %s", record.id, record.status, record.provider, record.type,
    record.owner, record.name)
end

return M
