-- cchost whatif: recorded history under other policies, side by side with those in force.

local command = require "command"
local fs = require "fs"
local generation = require "policy.generation"
local history = require "policy.history"
local json = require "json"
local kinds = require "policy.kinds"
local null = require "whatif.null"
local past = require "whatif.past"
local policy = require "policy"
local prices = require "whatif.prices"
local replay = require "whatif.replay"
local samples = require "policy.samples"
local script = require "script"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local told = require "policy.told"
local totals = require "whatif.totals"

local M = {}

local USAGE = "cchost whatif FILE.lua [FILE.lua ...] | DIR [--since=30d] [--until=TIME] [--interval=300] [--json]"

M.help = "usage: " .. USAGE .. [[

       cchost whatif --null [--since=30d] [--until=TIME] [--interval=300] [--json]

Replays what machines and people did under the policies in force, and under the same with these files in their places;
tells both and the difference. Nothing is changed: it reads the store, beside a running server or without one. A file is
known by its name (idle.lua, plans.lua, tests/idle.lua, lib_NAME.lua), else by the kind that it says it is; a folder is
the whole set, and the shipped files are the rest. A candidate that would be refused when it is saved is refused here,
with exit code 1.

  --since=TIME     from then on (30d; 7d, 2026-11-01, 2026-11-20T12:00:00Z)
  --until=TIME     to then (now)
  --interval=S     seconds between two decisions about a machine (ACTIVITY_CHECK_INTERVAL); another one makes both sides
                   differ from what was recorded
  --json           everything, with the machine-hours of each day for a chart
  --progress       with --json, before it and a line each: {"progress": machines}, {"faults": [...]}
  --null           tests the replay itself: the policies in force must decide again what they decided since they are in
                   force, and come to the usage that was recorded; exit code 1 when they do not. To three minutes ago,
                   when not told otherwise
]]

local spec = {
  usage = USAGE, words = { 0, 32 },
  options = { since = "time", ["until"] = "time", json = "flag", interval = "count", null = "flag", progress = "flag" },
}

local DELAY, NEAR = 60000, 15 * 60000
local UNWRITTEN = 180000 -- what a server has noted in its last minutes may not be in the store yet

-- ---- the two sets

local tell_progress = false

local function refuse(faults)
  if tell_progress then command.out("%s", json.encode { faults = told.faults(faults) }) end
  for _, f in ipairs(faults) do io.stderr:write("cchost: ", generation.text(f), "\n") end
  script.quit(1)
end

-- policies/tests/idle.lua -> tests/idle.lua; a file of another name says of which kind it is
local function name_of(path, text)
  local name = path:match("(tests/[^/]+%.lua)$") or path:match("([^/]+%.lua)$")
  if not name then command.usage("%s: a file called NAME.lua expected", path) end
  local said = not kinds.of_file(name) and text:match("kind%s*=%s*[\"'](%w+)[\"']")
  for _, kind in ipairs(kinds.list) do
    if kind == said then return kinds[kind].file end
  end
  return name
end

local function sources_with(base, words)
  local out, names = {}, {}
  for name, text in pairs(base) do out[name] = text end
  for _, word in ipairs(words) do
    local text = command.must(fs.read(word, 1048576))
    out[name_of(word, text)] = text
    names[#names + 1] = word
  end
  return out, names
end

local function candidate(base, words)
  local info = command.must(fs.stat(words[1]))
  if info.type ~= "directory" then return sources_with(base, words) end
  if #words > 1 then command.usage("one folder, or files") end
  return command.must(policy.read(words[1])), { words[1] }
end

local function build(sources)
  local gen, faults = generation.build(sources, samples.all())
  if not gen then refuse(faults) end
  return gen
end

local function side_of(gen, settings)
  return {
    gen = gen, threshold = settings.IDLE_THRESHOLD or 7200, prices = prices.periods(gen:data("plans").price),
    failed = { n = 0, limit = 0, distinct = 0, texts = {} },
  }
end

-- ---- replaying

-- fn(past) for every machine of which something is known, one at a time.
local function each(from, to, fn)
  local cache, n, begun = {}, 0, time.mono()
  local after
  repeat
    local ids = past.ids(after)
    for _, id in ipairs(ids) do
      after = id
      local p = past.of(id, from, to, cache)
      if p then fn(p) end
      n = n + 1
      if time.mono() - begun > 200 then
        begun = time.mono()
        script.progress("%d machines replayed", n)
        if tell_progress then command.out('{"progress":%d}', n) end
        task.sleep(0)
      end
    end
  until #ids == 0
  script.end_progress()
end

-- A candidate that spends its budget again and again is given up.
local function careful(fn, ...)
  local ok, r = pcall(fn, ...)
  if ok then return r end
  if type(r) == "table" and r.given_up then
    command.fail("the replay is given up, for a policy went beyond its budget 100 times: %s", r.given_up)
  end
  error(r, 0)
end

local function compare(from, to, before, after, model)
  local t = totals.new()
  each(from, to, function(p)
    totals.add(t, p, careful(replay.machine, p, before, model), careful(replay.machine, p, after, model))
  end)
  return totals.finish(t)
end

-- ---- as text

local function hours(ms) return ("%.1f"):format(ms / 3600000) end
local function money(micro) return ("%.2f"):format(micro / 1e6) end
local function count(n) return ("%d"):format(n) end

local rows = {
  { "ms", "machine-hours", hours }, { "micro", "money", money }, { "stops", "stops", count },
  { "at_work", "  of someone at work", count }, { "agents", "  of a running agent", count }, { "wakes", "wakes", count },
  { "early", "  soon after a stop", count },
}

local function signed(text, n) return n > 0 and "+" .. text or text end

local function table_of(title, pair)
  command.out("%-24s %14s %14s %14s", title, "in force", "candidate", "difference")
  for _, row in ipairs(rows) do
    local a, b = pair.before[row[1]], pair.after[row[1]]
    command.out("%-24s %14s %14s %14s", row[2], row[3](a), row[3](b), signed(row[3](b - a), b - a))
  end
  command.out("")
end

local function name_of_owner(owner)
  local user = store.get("user", owner)
  return user and user.email or owner
end

local function text_users(users)
  if #users == 0 then return command.out("No user is affected.\n") end
  command.out("%-36s %8s %8s %8s %14s", "most affected", "at work", "agents", "wakes", "machine-hours")
  for _, u in ipairs(users) do
    local function d(f) return u.after[f] - u.before[f] end
    command.out("%-36s %8s %8s %8s %14s", name_of_owner(u.owner), signed(count(d "at_work"), d "at_work"),
      signed(count(d "agents"), d "agents"), signed(count(d "early"), d "early"), signed(hours(d "ms"), d "ms"))
  end
  command.out("")
end

local function text_failures(side, what)
  if side.failed.n == 0 then return end
  command.out("%d decisions of %s failed; each was taken as keep:", side.failed.n, what)
  local list = {}
  for why, n in pairs(side.failed.texts) do list[#list + 1] = ("  %6d  %s"):format(n, why) end
  table.sort(list)
  for _, line in ipairs(list) do command.out("%s", line) end
  command.out("")
end

local function model_text(model)
  return ([[
Model: decisions every %d s and at the second at which a verdict changes. A stop takes effect at once. Input, another
connection or a lease from outside at a machine that is stopped here, and ran there, wakes it: it runs %d s later, and
its agent did nothing meanwhile. A machine that history stopped for idleness and the candidate keeps runs on, unused,
until it is stopped here, or somebody uses it or ends it there. What was asked for stays as it was. "Of someone at work":
input or a start within %d minutes; "of a running agent": a turn, a lease or half a processor's load at the stop;
"soon": within %d minutes.]]):format(model.interval / 1000, model.delay / 1000, model.near / 60000, model.near / 60000)
end

local function say(r, before, after, model)
  command.out("%d machines from %s to %s, %s replaced", r.machines, time.rfc3339(r.from), time.rfc3339(r.to),
    table.concat(r.files, ", "))
  command.out("recorded: %s machine-hours; the policies in force, replayed: %s\n", hours(r.recorded_ms), hours(r.total.before.ms))
  table_of("in total", r.total)
  if #r.plans > 1 then
    for _, p in ipairs(r.plans) do table_of("plan " .. p.plan, p) end
  end
  if r.undone > 0 then command.out("%d stops for idleness that history has did not come.\n", r.undone) end
  text_users(r.users)
  text_failures(before, "the policies in force")
  text_failures(after, "the candidate")
  command.out("%s", model_text(model))
  command.out("%d decisions in %.1f s of CPU time.", r.decisions, r.cpu_ms / 1000)
end

-- ---- as JSON

local function as_json(r, before, after, model)
  r.from, r.to = time.rfc3339(r.from), time.rfc3339(r.to)
  for _, d in ipairs(r.days) do d.day = time.rfc3339(d.day * 86400000):sub(1, 10) end
  for _, name in ipairs { "plans", "days", "users", "files" } do r[name] = json.array(r[name]) end
  r.model = { interval_seconds = model.interval / 1000, delay_seconds = model.delay / 1000, near_seconds = model.near / 1000,
    text = model_text(model) }
  r.failed = { before = before.failed.n, after = after.failed.n }
  r.failed.before_texts, r.failed.after_texts = before.failed.texts, after.failed.texts
  command.out("%s", json.encode(r))
end

-- ---- the null test

-- Since when the policies in force are, unix ms.
local function in_force_since()
  local set = history.live()
  return set and time.parse(set.at) or 0
end

local function test_null(from, to, side, model)
  local machines, decisions, differences, shown, usage, others = 0, 0, 0, 0, 0, 0
  each(from, to, function(p)
    if p.recorded.by_others(side.gen.number, from, to) then -- a staged set had it, or a later one was in force
      others = others + 1
      return
    end
    local found = null.check(p, side, model, side.gen.number)
    machines, decisions = machines + 1, decisions + found.decisions
    differences = differences + #found.differences
    if found.ms ~= found.recorded_ms then
      usage = usage + 1
      command.tell({ id = p.id, recorded_ms = found.recorded_ms, replayed_ms = found.ms },
        "%s: %d ms of usage were recorded, %d come of the replay", p.id, found.recorded_ms, found.ms)
    end
    for _, d in ipairs(found.differences) do
      if shown < 20 then
        local function t(x) return x and x[1] .. " (" .. x[2] .. ")" or "nothing" end
        command.tell({ id = p.id, at = time.rfc3339(d.ms), recorded = d.recorded, replayed = d.replayed },
          "%s at %s: recorded %s, replayed %s", p.id, time.rfc3339(d.ms), t(d.recorded), t(d.replayed))
        shown = shown + 1
      end
    end
  end)
  command.tell({ machines = machines, decisions = decisions, differ = differences, usage_differs = usage, left_out = others },
    "%d machines, %d recorded decisions: %d differ; the usage of %d machines does", machines, decisions, differences, usage)
  if others > 0 and not command.is_json() then
    command.out("%d machines were left out: other policies decided about them, too", others)
  end
  return differences + usage == 0 and 0 or 1
end

-- ---- the command

function M.run(argv)
  local options, words, settings = command.read(argv, spec)
  if #words == 0 and not options.null or #words > 0 and options.null then command.usage("usage: %s", USAGE) end
  tell_progress = options.progress and options.json
  command.open(settings)
  samples.load()
  local to = options["until"] or time.now() - (options.null and UNWRITTEN or 0)
  local from = options.since or to - 30 * 86400000
  if from >= to then command.usage("--since: a time before the end expected") end
  local model = { interval = (options.interval or settings.ACTIVITY_CHECK_INTERVAL or 300) * 1000, delay = DELAY, near = NEAR }
  local live = policy.live()
  local before = side_of(live, settings)
  if options.null then return test_null(math.max(from, in_force_since()), to, before, model) end
  local sources, files = candidate(live.sources, words)
  local after = side_of(build(sources), settings)
  local begun = sys.cpu_ms()
  local r = compare(from, to, before, after, model)
  r.cpu_ms = math.floor(sys.cpu_ms() - begun)
  r.from, r.to, r.files = from, to, files
  r.generation = live.number
  if options.json then as_json(r, before, after, model) else say(r, before, after, model) end
  return 0
end

return M
