-- Jobs: on a clock that stands still until moved, and two processes that want the same.
local time = require "time"
local NOW = 1700000000 -- Tuesday 14 November 2023, 22:13:20 UTC
time.virtual(NOW * 1000)

local t = require "t"
local calendar = require "schedule.calendar"
local claims = require "schedule.claims"
local fs = require "fs"
local jobs = require "schedule.jobs"
local json = require "json"
local log = require "log"
local runner = require "runner"
local store = require "store"
local sys = require "sys"
local task = require "task"

local dir = t.tmpdir()
assert(store.open { dir = dir, serve = true })
assert(runner.setup(dir))
log.setup { level = "error" }

-- Time moves on only when nothing is left to do but wait for it: commits take real time, and no virtual.
local step_ms = 1000
function t.turn()
  local quiet = 0
  while quiet < 3 do
    assert(fs.stat("/"))
    quiet = store.stats().pending == 0 and quiet + 1 or 0
  end
  time.advance(step_ms)
end
local function now() return math.floor(time.now() / 1000) end
local function pass(seconds)
  local ends = time.now() + seconds * 1000
  while time.now() < ends do
    step_ms = math.min(1000, ends - time.now())
    t.turn()
  end
  step_ms = 0
  for _ = 1, 3 do t.turn() end
  step_ms = 1000
end

-- A jump of the clock: an outage, or a host that slept.
local function jump(seconds) time.advance(seconds * 1000) end

local function every(seconds) return assert(calendar.parse { every = seconds }) end

-- A job that notes when it ran, and then does what `act` says.
local function noted(name, rule, act, fields)
  local runs = {}
  local job = { name = name, rule = rule, run = function(due)
    runs[#runs + 1] = due
    if act then return act(due) end
  end }
  for k, v in pairs(fields or {}) do job[k] = v end
  return job, runs
end

-- Runs the loop while fn does.
local function with(list, fn)
  local h = task.spawn(function() return jobs.run(list) end)
  local ok, why = xpcall(fn, debug.traceback)
  jobs.stop()
  t.wait_until(function() return h:done() end, "the loop to end")
  if not ok then error(why, 0) end
  local finished = task.spawn(jobs.finish, 3600)
  t.wait_until(function() return finished:done() end, "the runs to end")
end

local function rec(name) return store.get("job", name) end
local function shown(name)
  for _, row in ipairs(jobs.list()) do
    if row.name == name then return row end
  end
end

-- The due times that a rule of so many seconds has had since `from`.
local function dues(seconds, from, to)
  local out = {}
  for due = (math.floor(from / seconds) + 1) * seconds, to, seconds do out[#out + 1] = due end
  return table.concat(out, " ")
end

t.test("a job runs at each of its times, and its record says so", function()
  local from = now()
  local job, runs = noted("plain", every(60))
  with({ job }, function()
    pass(1)
    t.eq(shown("plain").next, (math.floor(from / 60) + 1) * 60)
    t.eq(shown("plain").runs, 0)
    pass(300)
    t.eq(table.concat(runs, " "), dues(60, from, now()))
    local r = rec("plain")
    t.eq(r.last, runs[#runs]); t.eq(r.runs, #runs); t.eq(r.ok, true); t.eq(r.error, json.null); t.eq(r.skipped, 0)
    t.eq(r.started_at, time.rfc3339(r.last * 1000)); t.eq(r.ended_at, r.started_at); t.eq(r.id, "plain")
    local row = shown("plain")
    t.eq(row.last, r.last); t.eq(row.running, nil); t.eq(row.rule, "every 60 s"); t.eq(row.next, r.last + 60)
  end)
  t.eq(#store.history("job", "plain", {}), 0)
end)

t.test("a rule of the calendar that is never due again harms nobody", function()
  local never, none = noted("never", assert(calendar.parse { at = "0 0 30 2 *" }))
  local job, runs = noted("beside", every(10))
  with({ never, job }, function()
    pass(30)
    t.eq(#none, 0); t.eq(#runs, 3); t.eq(shown("never").next, nil)
  end)
end)

t.test("failures are recorded, end nothing, and leave one entry in the log each time they begin and end", function()
  local acts = {
    function() return nil, "it is closed" end,
    function() error("a fault") end,
    function() error({ code = "odd" }) end,
    function() return false, task.error { code = "unavailable", message = "nobody there" } end,
    function() return nil end,
    function() return true end,
  }
  local n, seen = 0, {}
  local job = noted("bad", every(10), function()
    n = n + 1
    return acts[n]()
  end)
  log.setup { level = "error" }
  with({ job }, function()
    for i = 1, #acts do
      t.wait_until(function() return rec("bad") and rec("bad").runs == i and rec("bad").ended_at ~= json.null end)
      seen[i] = rec("bad").ok and "ok" or rec("bad").error
    end
  end)
  t.eq(seen[1], "it is closed")
  t.match(seen[2], "^internal: it raised: .*a fault$"); t.match(seen[3], "^internal: it raised: table")
  t.eq(seen[4], "unavailable: nobody there"); t.eq(seen[5], "ok"); t.eq(seen[6], "ok")
  local types = {}
  for _, e in ipairs(store.history("job", "bad", {})) do table.insert(types, 1, e.type) end
  t.eq(table.concat(types, " "), "failed recovered")
end)

t.test("a job that still runs is not started again: it is counted", function()
  local job, runs = noted("slow", every(10), function()
    task.sleep(35)
    return true
  end)
  local quick, others = noted("quick", every(10))
  with({ job, quick }, function()
    t.wait_until(function() return #runs == 1 end)
    pass(32)
    t.eq(#runs, 1); t.eq(shown("slow").running, runs[1]); t.eq(shown("slow").skipped, 3); t.ok(#others >= 3)
    t.wait_until(function() return #runs == 2 end)
    t.eq(runs[2] - runs[1], 40)
    t.eq(rec("slow").skipped, 3)
  end)
  t.eq(rec("slow").runs, 2); t.ok(rec("slow").ended_at ~= json.null)
end)

t.test("a run over its deadline is cancelled, however often it goes on, and has failed", function()
  local waits = 0
  local job, runs = noted("stubborn", every(100), function()
    for _ = 1, 4 do
      local _, err = task.sleep(1000)
      if err then waits = waits + 1 end
    end
    return true
  end, { deadline = 20 })
  with({ job }, function()
    t.wait_until(function() return #runs == 1 end)
    pass(18)
    t.eq(waits, 0)
    pass(8)
    t.eq(waits, 4)
    t.eq(rec("stubborn").ok, false); t.match(rec("stubborn").error, "^timeout: it was over its deadline of 20 s")
    t.wait_until(function() return #runs == 2 end)
  end)
  t.eq(jobs.DEADLINE, 3600)
end)

t.test("after an outage one run makes up for all that was missed; or none does", function()
  local a, once = noted("once", every(600))
  local b, skip = noted("skip", every(600), nil, { missed = "skip" })
  with({ a, b }, function() t.wait_until(function() return #once == 1 and #skip == 1 end) end)
  jump(5 * 600 + 100)
  local from = now()
  with({ a, b }, function()
    pass(5)
    t.eq(#once, 2); t.eq(once[2], math.floor(from / 600) * 600); t.eq(#skip, 1)
    t.wait_until(function() return #once == 3 and #skip == 2 end)
    t.eq(once[3], once[2] + 600); t.eq(skip[2], once[3])
  end)
end)

t.test("a host that slept makes up in the same way, and a jump back repeats nothing", function()
  local a, once = noted("slept", every(600))
  local b, skip = noted("slept_skip", every(600), nil, { missed = "skip" })
  with({ a, b }, function()
    t.wait_until(function() return #once == 1 and #skip == 1 end)
    jump(3 * 600 + 90)
    pass(2)
    t.eq(#once, 2); t.eq(once[2], once[1] + 1800); t.eq(#skip, 1)
    pass(600)
    t.eq(#once, 3); t.eq(#skip, 2)
  end)
  local clock = 0
  local c, runs = noted("back", every(60))
  local h = task.spawn(function() return jobs.run({ c }, function() return time.now() / 1000 + clock end) end)
  t.wait_until(function() return #runs == 2 end)
  clock = -300
  pass(280)
  t.eq(#runs, 2)
  t.wait_until(function() return #runs == 3 end)
  t.eq(runs[3] - runs[2], 60)
  jobs.stop()
  t.wait_until(function() return h:done() end)
end)

t.test("a job that is new, or has a new rule, has missed nothing", function()
  local a, runs = noted("edited", every(600))
  with({ a }, function() t.wait_until(function() return #runs == 1 end) end)
  jump(10000)
  local b, after = noted("edited", every(500))
  local c, new = noted("brand_new", every(500))
  local from = now()
  with({ b, c }, function()
    pass(1)
    t.eq(#after, 0); t.eq(#new, 0)
    t.wait_until(function() return #after == 1 and #new == 1 end)
    t.eq(after[1], (math.floor(from / 500) + 1) * 500); t.eq(new[1], after[1])
  end)
end)

t.test("what a clock that was wrong has claimed does not stop a job until then", function()
  local a, runs = noted("future", every(60))
  with({ a }, function() t.wait_until(function() return #runs == 1 end) end)
  local ahead = now() + 10 * 86400
  t.eq(jobs.claim("future", ahead), true)
  t.eq(jobs.claim("future", ahead), false)
  t.eq(jobs.claim("future", ahead - 60), false)
  with({ a }, function() t.wait_until(function() return #runs == 3 end) end)
  t.eq(rec("future").last, runs[3])
end)

t.test("a list that is replaced: running jobs end by what they were, nothing runs twice, the rest at once", function()
  local old_ended = 0
  local a, old = noted("kept", every(60), function()
    task.sleep(150)
    old_ended = old_ended + 1
    return true
  end)
  local gone, gone_runs = noted("gone", every(60))
  local b, new = noted("kept", every(60))
  local added, added_runs = noted("added", every(60))
  with({ a, gone }, function()
    t.wait_until(function() return #old == 1 and #gone_runs == 1 end)
    jobs.replace { b, added }
    local at = now()
    pass(130)
    t.eq(#gone_runs, 1); t.eq(#new, 0); t.eq(#old, 1); t.eq(old_ended, 0)
    t.eq(table.concat(added_runs, " "), dues(60, at, now()))
    t.eq(#jobs.list(), 2); t.eq(shown("kept").skipped, 2)
    t.wait_until(function() return #new == 1 end)
    t.eq(old_ended, 1); t.eq(new[1], old[1] + 180); t.eq(rec("kept").ok, true)
    jobs.replace {}
    pass(120)
    t.eq(#jobs.list(), 0); t.eq(#new, 1)
  end)
end)

t.test("replaced a hundred times, each time at a moment of its own, every time is run, and once", function()
  local runs, from = {}, now()
  local function list()
    return { { name = "often", rule = every(7), run = function(due)
      runs[#runs + 1] = due
      return true
    end } }
  end
  with(list(), function()
    for i = 1, 100 do
      jobs.replace(list())
      if i % 3 == 0 then jobs.replace(list()) end
      step_ms = (i * 137) % 2500
      t.turn()
    end
    step_ms = 1000
    pass(8)
    t.eq(table.concat(runs, " "), dues(7, from, now()))
  end)
end)

t.test("a loop that is cancelled ends, and runs that were cut off are not repeated", function()
  local a, runs = noted("cut", every(60), function()
    task.sleep(100)
    return true
  end)
  local h = task.spawn(function() return jobs.run { a } end)
  t.wait_until(function() return #runs == 1 end)
  h:cancel("enough")
  t.wait_until(function() return h:done() end)
  local ok, err = h:join()
  t.eq(ok, nil); t.eq(err.code, "cancelled")
  -- as if this process had died in it: another token, which nobody holds
  local due = runs[1]
  pass(101)
  assert(store.update(function(tx)
    local r = tx:get("job", "cut")
    r.ended_at, r.runner = json.null, "0123456789abcdef"
    r.deadline_at = time.rfc3339(time.now() + 3600000)
    tx:put("job", "cut", r)
  end))
  with({ a }, function()
    t.wait_until(function() return #runs == 2 end)
    t.ok(runs[2] > due)
  end)
end)

t.test("a job that runs in another process is not started here; when that is over its deadline, it is", function()
  local lock = assert(fs.lock(dir .. "/run/feedfeedfeedfeed")) -- a process that lives
  local a, runs = noted("elsewhere", every(60))
  with({ a }, function() t.wait_until(function() return #runs == 1 end) end)
  assert(store.update(function(tx)
    local r = tx:get("job", "elsewhere")
    r.ended_at, r.runner, r.deadline_at = json.null, "feedfeedfeedfeed", time.rfc3339(time.now() + 200000)
    tx:put("job", "elsewhere", r)
  end))
  with({ a }, function()
    pass(180)
    t.eq(#runs, 1); t.eq(shown("elsewhere").skipped, 3)
    t.wait_until(function() return #runs == 2 end)
  end)
  lock:close()
end)

-- The first `n` calls of a function of claims fail, as on a full disk.
local function failing(name, n, fn)
  local real = claims[name]
  claims[name] = function(...)
    n = n - 1
    if n >= 0 then return nil, task.error { code = "full", message = "no space left" } end
    return real(...)
  end
  local ok, why = pcall(fn)
  claims[name] = real
  if not ok then error(why, 0) end
  t.ok(n < 0)
end

t.test("a store that cannot be written holds jobs up and loses none", function()
  log.setup { level = "error" }
  for name, most in pairs { register = 3, claim = 3, settle = 3 } do
    local a, runs = noted("full_" .. name, every(60))
    failing(name, most, function()
      with({ a }, function()
        t.wait_until(function() return #runs == 2 and rec("full_" .. name).runs == 2 end)
        t.wait_until(function() return rec("full_" .. name).ended_at ~= json.null end)
        t.eq(rec("full_" .. name).ok, true); t.eq(runs[2] - runs[1], 60)
      end)
    end)
  end
end)

t.test("lists that are none are refused by name", function()
  local rule, run = every(60), function() end
  for want, list in pairs {
    ["job 1: name"] = { { rule = rule, run = run } }, ["job 1 %(a b%): name"] = { { name = "a b", rule = rule, run = run } },
    ["job 1 %(a%): rule"] = { { name = "a", rule = { every = 5 }, run = run } },
    ["job 1 %(a%): run"] = { { name = "a", rule = rule } },
    ["job 2 %(a%): its name is that of job 1"] = {
      { name = "a", rule = rule, run = run }, { name = "a", rule = rule, run = run },
    },
    ["missed: \"once\" or \"skip\""] = { { name = "a", rule = rule, run = run, missed = "twice" } },
    ["deadline: 1 to 604800"] = { { name = "a", rule = rule, run = run, deadline = 0 } }, ["a table is expected"] = { 5 },
  } do
    local ok, err = jobs.check(list)
    t.eq(ok, nil); t.match(err.message, want)
    t.raises(function() jobs.replace(list) end, want)
    t.raises(function() jobs.run(list) end, want)
  end
  t.raises(function() jobs.run(5) end, "a list of jobs")
  t.eq(jobs.check { { name = "a", rule = rule, run = run, missed = "skip", deadline = 5 } }, true)
end)

-- ---- two processes

local preamble = [[
local fs, jobs, store, sys, task = require "fs", require "schedule.jobs", require "store", require "sys", require "task"
local dir, me = ...
assert(store.open { dir = dir })
assert(require("runner").setup(dir))
assert(fs.write(dir .. "/ready" .. me, ""))
while not fs.stat(dir .. "/go") do task.sleep(0.001) end
]]

local racer = preamble .. [[
for due = 1, 100 do
  local mine = jobs.claim("race", due)
  assert(mine ~= nil)
  if mine then sys.stdout(due .. "\n") end
end
return 0
]]

-- Runs every due time of a minute's job for 200 minutes, on a clock of its own that both begin alike, and that goes ahead of the
-- other's by half an hour at most: two clocks that are an hour apart are ones of which one is wrong.
local sharer = preamble .. [[
local time = require "time"
time.virtual(1700000000000)
local rule = assert(require("schedule.calendar").parse { every = 60 })
task.spawn(function() jobs.run { { name = "shared", rule = rule, run = function(due)
  sys.stdout(due .. "\n")
  fs.stat("/")
  return true
end } } end)
local function at(who) return tonumber(fs.read(dir .. "/at" .. who) or "") or 0 end
for n = 1, 200 * 6 do
  if n % 60 == 0 then
    assert(fs.write(dir .. "/at" .. me, tostring(n)))
    while at(3 - me) < n - 120 do assert(fs.stat("/")) end
  end
  local quiet = 0
  while quiet < 3 do
    assert(fs.stat("/"))
    quiet = store.stats().pending == 0 and quiet + 1 or 0
  end
  time.advance(10000)
end
return 0
]]

local binary = assert(sys.env "CCHOST", "tests/run sets CCHOST")

-- Runs the program twice at once. -> {[line of output] = which printed it}; none is printed twice
local function both(program)
  local file, answers = dir .. "/program.lua", {}
  assert(fs.write(file, program))
  for _, name in ipairs { "/go", "/ready1", "/ready2", "/at1", "/at2" } do fs.remove(dir .. name) end
  for i = 1, 2 do
    task.spawn(function() answers[i] = assert(sys.run { binary, file, dir, tostring(i), timeout = 60 }) end)
  end
  for i = 1, 2 do
    while not fs.stat(dir .. "/ready" .. i) and not answers[i] do assert(fs.stat("/")) end
  end
  assert(fs.write(dir .. "/go", ""))
  while not (answers[1] and answers[2]) do assert(fs.stat("/")) end
  local winners = {}
  for i = 1, 2 do
    t.eq(answers[i].exit, 0, answers[i].stderr)
    for line in answers[i].stdout:gmatch("%d+") do
      t.eq(winners[line], nil, line)
      winners[line] = i
    end
  end
  return winners
end

t.test("of two processes that claim a hundred times exactly one gets each", function()
  local winners = both(racer)
  for due = 1, 100 do t.ok(winners[tostring(due)], due) end
  t.eq(rec("race").runs, 100); t.eq(rec("race").last, 100)
end)

t.test("two processes with the same job run no time twice", function()
  local n = 0
  for _ in pairs(both(sharer)) do n = n + 1 end
  t.ok(n >= 2 and n <= 200, n) -- how many depends on who was ahead, and skipped what the other still ran
  t.eq(rec("shared").runs, n)
end)

-- Bug: the text of a failure was cut within a character, which no record takes: the run was never recorded as ended.
t.test("a long failure is kept in whole characters", function()
  assert(claims.register({ { name = "wordy", rule = { text = "@hourly" } } }, NOW))
  for n, text in ipairs { "a" .. ("\195\164"):rep(400), "b\195" } do
    t.eq(claims.claim("wordy", NOW + n), true)
    assert(claims.settle("wordy", NOW + n, text, 0))
    t.eq(rec("wordy").ok, false)
    t.ok(#rec("wordy").error <= 500, rec("wordy").error)
  end
end)

t.test("jobs that cannot be begun with are tried again", function()
  local own, policy = require "policy.own_jobs", require "policy"
  local live, list, tries = policy.live, own.list, 0
  local job, runs = noted("later", every(60))
  policy.live = function() return {} end
  own.list = function()
    tries = tries + 1
    if tries == 1 then return nil, require("errors").new("io", "a zone cannot be read") end
    return { job }
  end
  log.setup { level = "off" }
  own.serve()
  pass(120)
  policy.live, own.list = live, list
  jobs.stop()
  t.eq(tries, 2)
  t.ok(#runs >= 1, "it runs")
end)

return t.done()
