-- The workflow engine alone: a subject of its own, steps that fail as told, on a clock that stands still until moved.
local time = require "time"
time.virtual(1700000000000)

local t = require "t"
local errors = require "errors"
local fs = require "fs"
local json = require "json"
local record = require "machines.record"
local runner = require "runner"
local store = require "store"
local task = require "task"
local workflow = require "workflow"

local dir = t.tmpdir()
assert(store.open { dir = dir, serve = true })
assert(runner.setup(dir))

-- ---- a subject that is only a record, and a journal of what the steps did

workflow.subject("thing", {
  get = function(tx, id) return tx:get("thing", id) end,
  edit = record.edit, differs = record.differs,
  save = function(tx, _, rec, type, by, note)
    tx:put("thing", rec.id, rec)
    tx:log("thing", rec.id, type, note or {}, by)
  end,
})

local did, script = {}, {}

-- A step that notes "name", then does what script[name] says: a list of error codes, "hang", or "" for success.
local function effect(name)
  return function(x)
    did[#did + 1] = name
    local what = table.remove(script[name] or {}, 1) or ""
    if what == "" then return true end
    if what == "raise" then error("a fault") end
    if what == "hang" then
      local _, err = task.sleep(x.seconds)
      if err then return nil, err end
      return errors.fail("timeout", "no answer", { retryable = true })
    end
    if what == "cut" then return errors.fail("unavailable", "said \195", { retryable = true }) end -- by who has a bound in bytes
    if what == "garbled" then return errors.fail("failed", "said \195") end
    if what == "busy" then return errors.fail("limit", "slow down", { retryable = true, retry_after = 7 }) end
    return errors.fail(what, name .. " said " .. what, { retryable = what == "unavailable" })
  end
end

local function note(what)
  return function(rec)
    rec.notes = json.array { unpack(rec.notes) }
    rec.notes[#rec.notes + 1] = what
  end
end

workflow.define("build", {
  subject = "thing", cancel = true,
  steps = {
    { name = "a", run = effect "a", undo = effect "-a", done = note "a", undone = note "-a" },
    { name = "skipped", when = function() return false end, run = effect "skipped" },
    { name = "b", run = effect "b", undo = effect "-b", done = note "b" },
    { name = "c", run = effect "c", done = note "c" },
  },
  finish = note "built", fail = function(rec, _, err, undone) note((undone and "undone " or "half ") .. err.code)(rec) end,
})
workflow.define("paint", {
  subject = "thing", steps = { { name = "p", run = effect "p" } }, finish = note "painted", fail = note "unpainted",
})
workflow.define("burn", {
  subject = "thing", overtakes = true, steps = { { name = "x", run = effect "x" } }, finish = note "burnt", fail = note "unburnt",
})

-- Time moves on only when nothing is left to do but wait for it: commits take real time, and no virtual.
local step_ms = 20
function t.turn()
  local quiet = 0
  while quiet < 3 do
    assert(fs.stat("/"))
    quiet = store.stats().pending == 0 and quiet + 1 or 0
  end
  time.advance(step_ms)
end
local function until_(fn, ms)
  step_ms = ms or 20
  t.wait_until(fn)
  step_ms = 20
end

local count = 0
local function thing()
  count = count + 1
  did, script = {}, {}
  local id = "thing" .. count
  assert(store.update(function(tx)
    tx:put("thing", id, { id = id, owner = "", operation = json.null, queue = json.array {}, notes = json.array {} })
    return true
  end))
  return id
end

local function ask(id, kind, input)
  local op = assert(store.update(function(tx)
    local rec = record.edit(tx:get("thing", id))
    local op = workflow.ask(tx, "thing", rec, kind, input, "tester")
    tx:put("thing", id, rec)
    return op
  end))
  runner.drive("thing", id)
  return op
end

local function op_of(id) return store.get("operation", id) end
local function over(op) return function() return workflow.over(op_of(op)) end end
local function idle(id) return function() return not runner.busy("thing", id) end end
local function notes(id) return table.concat(store.get("thing", id).notes, " ") end
local function story() return table.concat(did, " ") end

t.test("steps are done in order, and named before they act", function()
  local id = thing()
  script.b = { "hang" }
  local op = ask(id, "build", { colour = "red" })
  until_(function() return story() == "a b" end)
  local now = op_of(op)
  t.eq(now.state, "running"); t.eq(now.step, "b"); t.eq(now.attempts, 1); t.eq(now.results.a, true)
  t.eq(now.input.colour, "red"); t.eq(now.by, "tester"); t.ok(now.deadline_at ~= json.null)
  until_(over(op), 1000)
  t.eq(op_of(op).state, "done")
  t.eq(story(), "a b b c")
  t.eq(notes(id), "a b c built")
  until_(idle(id))
  t.eq(store.lookup("work", "thing/" .. id), nil)
end)

t.test("a failed try is repeated with a growing pause, which the operation tells", function()
  local id = thing()
  script.a = { "unavailable", "unavailable", "unavailable" }
  local op = ask(id, "build")
  until_(function() return op_of(op).attempts == 2 end, 1)
  t.eq(op_of(op).last_error.message, "a said unavailable")
  t.ok(op_of(op).next_at ~= json.null)
  until_(over(op))
  t.eq(op_of(op).state, "done"); t.eq(op_of(op).next_at, json.null)
  t.eq(story(), "a a a a b c")
end)

t.test("pauses double up to a minute, with jitter, and are never shorter than was asked for", function()
  for n, most in pairs { [1] = 0.2, [2] = 0.4, [5] = 3.2, [9] = 51.2, [10] = 60, [1000] = 60 } do
    local low, high = math.huge, 0
    for _ = 1, 200 do
      local d = runner.delay(n, {})
      low, high = math.min(low, d), math.max(high, d)
    end
    t.ok(low >= most / 2 and high <= most and high > low * 1.2, ("%d: %g to %g"):format(n, low, high))
  end
  t.eq(runner.delay(1, { retry_after = 33 }), 33)
end)

t.test("a provider that names a time is not asked before it", function()
  local id = thing()
  script.a = { "busy" }
  local asked = time.now()
  local op = ask(id, "build")
  until_(over(op), 100)
  t.eq(op_of(op).state, "done")
  t.ok(time.now() - asked >= 7000, time.now() - asked)
end)

t.test("what fails for good is undone in reverse, the failed step's half effect first", function()
  local id = thing()
  script.b = { "invalid" }
  local op = ask(id, "build")
  until_(over(op))
  t.eq(story(), "a b -b -a")
  t.eq(op_of(op).state, "failed")
  t.eq(op_of(op).error.message, "b said invalid")
  t.eq(notes(id), "a -a undone invalid")
end)

t.test("an undoing that fails is tried again, and said when it cannot be", function()
  local id = thing()
  script.c, script["-b"] = { "invalid" }, { "unavailable" }
  local op = ask(id, "build")
  until_(over(op))
  t.eq(story(), "a b c -b -b -a")
  t.eq(notes(id), "a b -a undone invalid")
  id = thing()
  script.c, script["-b"] = { "invalid" }, { "denied" }
  op = ask(id, "build")
  until_(over(op))
  t.eq(op_of(op).state, "failed")
  t.eq(notes(id), "a b half invalid")
end)

t.test("a step that never succeeds ends at its deadline, not before and not much later", function()
  local id = thing()
  script.a = {}
  for i = 1, 100 do script.a[i] = "unavailable" end
  local begun = time.now()
  local op = ask(id, "build")
  until_(over(op), 1000)
  t.eq(op_of(op).state, "failed")
  local seconds = (time.now() - begun) / 1000
  t.ok(seconds > 500 and seconds < 660, seconds)
end)

t.test("a step that raises ends as failed, it does not stay", function()
  local id = thing()
  script.a = { "raise" }
  local op = ask(id, "build")
  until_(over(op))
  t.eq(op_of(op).state, "failed")
  t.eq(op_of(op).error.code, "internal")
end)

t.test("one at a time, in order", function()
  local id = thing()
  script.b = { "hang" }
  local first = ask(id, "build")
  local second, third = ask(id, "paint"), ask(id, "build")
  until_(function() return story() == "a b" end)
  t.eq(op_of(second).state, "queued"); t.eq(#store.get("thing", id).queue, 2)
  until_(over(third), 1000)
  -- the first one's try had failed and others waited: it gave way
  t.eq(op_of(first).state, "superseded"); t.eq(op_of(second).state, "done"); t.eq(op_of(third).state, "done")
  t.eq(story(), "a b p a b c")
  t.eq(notes(id), "a painted a b c built")
end)

t.test("one that overtakes ends the try that is under way, and what waits", function()
  local id = thing()
  script.b = { "hang" }
  local first = ask(id, "build")
  local second = ask(id, "paint")
  until_(function() return story() == "a b" end)
  local last = ask(id, "burn")
  runner.interrupt("thing", id)
  until_(over(last), 1)
  t.eq(op_of(first).state, "superseded"); t.eq(op_of(second).state, "superseded"); t.eq(op_of(last).state, "done")
  t.eq(story(), "a b x")
end)

local function cancel(id, op)
  local ok, err = store.update(function(tx)
    local rec = record.edit(tx:get("thing", id))
    local done, why = workflow.cancel(tx, rec, tx:get("operation", op))
    if not done then return nil, why end
    tx:put("thing", id, rec)
    return true
  end)
  runner.interrupt("thing", id)
  return ok, err
end

t.test("a cancelled operation is undone; one that waits is taken out; one that is over stays", function()
  local id = thing()
  script.b = { "hang" }
  local first, second = ask(id, "build"), ask(id, "paint")
  until_(function() return story() == "a b" end)
  t.ok(cancel(id, second))
  t.eq(op_of(second).state, "cancelled"); t.eq(#store.get("thing", id).queue, 0)
  t.ok(cancel(id, first))
  until_(over(first), 1)
  t.eq(op_of(first).state, "cancelled"); t.eq(story(), "a b -b -a"); t.eq(notes(id), "a -a undone cancelled")
  local ok, err = cancel(id, first)
  t.eq(ok, nil); t.eq(err.code, "state")
  local id2 = thing()
  script.x = { "hang" }
  local burning = ask(id2, "burn")
  until_(function() return story() == "x" end)
  ok, err = cancel(id2, burning)
  t.eq(ok, nil); t.match(err.message, "burn that runs cannot be cancelled")
  until_(over(burning), 1000)
end)

t.test("what a dead process left is gone on with, what a living one does is left alone", function()
  local id = thing()
  script.a = { "hang" }
  local op = ask(id, "build")
  until_(function() return story() == "a" end)
  local lock = assert(fs.lock(dir .. "/run/another"))
  -- as if another process had begun it: this one's runner finds a version that it does not know
  assert(store.update(function(tx)
    local o = tx:get("operation", op)
    o.runner, o.version = "another", o.version + 1
    tx:put("operation", op, o)
    return true
  end))
  until_(idle(id), 1000)
  runner.resume()
  until_(idle(id))
  t.eq(story(), "a"); t.eq(op_of(op).state, "running")
  lock:close()
  t.eq(runner.resume(), 1)
  until_(over(op))
  t.eq(op_of(op).state, "done"); t.eq(story(), "a a b c")
  t.eq(op_of(op).runner, workflow.me)
end)

t.test("time in which no process lived is not held against an operation, but not for ever", function()
  local steady = require "steady"
  local id = thing()
  script.a = { "hang" }
  local op = ask(id, "build")
  until_(function() return story() == "a" end)
  local function abandon(taken)
    assert(store.update(function(tx)
      local o = tx:get("operation", op)
      o.runner, o.version, o.deadline_at, o.taken = "dead", o.version + 1, steady.after(-86400), taken
      tx:put("operation", op, o)
      return true
    end))
  end
  abandon()
  until_(over(op), 1000)
  t.eq(op_of(op).state, "done"); t.eq(op_of(op).taken, 1)
  id = thing()
  script.a = { "hang" }
  op = ask(id, "build")
  until_(function() return story() == "a" end)
  abandon(5)
  until_(over(op), 1000)
  t.eq(op_of(op).state, "failed"); t.eq(op_of(op).error.code, "timeout")
end)

t.test("waiting for an operation ends with it, or with the time given", function()
  local id = thing()
  script.a = { "hang" }
  local op = ask(id, "build")
  local early, late
  task.spawn(function() early = runner.wait(op, 1) end)
  task.spawn(function() late = runner.wait(op, 600) end)
  until_(function() return early end, 100)
  t.eq(early.state, "running")
  until_(function() return late end, 1000)
  t.eq(late.state, "done")
  t.eq(select(2, runner.wait("00000000-0000-4000-8000-000000000000", 1)).code, "not_found")
end)

t.test("the wall clock may be set: deadlines do not move", function()
  local steady = require "steady"
  local left = steady.left(steady.after(600))
  t.ok(left > 599 and left <= 600, left)
end)

t.test("an error whose text is no UTF-8 is one of the step like any other: tried again, undone, told", function()
  local id = thing()
  script.b = { "cut", "garbled" }
  local op = ask(id, "build")
  until_(over(op), 100)
  t.eq(story(), "a b b -b -a")
  t.eq(op_of(op).error.code, "failed")
  t.eq(op_of(op).error.message, "said \239\191\189")
end)

t.test("time that runs out between two looks is no fault of who waits for the end of the work", function()
  local id = thing()
  script.a = { "hang" }
  local op = ask(id, "build")
  until_(function() return story() == "a" end)
  local mono, looks = time.mono, { 0, 0, 2 }
  time.mono = function() return table.remove(looks, 1) or mono() end -- luacheck: ignore
  local ended, ok, why = false, nil, nil
  task.spawn(function()
    ok, why = pcall(runner.finish, 0.001)
    ended = true
  end)
  until_(function() return ended end, 1)
  time.mono = mono -- luacheck: ignore
  t.ok(ok, why)
  until_(over(op), 1000)
end)

t.test("the log of all this holds", function() assert(store.verify()) end)

return t.done()
