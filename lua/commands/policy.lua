-- cchost policy: which policies are in force, what they were, and another set in their place.

local command = require "command"
local fs = require "fs"
local json = require "json"
local policy = require "policy"
local describe = require "policy.describe"
local diff = require "policy.diff"
local folders = require "policy.folder"
local generation = require "policy.generation"
local history = require "policy.history"
local trying = require "policy.staging_command"
local told = require "policy.told"
local sorted_keys = require "sorted_keys"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local watch = require "watch"

local M = {}

M.help = [=[
usage: cchost policy status [--json]
       cchost policy test [DIR] [--watch]
       cchost policy describe [--meta]
       cchost policy apply DIR [--note=TEXT] [--author=NAME]
       cchost policy log [--limit=N]
       cchost policy show [GENERATION [FILE]]
       cchost policy diff [GENERATION [GENERATION]]
       cchost policy rollback [GENERATION] [--note=TEXT]
       cchost policy stage DIR [--note=TEXT]
       cchost policy promote --percent=N [--max-errors=N ...] [--force]
       cchost policy unstage
       cchost policy staged [--json] [--limit=N]

The policies in force, and how they came to be. A running server takes what is saved in POLICIES_DIR by itself when it
is good; DIR is another folder of policies, of which the shipped files are the rest.

  status     the generation in force, its files, what is odd in them, and what is wrong with what was saved last
  test       compiles, lints and tests a folder (POLICIES_DIR) without using it; --watch: after every save
  describe   what each function is told and may answer; --meta: as annotations for editors (lua/meta/policies.lua)
  apply      tests DIR and puts its files into POLICIES_DIR, all of them as one edit; a running server says when they
             are in force
  log        who changed what, newest first
  show       a generation's files (the one in force), or one of them
  diff       what changed in a generation; between two; without any: from what is in force to what lies in POLICIES_DIR
  rollback   puts the files of an earlier generation (the one before) into POLICIES_DIR; what lies there and was never in
             force is kept as NAME.lua.replaced-TIME
  stage      tests the files of DIR over what is in force, and has a running server ask that set beside the live one on every
             real decision, without effect
  promote    below 100: the staged set decides for so many of the users, always the same ones, until a guard trips (below);
             100: its files go into POLICIES_DIR, unless others changed there meanwhile (--force)
  unstage    ends it; who was decided for by it is decided for by the live set
  staged     what both sets said, and the last differences (--limit=10)

--json: one JSON object a line, of every action.

A staged set returns by itself to deciding for nobody when (--NAME=off: never)
]=] .. trying.help() .. "\n"

local spec = {
  usage = "cchost policy status|test|describe|apply|log|show|diff|rollback|stage|promote|unstage|staged ... [--json]; "
    .. "see cchost policy --help",
  words = { 1, 3 }, options = { json = "flag", watch = "flag", meta = "flag", note = "text", author = "text", limit = "count" },
}
for name, kind in pairs(trying.options) do spec.options[name] = kind end

local function number(word)
  if not word then return nil end
  local n = word:match("^%d+$") and tonumber(word)
  if not n then command.usage("a generation is a number, not '%s'", word) end
  return n
end

local function set_of(n)
  local set = n and history.get(n) or not n and history.live()
  if not set then command.fail(n and "there is no generation %d" or "no policies were in force yet: start the server once", n) end
  return set
end

local function sources_of(set) return command.must(history.sources(set)) end

-- ---- building

local function say_faults(faults)
  for _, f in ipairs(faults) do io.stderr:write("cchost: ", generation.text(f), "\n") end
end

local function read(folder)
  local sources, err = policy.read(folder)
  if not sources then command.fail("%s: %s", folder, err.message) end
  return sources
end

-- -> generation, or nil after its faults were told
local function build(sources)
  local samples = require "policy.samples"
  if store.stats() then samples.load() end
  local gen, faults = generation.build(sources, samples.all())
  if not gen then
    say_faults(faults)
    return nil
  end
  for _, w in ipairs(gen.warnings) do io.stderr:write("cchost: warning: ", generation.text(w), "\n") end
  return gen
end

local function test_once(folder)
  local begun = time.mono()
  local gen = build(read(folder))
  if not gen then return 1 end
  local took = time.mono() - begun
  command.tell({ folder = folder, tests = gen.tests, changes = json.array(gen.changes), ms = took },
    "%s: good: %d tests, %d of the recorded decisions would be others (%d ms)", folder, gen.tests, #gen.changes, took)
  for i, change in ipairs(gen.changes) do
    if i > 10 or command.is_json() then break end
    command.out("  %s: %s -> %s (%s)", change.name, tostring(change.was[1]), tostring(change.is[1]), tostring(change.is[2]))
  end
  gen:close()
  return 0
end

local function test_again_and_again(folder)
  local changed = task.signal()
  for _, dir in ipairs { folder, folder .. "/tests" } do watch.folder(dir, function() changed:fire() end) end
  while true do
    test_once(folder)
    repeat local seen = changed:wait(3600) until seen
    task.sleep(0.1)
  end
end

-- ---- putting files into POLICIES_DIR

local function set_aside(folder, name)
  local kept = command.must(folders.keep(folder, name))
  local file = folder .. "/" .. name
  if kept then command.tell({ file = file, kept = kept }, "%s was never in force: it is kept as %s", file, kept) end
  return kept
end

-- A server takes changes that are close together as one edit (policy/reload.lua). Writing may be slow, so that is done
-- before; then all files take their places at once.
local function install(folder, sources, keep)
  command.must(fs.mkdir(folder))
  local moved, gone = {}, {}
  for _, name in ipairs(sorted_keys(sources)) do
    if fs.read(folder .. "/" .. name, 1048576) ~= sources[name] then
      command.must(folders.prepare(folder, name, sources[name]))
      moved[#moved + 1] = name
    end
  end
  for _, dir in ipairs(keep and {} or { "", "tests/" }) do
    for _, name in ipairs(fs.list(folder .. "/" .. dir) or {}) do
      if name:match("^[^.].*%.lua$") and not sources[dir .. name] then gone[#gone + 1] = dir .. name end
    end
  end
  for _, name in ipairs(moved) do set_aside(folder, name) end
  for _, name in ipairs(moved) do command.must(folders.place(folder, name)) end
  for _, name in ipairs(gone) do
    if not set_aside(folder, name) then command.must(fs.remove(folder .. "/" .. name)) end
  end
end

local function served(settings)
  local held = fs.locked(settings.DATA_DIR .. "/serve.lock")
  return held == true
end

-- Waits until the set is in force, or refused. -> exit code
local function wait_for(hash)
  local ends = time.mono() + 10000
  repeat
    local live = history.live()
    if live and live.hash == hash then
      command.tell({ generation = live.generation, in_force = true }, "generation %d is in force", live.generation)
      return 0
    end
    task.sleep(0.05)
  until time.mono() > ends
  command.fail("the server has not taken it in 10 s: see its log and cchost policy status")
end

local function author_of(options)
  return options.author or sys.env("SUDO_USER") or sys.env("USER") or "operator"
end

local function put_built(settings, gen, sources, note, author, keep)
  local folder = settings.POLICIES_DIR
  command.must(history.propose(gen.hash, author, note))
  install(folder, sources, keep)
  if served(settings) then return wait_for(gen.hash) end
  local set = command.must(history.add(gen, "cchost policy"))
  command.tell({ generation = set.generation, in_force = false }, "generation %d is in force when the server starts",
    set.generation)
  return 0
end

local function put(settings, sources, options, note, keep)
  local gen = build(sources)
  if not gen then return 1 end
  return put_built(settings, gen, sources, note, author_of(options), keep)
end

-- ---- actions

trying.build, trying.served, trying.author, trying.install = build, served, author_of, put_built

local actions = trying.actions

function actions.status(_, options, settings)
  local set = set_of()
  local faults = {}
  local is, err = told.status(settings.POLICIES_DIR, function(sources)
    local gen, why = generation.build(sources)
    faults = gen and {} or why
    return faults
  end, function(known)
    local gen = generation.build(command.must(history.sources(known)))
    return gen and gen.warnings or {}
  end)
  if options.json then return command.out("%s", json.encode(is)) end
  command.out("generation %d  %s  by %s%s", set.generation, set.at, set.author, set.note and ": " .. set.note or "")
  for _, name in ipairs(sorted_keys(set.files)) do command.out("  %s  %s", set.files[name]:sub(1, 12), name) end
  for _, w in ipairs(is.warnings) do command.out("warning: %s", generation.text(w)) end
  if not is.saved and err.code ~= "not_found" then
    command.out("%s cannot be read, what is in force stays: %s", settings.POLICIES_DIR, err.message)
    return 1
  end
  if not is.pending then return command.out("%s: as it is in force", settings.POLICIES_DIR) end
  if #faults == 0 then return command.out("%s: differs, and is good; a running server takes it", settings.POLICIES_DIR) end
  command.out("%s: differs, and is refused:", settings.POLICIES_DIR)
  for _, f in ipairs(faults) do command.out("  %s", generation.text(f)) end
  return 1
end

function actions.test(words, options, settings)
  local folder = words[2] or settings.POLICIES_DIR
  if options.watch then return test_again_and_again(folder) end
  return test_once(folder)
end

function actions.apply(words, options, settings)
  if not words[2] then command.usage("cchost policy apply DIR: which folder?") end
  local own, err = policy.read_own(words[2])
  if not own then command.fail("%s: %s", words[2], err.message) end
  local all = policy.read(settings.POLICIES_DIR) or policy.read(words[2])
  for name, text in pairs(own) do all[name] = text end
  return put(settings, all, options, options.note, true)
end

function actions.describe(_, options)
  if command.is_json() then
    return describe.each(function(file, name, f)
      command.tell { file = file, name = name, gives = describe.results(f), input = json.array(describe.fields(f)) }
    end)
  end
  command.must(sys.stdout(options.meta and describe.annotations() or describe.markdown()))
end

function actions.log(_, options)
  for _, set in ipairs(history.list(nil, options.limit or 50)) do
    command.tell(set, "%4d  %s  %-20s %s%s%s", set.generation, set.at, set.author or "", table.concat(set.changed or {}, " "),
      set.note and "  (" .. set.note .. ")" or "", set.state == "staged" and "  [staged]" or "")
  end
end

function actions.show(words)
  local set = set_of(number(words[2]))
  local sources = sources_of(set)
  if words[3] then
    local text = sources[words[3]]
    if not text then command.fail("generation %d has no %s", set.generation, words[3]) end
    if command.is_json() then return command.tell { generation = set.generation, file = words[3], text = text } end
    return command.must(sys.stdout(text))
  end
  if command.is_json() then
    return command.tell { generation = set.generation, at = set.at, author = set.author, note = set.note, files = sources }
  end
  command.out("generation %d  %s  by %s", set.generation, set.at, set.author)
  for _, name in ipairs(sorted_keys(sources)) do
    command.out("\n-- %s", name)
    command.must(sys.stdout(sources[name]))
  end
end

function actions.diff(words, _, settings)
  local a, b = number(words[2]), number(words[3])
  local was, is
  if not a then
    was, is = sources_of(set_of()), read(settings.POLICIES_DIR)
  elseif b then
    was, is = sources_of(set_of(a)), sources_of(set_of(b))
  else
    local set = set_of(a)
    local before = history.before(set)
    was, is = before > 0 and sources_of(set_of(before)) or {}, sources_of(set)
  end
  local names = {}
  for name in pairs(was) do names[name] = true end
  for name in pairs(is) do names[name] = true end
  for _, name in ipairs(sorted_keys(names)) do
    local text = diff.unified(name, was[name] or "", is[name] or "")
    if text ~= "" and command.is_json() then
      command.tell { file = name, diff = text }
    elseif text ~= "" then
      command.must(sys.stdout(text))
    end
  end
end

function actions.rollback(words, options, settings)
  local live = set_of()
  local to = number(words[2]) or history.before(live)
  local set = set_of(to)
  return put(settings, sources_of(set), options, options.note or "back to generation " .. to, false)
end

function M.run(argv)
  local options, words, settings = command.read(argv, spec)
  local action = actions[words[1]]
  if not action then command.usage("usage: %s", spec.usage) end
  if words[1] == "describe" then return action(words, options) end
  if words[1] ~= "test" or fs.stat(settings.DATA_DIR .. "/store/data.mdb") then
    command.open(settings, words[1] == "apply")
  end
  require "routes" -- a route of a policy must not be a built-in one
  require "policy.own_jobs"
  policy.folder = settings.POLICIES_DIR
  return action(words, options, settings)
end

return M
