-- cchost explain: why a policy decided about a machine as it did, and what would have flipped it.

local command = require "command"
local decisions = require "idle.decisions"
local instances = require "instances"
local json = require "json"
local kinds = require "policy.kinds"
local rights = require "rights"
local say = require "policy.say"
local time = require "time"
local when = require "when"

local M = {}

local USAGE = "cchost explain MACHINE [TIME] [--kind=KIND] [--json]"

M.help = "usage: " .. USAGE .. [[


Says why a policy decided about a machine as it did: the file and the line, what it looked at, and the smallest change of
one input that would have flipped it, or that there is none. The decision is taken again by the generation of policies
that took it; when it does not come out as it is kept, that is said.

MACHINE is its id, its short form, or the name of one of the operator's own. Without TIME the stop is explained of a machine
that a policy has stopped, else the newest decision. TIME is like 2026-11-20T12:00:00Z, 2026-11-20, "2h ago" or unix
seconds: the last decision that was not after it. Beside a running server the last two minutes may not be written yet;
GET /instances/{id}/decisions knows them.

  --kind=KIND   only decisions about this: ]] .. table.concat(decisions.kinds, ", ") .. [[

  --json        as GET /instances/{id}/decisions?at= gives it
]]

-- ---- printing

local function shown(field, name, value, now)
  local text = say.value(field, value, now)
  if field and field[1] == "time" and type(value) == "number" and value ~= now then
    return ("%s (%s %s)"):format(text, say.duration(math.abs(now - value)), value < now and "before" or "after")
  end
  return name == "labels" and text or (text:gsub("%c", " "))
end

local function print_inputs(d, now)
  local fields = kinds.find(decisions.name_of(d.kind)).input
  local mattered, rest = {}, {}
  for _, name in ipairs(d.read or {}) do mattered[name] = true end
  local names = {}
  for name in pairs(d.inputs) do names[#names + 1] = name end
  for name in pairs(mattered) do
    if d.inputs[name] == nil then names[#names + 1] = name end
  end
  table.sort(names)
  command.out("it looked at:")
  for _, name in ipairs(names) do
    if mattered[name] or not d.read then
      command.out("  %-18s %s", name, shown(fields[name], name, d.inputs[name], now))
    else
      rest[#rest + 1] = name
    end
  end
  if #rest > 0 then command.out("it did not look at: %s", table.concat(rest, ", ")) end
end

local function print_line(d)
  command.out("decided by generation %d, policies/%s:%d", d.generation, d.file, d.line or 1)
  if d.source then command.out("  %4d | %s", d.line, d.source) end
  if d.failed then command.out("the policy failed, and the safe answer was given: %s", d.failed) end
  if #d.lines > 1 then command.out("lines that ran: %s", table.concat(d.lines, " ")) end
end

local function print_decision(name, d)
  command.out("%s at %s: %s, \"%s\"", name, d.at, d.verdict, d.reason or "")
  if d.note then command.out("note: %s", d.note) end
  if not d.file then return end
  print_line(d)
  print_inputs(d, math.floor(time.parse(d.at) / 1000))
  command.out("%s", d.text)
end

-- ---- which decision

local function decision_of(id, ms, kind)
  local stopped, why
  if not ms and not kind then stopped, why = decisions.stopped_at(id) end
  local d = command.must(decisions.at(id, ms or stopped or time.now(), kind or why))
  if why == "idle" and time.parse(d.at) ~= stopped then
    command.fail("it was stopped at %s, which is not written yet: try again in two minutes, or GET /instances/%s/decisions",
      time.rfc3339(stopped), id)
  end
  return d
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = USAGE, options = { json = "flag", kind = "text" }, words = { 1, 2 },
  })
  local fault = options.kind and decisions.kind_fault(options.kind)
  if fault then command.usage("--kind: %s", fault) end
  local ms, err
  if words[2] then ms, err = when.parse(words[2], time.now()) end
  if err then command.usage("%s", err.message) end
  command.open(settings)
  decisions.threshold = settings.IDLE_THRESHOLD or decisions.threshold
  local id = command.must(rights.find.history(instances.operator, words[1]))
  local d = decision_of(id, ms, options.kind)
  if options.json then return command.out("%s", json.encode(d)) end
  print_decision(words[1], d)
end

return M
