-- The policies in force: what the rest of the application asks, and how another set takes their place.
--
--   policy.open(settings, {serve =}) -> true | nil, err    [yields] after store.open. serve: from POLICIES_DIR, else from the
--       store's last good set; a script: the set that is in force. With no store and no folder: the shipped files
--   policy.ask("idle.decide", input [, now]) -> verdict, reason [, more]    never fails: what goes wrong in a policy is
--       logged and counted, and the kind's safe answer is given. `now`: unix seconds
--   policy.live() -> the generation in force (policy/generation.lua, with .number): whoever decides several things for one
--       request takes it once and asks it, so that all come from one set. [yields] the first time in a script: call it before
--       an update that asks
--   policy.number([owner]) -> the number of that one, or of the one for that user; nil when none was built yet: waits for nothing
--   policy.for_owner(owner) -> the generation that decides for this user: the one in force, or one that is tried on a part of
--       the users (policy/canary.lua); all that is decided for him is decided by it. Nobody, and "operator": the one in force
--   policy.ask_for(owner, "idle.decide", input [, now]) -> generation, verdict, reason [, more]    what policy.ask does, and
--       which one it was that answered, for the stamp. policy.ask is that for input.owner
--   policy.data("plans" [, owner]) -> the table of a file that is data
--   policy.derived["idle.decide"] = fn(gen, input) -> field, value     which field of the input says what that set's plans
--       say: for another set that is asked the same
--   policy.of(number) -> the generation of that number, also one that was replaced | nil, err    waits for nothing
--   policy.try(sources, author, note) -> set | nil, faults    [yields] builds a set and puts it in force when it is good
--   policy.shipped() -> {name = text} of the shipped files, without their tests
--   policy.read(folder) -> sources | nil, err      policy.shipped() -> those that the binary carries
--   policy.status() -> what /healthz?verbose and `cchost policy status` show
--   policy.on_change(fn)    fn(gen) after another set is in force
--   policy.on_split(fn)     fn() after other users than before are decided for by a staged set
--   policy.stage(trial)     policy/canary.lua's: who asks a staged set, or nil
--   policy.counts() -> {[name] = {[verdict] = n, failed = n}}
-- A set that was replaced is closed when the last that holds it lets go (garbage collection); work in flight ends on its own.

local errors = require "errors"
local fs = require "fs"
local generation = require "policy.generation"
local history = require "policy.history"
local kinds = require "policy.kinds"
local log = require "log"
local samples = require "policy.samples"
local spans = require "observe.spans"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local trace = require "trace"

local M = {}

local live                -- the generation in force
local staged              -- policy/canary.lua, while a set is staged
local state = { faults = {}, counts = {} }
local listeners, on_split = {}, {}

M.derived = {}

M.folder = nil -- POLICIES_DIR

-- ---- sources

-- The file of a name as the binary carries it, or nil.
local function shipped(name) return sys.carried("lua:policies." .. name:gsub("%.lua$", ""):gsub("/", ".")) end

-- {name = text} of what is shipped, without its tests: those belong to the shipped files alone.
local function defaults()
  local out = {}
  for _, name in ipairs(kinds.list) do
    local file = kinds[name].file
    out[file] = shipped(file) or error(("this cchost was built without policies/%s; put it back and build"):format(file), 0)
  end
  return out
end

M.shipped = defaults

local function read_folder(folder, prefix, out)
  local names, err = fs.list(folder)
  if not names then return nil, err end
  for _, name in ipairs(names) do
    if name:match("^[%w_][%w_-]*%.lua$") then
      local path = folder .. "/" .. name
      local info, serr = fs.stat(path, true)
      if info and info.type ~= "file" then serr = errors.new("invalid", "a plain file expected, not a " .. info.type) end
      local text, rerr
      if not serr then text, rerr = fs.read(path, 1048576) end
      if not text and rerr and rerr.code == "cancelled" then return nil, rerr end
      if not text then return errors.fail("invalid", path .. ": " .. (serr or rerr).message) end
      out[prefix .. name] = text
    end
  end
  return true
end

-- The files of a folder alone. -> sources | nil, err
function M.read_own(folder)
  local out = {}
  local ok, err = read_folder(folder, "", out)
  if not ok then return nil, err end
  ok, err = read_folder(folder .. "/tests", "tests/", out)
  if not ok and err.code ~= "not_found" then return nil, err end
  return out
end

-- The set that a folder makes: its files, and the shipped one of each kind that it does not have. -> sources | nil, err
function M.read(folder)
  local out, err = M.read_own(folder)
  if not out then return nil, err end
  for file, text in pairs(defaults()) do out[file] = out[file] or text end
  return out
end

-- ---- in force

local function enforce(gen, number)
  gen.number = number
  live = gen
  for _, fn in ipairs(listeners) do fn(gen) end
end

function M.on_change(fn) listeners[#listeners + 1] = fn end

local fall_back

function M.live()
  if not live then assert(fall_back()) end
  return live
end

function M.for_owner(owner)
  if staged and staged.decides(owner) then return staged.generation() end
  return M.live()
end

function M.number(owner)
  if not live then return nil end
  return (owner and M.for_owner(owner) or live).number
end

function M.data(kind, owner) return M.for_owner(owner):data(kind) end

function M.on_split(fn) on_split[#on_split + 1] = fn end

-- Those who are told may decide: so not in the middle of a decision.
local function tell_split()
  task.spawn(function()
    for _, fn in ipairs(on_split) do fn() end
  end)
end

function M.stage(trial)
  staged = trial
  tell_split()
end

local revived, n_revived = {}, 0 -- [number] = a generation that was replaced and is asked for again; the last few

function M.of(number)
  if live and live.number == number then return live end
  if staged and staged.generation().number == number then return staged.generation() end
  if revived[number] then return revived[number] end
  local set = number > 0 and history.get(number)
  if number > 0 and not set then return errors.fail("not_found", ("generation %d is not kept"):format(number)) end
  local sources, err = defaults(), nil
  if set then sources, err = history.sources(set) end
  if not sources then return nil, err end
  local gen, faults = generation.revive(sources)
  if not gen then return errors.fail("invalid", ("generation %d: %s"):format(number, generation.text(faults[1]))) end
  gen.number = number
  if n_revived == 16 then revived, n_revived = {}, 0 end -- who still holds one keeps it
  revived[number], n_revived = gen, n_revived + 1
  return gen
end

local function tell_faults(faults, what)
  for _, f in ipairs(faults) do
    log.error("policy", what, { at = ("%s:%d"):format(f.file, f.line or 1), why = f.text })
  end
end

local function try(sources, author, note)
  local hash = generation.hash(sources)
  if live and live.hash == hash then
    state.faults, state.refused_at = {}, nil
    return history.live()
  end
  local gen, faults = generation.build(sources, samples.all())
  if not gen then
    state.faults, state.refused_at = faults, time.rfc3339(time.now())
    tell_faults(faults, live and "the edit is refused; the last good policies stay" or "the policies cannot be used")
    return nil, faults
  end
  gen.shipped = hash == generation.hash(defaults())
  local set, err = history.add(gen, author, note)
  if not set then
    gen:close()
    return nil, { { file = "store", line = 1, text = tostring(err) } }
  end
  state.faults, state.refused_at = {}, nil
  enforce(gen, set.generation)
  log.info("policy", "in force", {
    generation = set.generation, changed = table.concat(set.changed, " "), by = author, decided_otherwise = #gen.changes,
  })
  return set
end

local trying -- a signal while a set is being built

-- Whether somebody's set is being built; and waits until none is. -> true | nil, err: it was cancelled
function M.trying() return trying ~= nil end

function M.rest()
  while trying do
    local ok, err = trying:wait(60)
    if not ok and err.code ~= "timeout" then return nil, err end
  end
  return true
end

-- One at a time: who comes meanwhile waits.
function M.try(sources, author, note)
  while trying do trying:wait(60) end
  trying = task.signal()
  local ok, set, faults = xpcall(try, debug.traceback, sources, author, note)
  local done = trying
  trying = nil
  done:fire()
  if not ok then error(set, 0) end
  return set, faults
end

-- The store's last good set, or the shipped files when there is none. -> true | nil, err
function fall_back()
  local set = store.stats() and history.live()
  local sources = set and history.sources(set)
  for file, text in pairs(sources and defaults() or {}) do -- a set from before there was a kind has the shipped file of it
    if kinds.of_file(file).optional then sources[file] = sources[file] or text end
  end
  local gen, faults = generation.build(sources or defaults())
  if not gen then return errors.fail("invalid", "policies: " .. generation.text(faults[1])) end
  enforce(gen, set and sources and set.generation or 0)
  return true
end

function M.open(settings, options)
  M.folder = settings.POLICIES_DIR
  live, state.faults = nil, {}
  if not options.serve then return true end -- a script builds them when it asks
  samples.load()
  local sources, err = nil, nil
  if M.folder then sources, err = M.read(M.folder) end
  local known = history.live()
  if not sources and known and not known.shipped then -- a folder that is away takes nobody's policies away
    local ok, why = fall_back()
    if ok and err then M.refuse(err) end
    return ok, why
  end
  if not M.try(sources or defaults(), "start") then return fall_back() end
  if err then M.refuse(err) end
  return true
end

-- POLICIES_DIR cannot be read: that is told like a bad edit. Where none was ever used it need not be there.
function M.refuse(err)
  local set = history.live()
  if err.code == "not_found" and (not set or set.shipped) then return end
  local text = err.code == "not_found" and "the folder is not there" or err.message
  local known = state.faults[1]
  if known and known.text == text then return end
  state.faults, state.refused_at = { { file = M.folder, line = 1, text = text } }, time.rfc3339(time.now())
  tell_faults(state.faults, "the policies cannot be read; the last good ones stay")
end

-- ---- asking

local function count(name, verdict)
  local c = state.counts[name]
  if not c then
    c = { failed = 0 }
    state.counts[name] = c
  end
  verdict = type(verdict) == "string" and verdict or "answered"
  c[verdict] = (c[verdict] or 0) + 1
end

local asking, fault -- the span of the decision that is being made, and why it failed; decisions do not wait

local told, n_told = {}, 0 -- [name .. why] = when

-- A fault is told once a minute, and counted each time.
local function failed(gen, name, why, then_what)
  state.counts[name] = state.counts[name] or { failed = 0 }
  state.counts[name].failed = state.counts[name].failed + 1
  fault = asking and why
  local key, now = name .. why, time.mono()
  if told[key] and now - told[key] < 60000 then return end
  if n_told == 1000 then told, n_told = {}, 0 end
  if not told[key] then n_told = n_told + 1 end
  told[key] = now
  log.error("policy", "a decision failed; " .. (then_what or "the safe answer is given"),
    { decision = name, why = why, generation = gen.number })
end
M.failed = failed

-- What gen:ask gave becomes what is done. -> results...
local function settle(gen, name, input, ok, a, b, c)
  if ok then
    count(name, a)
    return a, b, c
  end
  failed(gen, name, a)
  return kinds.find(name).safe(input, "the policy failed: " .. a)
end
M.settle = settle

-- What a generation answers, or the safe answer. -> results...
function M.ask_of(gen, name, input, now) return settle(gen, name, input, gen:ask(name, input, now)) end

local function answer(gen, owner, name, input, now)
  if staged then return staged.ask(gen, owner, name, input, now) end
  return gen, M.ask_of(gen, name, input, now)
end

local function told_span(gen, name, verdict, reason)
  local span = asking
  asking = nil
  span:set("cchost.decision", name)
  span:set("cchost.policy.generation", gen.number)
  if type(verdict) == "string" then span:set("cchost.verdict", verdict) end
  if type(reason) == "string" then span:set("cchost.reason", reason) end
  span:finish(fault)
  fault = nil
end

-- What the set in force says becomes one of the inputs that new sets are tried on.
local function noted(name, input, now, gen, a, b, c)
  if asking then told_span(gen, name, a, b) end
  if gen == live then samples.note(name, input, now, a, b) end
  return gen, a, b, c
end

function M.ask_for(owner, name, input, now)
  asking = spans.active and trace.begin("decision", name)
  return noted(name, input, now, answer(M.live(), owner, name, input, now))
end

function M.ask(name, input, now) return select(2, M.ask_for(input.owner, name, input, now)) end

-- ---- telling

function M.counts() return state.counts end

function M.status()
  local gen, set = M.live(), history.live()
  local faults, warnings = {}, {}
  for i, f in ipairs(state.faults) do faults[i] = { file = f.file, line = f.line, text = f.text } end
  for i, f in ipairs(gen.warnings) do warnings[i] = { file = f.file, line = f.line, text = f.text } end
  return {
    generation = gen.number, hash = gen.hash, files = gen.files, folder = M.folder,
    since = set and set.at, author = set and set.author, tests = gen.tests,
    faults = faults, refused_at = state.refused_at, warnings = warnings, decisions = state.counts,
  }
end

return M
