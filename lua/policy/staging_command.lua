-- cchost policy stage, promote, unstage, staged: what commands/policy.lua does with the set that is tried.
--
-- Filled in by it: M.build(sources) -> gen | nil, M.install(settings, gen, sources, note, author) -> exit code,
-- M.served(settings), M.author(options)

local command = require "command"
local json = require "json"
local policy = require "policy"
local generation = require "policy.generation"
local guards = require "policy.guards"
local history = require "policy.history"
local staging = require "policy.staging"
local sorted_keys = require "sorted_keys"
local store = require "store"
local task = require "task"
local time = require "time"

local M = { actions = {}, options = { percent = "bound", force = "flag" } }
for _, g in ipairs(guards.list) do M.options[g.option] = "bound" end

local SECONDS = 10 -- for the server to do what was asked

function M.help()
  local out = {}
  for _, g in ipairs(guards.list) do out[#out + 1] = ("    --%-20s %4g  %s"):format(g.option .. "=N", g.default, g.doc) end
  return table.concat(out, "\n")
end

local function staged()
  local rec = staging.get()
  if not rec then command.fail("nothing is staged") end
  return rec
end

-- Waits until a running server has done what the record says, as far as `done` wants. -> what it has found
local function wait_for(settings, rec, done)
  if not M.served(settings) then return nil end
  local ends = time.mono() + SECONDS * 1000
  repeat
    local found = store.get("policy", "shadow")
    if found and found.hash == rec.hash and done(found) then return found end
    task.sleep(0.05)
  until time.mono() > ends
  command.fail("the server has not taken it in %d s: see its log", SECONDS)
end

-- ---- stage

function M.actions.stage(words, options, settings)
  if not words[2] then command.usage("cchost policy stage DIR: which folder?") end
  local own, err = policy.read_own(words[2])
  if not own then command.fail("%s: %s", words[2], err.message) end
  local live = history.live()
  if not live then command.fail("no policies were in force yet: start the server once") end
  local sources = command.must(history.sources(live))
  for name, text in pairs(own) do sources[name] = text end
  local gen = M.build(sources)
  if not gen then return 1 end
  local rec = command.must(staging.stage(gen, M.author(options), options.note))
  local found = wait_for(settings, rec, function() return true end)
  for _, f in ipairs(found and found.faults or {}) do io.stderr:write("cchost: ", generation.text(f), "\n") end
  if found and found.faults then command.fail("the server cannot use it") end
  command.tell({ generation = rec.generation, changed = rec.changed, asked = found ~= nil },
    "generation %d is staged%s, without effect: %s", rec.generation,
    found and (", and asked beside generation %d"):format(live.generation) or "; a server asks it when it runs",
    table.concat(rec.changed, " "))
end

-- ---- promote

-- What would be lost: names of files that changed in the live set, or lie in the folder and are not in force.
local function newer(settings, rec)
  local names = {}
  for _, name in ipairs(staging.changed(rec)) do names[name] = true end
  local live, saved = history.live(), policy.read(settings.POLICIES_DIR)
  if saved and generation.hash(saved) ~= live.hash then
    local there = command.must(history.sources(live))
    for name, text in pairs(saved) do
      if there[name] ~= text then names[name] = true end
    end
    for name in pairs(there) do
      if not saved[name] then names[name] = true end
    end
  end
  return sorted_keys(names)
end

local function to_all(rec, options, settings)
  local names = newer(settings, rec)
  if #names > 0 and not options.force then
    command.fail("%s changed since generation %d was staged: stage it anew, or --force takes it as it is",
      table.concat(names, ", "), rec.generation)
  end
  local sources = command.must(history.sources(rec))
  local gen = M.build(sources)
  if not gen then return 1 end
  return M.install(settings, gen, sources, options.note or rec.note, options.author or rec.author)
end

function M.actions.promote(_, options, settings)
  local percent = options.percent
  if not percent or percent > 100 then command.usage("cchost policy promote --percent=N: 0 to 100 of the users") end
  local rec = staged()
  if percent == 100 then return to_all(rec, options, settings) end
  local given = {}
  for _, g in ipairs(guards.list) do given[g.name] = options[g.option] end
  rec = command.must(staging.promote(percent, guards.with(given), M.author(options)))
  local found = wait_for(settings, rec, function(f) return f.faults or f.promotion == rec.promotion end)
  if found and found.faults then command.fail("the server cannot use it: see cchost policy staged") end
  local is = { generation = rec.generation, percent = percent, guards = rec.guards, taken = found ~= nil }
  if percent == 0 then return command.tell(is, "generation %d is asked, and decides for nobody", rec.generation) end
  command.tell(is, "generation %d decides for %g%% of the users%s", rec.generation, percent,
    found and "" or " when a server runs")
end

function M.actions.unstage(_, options)
  local rec = command.must(staging.unstage(M.author(options)))
  command.tell({ generation = rec.generation, staged = false }, "generation %d is staged no longer", rec.generation)
end

-- ---- staged

local function show_counts(counts)
  if next(counts) == nil then return command.out("nothing was decided yet") end
  command.out("%-20s %10s %10s %10s %10s", "decision", "agree", "differ", "failed", "skipped")
  for _, name in ipairs(sorted_keys(counts)) do
    local n = counts[name]
    command.out("%-20s %10d %10d %10d %10d", name, n.agree, n.differ, n.failed, n.skipped)
    for _, pair in ipairs(sorted_keys(n.pairs)) do command.out("  %10d  %s", n.pairs[pair], pair) end
  end
end

local function show_figures(f)
  command.out("for its users: %d decisions, %d failed; stops %d (live: %d); denials %d (live: %d); %d of %d machines run on",
    f.asked, f.failed, f.stops, f.live_stops, f.denials, f.live_denials, f.kept, f.running)
end

local function show_difference(d)
  local about = d.input.name or d.input.domain or d.input.short or d.input.owner or ""
  command.out("%s  %s %s  %s -> %s%s", d.at, d.name, about, d.live.verdict, d.staged.verdict,
    d.enforced and "  (it decided)" or "")
  command.out("    live:   %s", tostring(d.live.reason))
  command.out("    staged: %s", tostring(d.staged.reason))
end

function M.actions.staged(_, options)
  local told = staging.told(staged(), store.get("policy", "shadow"))
  if options.json then return command.out("%s", json.encode(told)) end
  command.out("generation %d  %s  by %s%s", told.generation, told.at, told.author or "", told.note and ": " .. told.note or "")
  command.out("changed: %s", table.concat(told.changed, " "))
  command.out(told.percent > 0 and "decides for %g%% of the users, since %s" or "without effect", told.percent, told.promoted_at)
  if #told.live.changed_since > 0 then
    command.out("generation %d is in force by now; changed since it was staged: %s", told.live.now,
      table.concat(told.live.changed_since, " "))
  end
  local back = told.returned
  if back then command.out("returned from %g%% at %s: %s: %s", back.percent, back.at, back.guard, back.why) end
  for _, f in ipairs(told.faults or {}) do command.out("the server cannot use it: %s", generation.text(f)) end
  if not told.as_of then return command.out("no server has asked it yet") end
  command.out("as of %s", told.as_of)
  show_counts(told.counts)
  if told.promoted_at and told.figures then show_figures(told.figures) end
  for i, d in ipairs(told.differences) do
    if i > (options.limit or 10) then break end
    show_difference(d)
  end
end

return M
