-- cchost fuzz: policies tried on inputs by chance.

local command = require "command"
local fs = require "fs"
local fuzz = require "policy.fuzz"
local generation = require "policy.generation"
local json = require "json"
local kinds = require "policy.kinds"
local policy = require "policy"
local time = require "time"

local M = {}

local USAGE = "cchost fuzz DIR | FILE.lua [--count=N] [--seed=S] [--seconds=T] [--json]"

M.help = "usage: " .. USAGE .. [[


Tries policies on inputs by chance, within the schema of each kind: errors (a nil that is indexed), verdicts that there are
not, budgets, and answers that depend on what was decided before. What it finds is made as small as it can, and printed
with its file and line, and as a test to be pasted into policies/tests/; the exit code is 1 then. DIR is a folder of
policies, of which the shipped files are the rest; FILE.lua one of them, which alone is tried. It needs no store.

  --count=N     inputs of each function (10000)
  --seed=S      where chance begins: the same seed finds the same (it is printed)
  --seconds=T   for so long, in place of a count
  --json        {found = null, inputs, seed}, or what was found: {file, line, text, name, seed, number, input}
]]

-- -> sources, the kind that is meant or nil
local function read(path)
  local info = fs.stat(path)
  if not info then command.fail("%s: there is no such file or folder", path) end
  if info.type == "directory" then
    local sources, err = policy.read(path)
    if not sources then command.fail("%s: %s", path, err.message) end
    return sources
  end
  local file = path:match("([^/]+)$")
  local kind = kinds.of_file(file)
  if not kind then command.fail("%s: no policy is called so", file) end
  if next(kind.functions) == nil then command.fail("%s holds no decisions: nothing to be tried", file) end
  local sources = command.must(policy.read(path:match("^(.*)/[^/]*$") or "."))
  return sources, kind.name
end

local function names_of(v) return v:match("^(%w+)%.(%w+)$") end

local function print_found(what)
  if command.is_json() then
    return command.tell {
      file = what.file, line = what.line, text = what.text, name = what.name, seed = what.seed, number = what.number,
      input = what.input, now = what.now,
    }
  end
  local kind, fn = names_of(what.name)
  local spec = kinds.find(what.name)
  local function call(input) return ("P.%s(%s%s)"):format(fn, input, spec.now and ", now" or "") end
  command.out("policies/%s:%d: %s", what.file, what.line or 1, what.text)
  command.out("  %s, seed %d, input %d, made as small as it goes; as a test:", what.name, what.seed, what.number)
  command.out("")
  command.out("  [\"fuzz: %s\"] = function(is)", what.name)
  command.out("    local P = use %q", kind)
  if spec.now then command.out("    local now = %d", what.now) end
  command.out("    local input = %s", fuzz.lua_of(what.input))
  if what.before then
    command.out("    local first = %s", call("input"))
    command.out("    P.%s(%s%s)", fn, fuzz.lua_of(what.before.input), spec.now and ", " .. what.before.now or "")
    command.out("    is(%s, first)", "(" .. call("input") .. ")")
  else
    local verdict = type(spec.safe(what.input, "")) == "string" and ("%q"):format((spec.safe(what.input, ""))) or "nil"
    command.out("    is((%s), %s) -- what it should be", call("input"), verdict)
  end
  command.out("  end,")
end

function M.run(argv)
  local options, words = command.read(argv, {
    usage = USAGE, options = { count = "count", seed = "sequence", seconds = "count" }, words = { 1, 1 },
  })
  local sources, only = read(words[1])
  local seed = options.seed or math.floor(time.now() % 1000000)
  local what, told, faults = fuzz.run(sources, {
    count = options.count or 10000, seed = seed, seconds = options.seconds, only = only,
  })
  if faults then
    for _, f in ipairs(faults) do io.stderr:write("cchost: ", generation.text(f), "\n") end
    return 1
  end
  if what then
    print_found(what)
    return 1
  end
  command.tell({ found = json.null, inputs = told.inputs, seed = seed },
    "nothing found in %d inputs (seed %d)", told.inputs, seed)
  return 0
end

return M
