-- cchost check: is the configuration sound, are the policies, and can no machine get stuck?

local command = require "command"
local config = require "config"
local fs = require "fs"
local json = require "json"
local policy = require "policy"
local generation = require "policy.generation"
local history = require "policy.history"
local sorted_keys = require "sorted_keys"
local statuses = require "statuses"
local store = require "store"

local M = {}

M.help = [[
usage: cchost check [--dot | --json] [--SETTING=VALUE ...]

Reads the configuration as serve would, compiles, lints and tests the policies in POLICIES_DIR (the shipped ones for what is not
there), and prints the graph of statuses: what each accepts, how long it may last and
where it leads then. Exit code 1 with a sentence for each fault: a setting that cannot be, a policy that would be refused
(with file and line), POLICIES_DIR away while the set in force is not the shipped one, a status that cannot be
reached, has no deadline or no way out, or does not accept stop and delete.

  --dot    the graph for graphviz: cchost check --dot | dot -Tsvg
  --json   {sound, tests, warnings, statuses}, or {sound = false, faults}, in one object
]]

local function print_status(s)
  local life = s.settled and "stays" or ("%d s at most, then %s; done: %s"):format(s.seconds, s.expires, s.done)
  local verbs = {}
  for _, verb in ipairs(sorted_keys(s.accepts)) do verbs[#verbs + 1] = verb .. " -> " .. s.accepts[verb] end
  command.out("%-10s %s", s.name, life)
  command.out("%-10s %s", "", table.concat(verbs, ", "))
end

local function print_dot(list)
  command.out("digraph statuses {")
  for _, s in ipairs(list) do
    command.out('  %s [shape=%s]', s.name, s.settled and "box" or "ellipse")
    if not s.settled then
      command.out('  %s -> %s [label="done" style=bold]', s.name, s.done)
      command.out('  %s -> %s [label="after %d s" style=dashed]', s.name, s.expires, s.seconds)
    end
    for _, verb in ipairs(sorted_keys(s.accepts)) do command.out('  %s -> %s [label="%s"]', s.name, s.accepts[verb], verb) end
  end
  command.out("}")
end

local function refuse(faults, as_json)
  if as_json then command.out("%s", json.encode { sound = false, faults = json.array(faults) }) end
  for _, fault in ipairs(faults) do io.stderr:write("cchost: ", fault, "\n") end
  return 1
end

-- Whether a set of one's own is in force, which lies in a folder that is away. -> bool | nil, err
local function is_missed(settings)
  if not fs.stat(settings.DATA_DIR .. "/store/data.mdb") then return false end
  local ok, err = store.open { dir = settings.DATA_DIR, serve = false }
  if not ok then return nil, err end
  local set = history.live()
  return set ~= nil and not set.shipped
end

-- -> how many tests ran, warnings as sentences | nil, faults as sentences
local function check_policies(settings)
  require "routes" -- a route of a policy must not be a built-in one
  require "policy.own_jobs"
  local sources, err = policy.read(settings.POLICIES_DIR)
  if not sources then
    if err.code ~= "not_found" then return nil, { err.message } end
    local missed, why = is_missed(settings)
    if missed == nil then return nil, { tostring(why) } end
    if missed then
      return nil, { settings.POLICIES_DIR .. ": the folder is not there, and the set in force is not the shipped one" }
    end
    sources = policy.shipped()
  end
  local gen, faults = generation.build(sources)
  if not gen then
    local told = {}
    for i, f in ipairs(faults) do told[i] = generation.text(f) end
    return nil, told
  end
  local warnings = {}
  for i, w in ipairs(gen.warnings) do warnings[i] = generation.text(w) end
  return gen.tests, warnings
end

function M.run(argv)
  local as, rest = nil, {}
  for _, a in ipairs(argv) do
    if a == "--dot" or a == "--json" then as = a else rest[#rest + 1] = a end
  end
  local as_json = as == "--json"
  local settings, words, told = config.load(rest, "serve")
  if not settings then return refuse(words, as_json) end
  if #words > 0 then command.usage("check takes no arguments, only settings, written --name=value") end
  local ok, err = require("setup").use(settings)
  if not ok then return refuse({ err.message }, as_json) end
  local warnings = json.array(told.warnings)
  local tests, said = check_policies(settings)
  if tests then
    for _, w in ipairs(said) do warnings[#warnings + 1] = w end
  end
  for _, w in ipairs(warnings) do io.stderr:write("cchost: warning: ", w, "\n") end
  if not tests then return refuse(said, as_json) end
  if as == "--dot" then return print_dot(statuses.list()) end
  if as_json then
    return command.out("%s", json.encode { sound = true, tests = tests, warnings = warnings, statuses = statuses.list() })
  end
  command.out("configuration: sound")
  command.out("policies: sound (%d tests)", tests)
  command.out("statuses: sound")
  for _, s in ipairs(statuses.list()) do print_status(s) end
end

return M
