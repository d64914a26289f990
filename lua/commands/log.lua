-- cchost log: reads, follows, filters and proves the log.

local command = require "command"
local errors = require "errors"
local event_types = require "event_types"
local events = require "events"
local instances = require "instances"
local json = require "json"
local rights = require "rights"
local script = require "script"
local sorted_keys = require "sorted_keys"
local store = require "store"
local sys = require "sys"
local time = require "time"
local workflow = require "workflow"

local M = {}

local USAGE = "cchost log [--follow] [--after=SEQ | --since=TIME] [--type=T] [--kind=K] [--instance=ID] [--limit=N] [--json]"

M.help = "usage: " .. USAGE .. [[

       cchost log --verify [--json]
       cchost log --types [--json]

Prints one line per entry, oldest first: sequence, time, kind, id, type, who, what changed.

  --after=SEQ      entries behind this one
  --since=TIME     entries from the first of that time on: 1h, 2d, 2026-11-20T12:00:00Z, unix seconds
  --type=T         only of this type (created, running, failed, ...)
  --kind=K         only about objects of this kind (instance, provider, ...)
  --instance=ID    only about this machine (id, short form, or name of one of the operator's own)
  --limit=N        at most N: behind --after or --since the first N, else the newest N
  --follow         goes on with what comes; without --after, --since or --limit it begins now
  --json           one JSON object a line, as GET /events gives them

  --verify         proves that every entry is the one that was written, and that none is missing; the first that is
                   not is named, and the exit code is 1. Another process reads, as some damage ends who does:
  --verify-here    the same in this one

  --types          every type of entry that there may be, by kind, with what it tells
]]

local PAGE = 500

-- ---- one line

-- fields that change with every status
local routine = {
  status = true, status_at = true, deadline_at = true, updated_at = true, version = true, operation = true, queue = true,
  last_activity_at = true,
}

local function what(data)
  local words = {}
  if data.status then words[1] = (data.from and data.from .. " -> " or "") .. data.status end
  local names = {}
  for name in pairs(not data.full and data.changes or {}) do
    if not routine[name] then names[#names + 1] = name end
  end
  table.sort(names)
  if names[1] then words[#words + 1] = "(" .. table.concat(names, " ") .. ")" end
  words[#words + 1] = data.reason
  words[#words + 1] = data.error and "error: " .. data.error
  return table.concat(words, "  ")
end

local function print_entry(e, as_json)
  if as_json then return command.out("%s", events.text(e)) end
  local line = ("%8d %s %-9s %-36s %-14s %-10s %s"):format(e.seq, time.rfc3339(e.at), e.kind, e.id, e.type, e.by,
    e.trimmed and "(trimmed)" or what(json.decode(e.data)))
  command.out("%s", (line:gsub("%c", " "):gsub("%s+$", "")))
end

-- ---- where to begin

-- The sequence before the first entry of that time or later, found by halving: sequences have no gap.
local function before_time(ms)
  local low, high = 0, store.stats().log_seq
  while low < high do
    local middle = math.floor((low + high) / 2)
    local e = command.must(store.log { after = middle, limit = 1 })[1]
    if e.at >= ms then high = middle else low = middle + 1 end
  end
  return low
end

-- The sequence before the newest `n` that are wanted.
local function before_newest(n, wanted)
  local after, left = 0, n
  local page
  repeat
    page = command.must(store.log { after = after, limit = PAGE, reverse = true })
    for _, e in ipairs(page) do
      after = e.seq
      if wanted(e) then left = left - 1 end
      if left == 0 then return e.seq - 1 end
    end
  until #page < PAGE or after == 1
  return 0
end

local function beginning(options, wanted)
  if options.after then return options.after end
  if options.since then return before_time(options.since) end
  if options.limit then return before_newest(options.limit, wanted) end
  return options.follow and store.stats().log_seq or 0
end

-- ---- reading

-- Prints what is behind `after`, `limit` entries at most. -> the last sequence looked at
local function print_behind(after, limit, wanted, as_json)
  local left = limit or math.huge
  local page
  repeat
    page = command.must(store.log { after = after, limit = PAGE })
    for _, e in ipairs(page) do
      if left == 0 then return after end
      after = e.seq
      if wanted(e) then
        print_entry(e, as_json)
        left = left - 1
      end
    end
  until #page < PAGE
  return after
end

-- Until the program is ended, or nobody reads any more.
local function follow(after, wanted, as_json)
  while true do
    command.must(store.wait(after, 3600))
    after = print_behind(after, nil, wanted, as_json)
  end
end

local function filter(options)
  local machine
  if options.instance then
    machine = command.must(rights.find.history(instances.operator, options.instance))
  end
  return function(e)
    return (not options.type or e.type == options.type) and (not options.kind or e.kind == options.kind)
      and (not machine or e.kind == "instance" and e.id == machine)
  end
end

local function verify()
  local found, err = script.during(script.clock("the log is read"), store.verify)
  if not found then return errors.fail(err.code, "the log is not whole: " .. err.message) end
  command.tell({ whole = true, entries = found.entries, objects = found.objects }, "the log is whole: %d entries of %d objects",
    found.entries, found.objects)
  return true
end

-- The engine trusts the pages of its file: some kinds of damage end whoever reads them. So another process reads.
local function verify_apart(argv)
  local line = { "/proc/self/exe", "log", timeout = 86400 }
  for _, word in ipairs(argv) do line[#line + 1] = word == "--verify" and "--verify-here" or word end
  local r = command.must(script.during(script.clock("the log is read"), sys.run, line))
  sys.stdout(r.stdout)
  io.stderr:write(r.stderr)
  if r.exit >= 0 and r.exit <= 2 then return r.exit end
  command.fail("the store's file is damaged in its structure: reading it ended the reader (%d). What is left: the newest good "
    .. "backup (cchost restore)", r.exit)
end

-- As objects every type by itself; for who reads, those of operations once for all of these.
local function types(as_json)
  require "routes" -- and with them all workflows
  for _, kind in ipairs(event_types.kinds()) do
    local own, operations = event_types.own(kind), sorted_keys(workflow.of(kind))
    for _, type in ipairs(as_json and event_types.list(kind) or sorted_keys(own)) do
      local says = event_types.says(kind, type)
      command.tell({ kind = kind, type = type, says = says }, "%-32s %s", kind .. "." .. type, says)
    end
    for _, outcome in ipairs(operations[1] and not as_json and sorted_keys(event_types.outcomes) or {}) do
      command.out("%-32s the operation %s", ("%s.OPERATION_%s"):format(kind, outcome), event_types.outcomes[outcome])
    end
    if operations[1] and not as_json then command.out("%34s: %s", "OPERATION", table.concat(operations, ", ")) end
  end
end

function M.run(argv)
  local options, _, settings = command.read(argv, {
    usage = USAGE,
    options = {
      follow = "flag", verify = "flag", ["verify-here"] = "flag", types = "flag", json = "flag",
      after = "sequence", since = "time", type = "text", kind = "text", instance = "text", limit = "count",
    },
  })
  for _, alone in ipairs { "verify", "verify-here", "types" } do
    for name in pairs(options[alone] and options or {}) do
      if name ~= "json" and name ~= alone then command.usage(("--%s goes alone"):format(alone)) end
    end
  end
  if options.types then return types(options.json) end
  if options.after and options.since then command.usage("either --after or --since") end
  if options.verify then return verify_apart(argv) end
  if options.type or options.kind then
    require "routes" -- and with them all workflows
    local field, why = event_types.filter_fault(options.kind or options.instance and "instance", options.type)
    if field then command.usage("--%s: %s", field, why) end
  end
  command.open(settings)
  if options["verify-here"] then return command.must(verify()) and 0 end
  local wanted = filter(options)
  local after = print_behind(beginning(options, wanted), options.limit, wanted, options.json)
  if options.follow then follow(after, wanted, options.json) end
end

return M
