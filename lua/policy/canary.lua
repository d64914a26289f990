-- The staged set in a server that runs: asked beside the live set on every real decision that has a verdict, deciding for a
-- part of the users when it is promoted, and taken back by itself when a guard trips. What is staged is in the store
-- (policy/staging.lua); this follows it.
--
--   canary.serve()               [serve's]
--   canary.look()                [yields] does what the record says, now
--   canary.told() -> record, what was found | nil          nothing is staged
--   canary.save()                [yields]
-- For policy.lua, while a set is staged:
--   canary.decides(owner), canary.generation(), canary.ask(live, owner, name, input, now) -> generation, results...
--
-- What it must not do: harm, and cost. A staged set that fails where it decides has its place taken by the live one in that
-- decision (and is counted); where it only looks on, nobody notices. Of its CPU time an account is kept: the second set is
-- asked while all such questions took no more than the live answers did, and a thousandth of a processor; the rest is skipped
-- and counted. Once a guard has tripped the next decision is the live set's; the store hears of it a moment later.

local changes = require "machines.changes"
local generation = require "policy.generation"
local guards = require "policy.guards"
local history = require "policy.history"
local json = require "json"
local log = require "log"
local policy = require "policy"
local samples = require "policy.samples"
local shadow = require "policy.shadow"
local slice = require "policy.slice"
local staging = require "policy.staging"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"

local M = {}

M.watched = { -- real decisions that have a verdict
  ["idle.decide"] = true, ["expiry.decide"] = true, ["orphans.decide"] = true, ["placement.place"] = true,
  ["health.decide"] = true,
  ["access.create"] = true, ["access.wake"] = true, ["access.volume"] = true, ["access.signup"] = true,
}

local MOST_MS = 20         -- CPU time that may be saved up for looking on
local SHARE = 1 / 1000     -- of a processor, beside what the live answers take
local SAVE_FIRST, SAVE_LAST = 2, 60 -- seconds: what is found is written at growing intervals

local c -- {record, gen, percent, places, shadow, trial, account, at, tripped, faults}

function M.generation() return c.gen end

-- ---- whose

function M.decides(owner)
  if c.percent == 0 or owner == nil or owner == "operator" then return false end
  local place = c.places[owner]
  if not place then
    place = slice.place(owner, c.record.hash)
    c.places[owner] = place
  end
  return place < c.percent
end

-- ---- taking it back

local function note_return(record, guard, why, figures)
  repeat
    local rec, err = staging.give_back(record, guard, why, figures)
    if rec or err.code == "not_found" then break end
    log.error("policy", "that a guard has tripped could not be noted yet", { error = tostring(err) })
  until not task.sleep(1)
  M.save()
end

local function give_back(guard, why)
  local figures, percent = {}, c.percent
  for k, v in pairs(c.trial:figures()) do figures[k] = v end
  c.percent, c.tripped = 0, c.record.promotion
  log.error("policy", "a guard has tripped: the staged set decides no longer", {
    generation = c.gen.number, guard = guard, why = why, percent = percent, figures = json.encode(figures),
  })
  policy.stage(M)
  task.spawn(note_return, c.record, guard, why, figures)
end

local function check()
  if c.percent == 0 then return end
  local guard, why = guards.tripped(c.record.guards, c.trial:figures())
  if guard then give_back(guard, why) end
end

-- ---- asking

local function spend(ms)
  local now = time.mono()
  c.account = math.min(MOST_MS, c.account - ms + (now - c.at) * SHARE)
  c.at = now
end

-- What a set says to an input that was made for the other one. -> as gen:ask
local function other(gen, name, input, now)
  local derive = policy.derived[name]
  if not derive then return gen:ask(name, input, now) end
  local field, value = derive(gen, input)
  local was = input[field]
  input[field] = value
  local ok, a, b, x = gen:ask(name, input, now)
  input[field] = was
  return ok, a, b, x
end

local function safe_of(name, input, why) return require("policy.kinds").find(name).safe(input, why) end

-- Both have answered: {ok, verdict, reason}.
local function compare(name, input, now, live, staged, enforced)
  local mine = staged[1] and { staged[2], staged[3] } or { failed = staged[2] }
  local theirs = { live[2], live[3] }
  if not live[1] then theirs = { safe_of(name, input, live[2]) } end
  c.shadow:compare(name, input, now, theirs, mine, enforced)
  if enforced and staged[1] then c.trial:pair(name, input, staged[2], theirs[1]) end
end

-- The live set has answered: the staged one looks on.
local function look_on(name, input, now, ok, a, b)
  local begun = sys.cpu_ms()
  local sok, sa, sb = other(c.gen, name, input, now)
  compare(name, input, now, { ok, a, b }, { sok, sa, sb }, false)
  if c.percent > 0 then c.trial:asked(sok) end
  spend(sys.cpu_ms() - begun)
end

local function ask_live(live, name, input, now)
  if not M.watched[name] then return live, policy.ask_of(live, name, input, now) end
  local begun = sys.cpu_ms()
  local ok, a, b, x = live:ask(name, input, now)
  spend(begun - sys.cpu_ms()) -- what this took may be taken once more
  if c.account > 0 then
    look_on(name, input, now, ok, a, b)
    check()
  else
    c.shadow:skip(name)
  end
  return live, policy.settle(live, name, input, ok, a, b, x)
end

function M.ask(live, owner, name, input, now)
  if not M.decides(owner) then return ask_live(live, name, input, now) end
  local gen = c.gen
  local begun = sys.cpu_ms()
  local ok, a, b, x = gen:ask(name, input, now)
  spend(begun - sys.cpu_ms())
  c.trial:asked(ok)
  local lok, la, lb, lx
  if not ok or M.watched[name] and c.account > 0 then
    begun = sys.cpu_ms()
    lok, la, lb, lx = other(live, name, input, now)
    if M.watched[name] then compare(name, input, now, { lok, la, lb }, { ok, a, b }, true) end
    spend(sys.cpu_ms() - begun)
  elseif M.watched[name] then
    c.shadow:skip(name)
  end
  check()
  if ok then return gen, policy.settle(gen, name, input, ok, a, b, x) end
  policy.failed(gen, name, a, "the set in force decides in place of the staged one")
  return live, policy.settle(live, name, input, lok, la, lb, lx)
end

-- ---- following the record

local function found()
  local out = c.shadow and c.shadow:save() or {}
  out.hash, out.at, out.promotion = c.record.hash, time.rfc3339(time.now()), c.record.promotion
  out.faults, out.figures = c.faults, c.trial and c.trial:figures()
  return out
end

function M.told()
  if not c then return nil end
  return c.record, found()
end

function M.save()
  if not c then return true end
  if c.shadow then c.shadow.dirty = false end
  local ok, err = staging.save(c.record.hash, found())
  if not ok then log.warn("policy", "what the staged set would do could not be written", { error = tostring(err) }) end
  return ok, err
end

local function tell_faults(faults)
  local list = json.array {}
  for i, f in ipairs(faults) do
    list[i] = { file = f.file, line = f.line, text = f.text }
    log.error("policy", "the staged set cannot be used", { at = ("%s:%d"):format(f.file, f.line or 1), why = f.text })
  end
  return list
end

-- A set that is staged, built. -> like c; with faults in place of gen when it cannot be
local function build(rec)
  local new = { record = rec, percent = 0, places = {}, account = MOST_MS, at = time.mono() }
  local sources, err = history.sources(rec)
  local gen, faults = nil, err and { { file = "store", line = 1, text = tostring(err) } }
  if sources then gen, faults = generation.build(sources, samples.all()) end
  if not gen then
    new.faults = tell_faults(faults)
    return new
  end
  gen.number, new.gen = rec.generation, gen
  gen.on_failure = function() -- in its code that waits: steps of a workflow
    if not c or c.gen ~= gen or c.percent == 0 then return end
    c.trial:asked(false)
    check()
  end
  local saved = store.get("policy", "shadow")
  if saved and (saved.hash ~= rec.hash or not saved.counts) then saved = nil end
  new.shadow = shadow.new(saved)
  if saved and saved.promotion == rec.promotion then new.trial = guards.trial(saved.figures) end
  new.trial = new.trial or guards.trial()
  return new
end

local function drop()
  if not c then return end
  log.info("policy", "nothing is staged any more", { was = c.record.generation })
  c = nil
  policy.stage(nil)
end

-- A set that cannot be built decides for nobody.
local function refuse()
  policy.stage(nil)
  if c.record.percent > 0 then staging.give_back(c.record, "build", c.faults[1].text, {}) end
end

local function adopt(rec)
  local new = not c or c.record.hash ~= rec.hash or c.record.generation ~= rec.generation
  if new then
    drop()
    local built = build(rec) -- waits
    c = built
  end
  local promoted = c.record.promotion ~= rec.promotion
  c.record = rec
  if not c.gen then return refuse() end
  if promoted then c.trial = guards.trial() end
  local percent = c.tripped and c.tripped == rec.promotion and 0 or rec.percent
  if not new and percent == c.percent then return end
  c.percent = percent
  log.info("policy", percent > 0 and "a staged set decides for a part of the users" or "a staged set is asked without effect",
    { generation = rec.generation, percent = percent, beside = policy.number() })
  policy.stage(M)
end

local looking, again = false, false

-- One at a time; what changes meanwhile is looked at behind it.
function M.look()
  if looking then
    again = true
    return
  end
  looking = true
  local ok, why = xpcall(function()
    repeat
      again = false
      local rec = staging.get()
      if rec then adopt(rec) else drop() end
    until not again
  end, debug.traceback)
  looking = false
  if not ok then
    log.error("policy", "following what is staged raised", { traceback = why })
    c = nil
    policy.stage(nil)
    return
  end
  M.save()
end

-- A machine that runs no longer is none whose hours are counted.
local function see(id)
  if not c or not c.trial or c.trial.machines[id] == nil then return end
  local rec = store.get("instance", id)
  if not rec or rec.status ~= "RUNNING" then c.trial:gone(id) end
end

function M.serve()
  c = nil
  policy.stage(nil)
  changes.on("policy", M.look)
  changes.on("instance", see)
  M.look()
  task.spawn(function()
    local pause, of = SAVE_FIRST, nil
    while task.sleep(pause) do
      local now = c and c.record.hash .. c.record.promotion
      pause = now ~= of and SAVE_FIRST or math.min(SAVE_LAST, pause * 2)
      of = now
      if c and c.shadow and c.shadow.dirty then M.save() end
    end
  end)
end

return M
