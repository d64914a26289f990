-- The end of a program whose tasks do not want to end.
local t = require "t"
local sys = require "sys"

local function run(source)
  local dir = t.tmpdir()
  assert(t.fs.write(dir .. "/x.lua", source))
  return sys.run { assert(sys.env("CCHOST")), dir .. "/x.lua", timeout = 60 }
end

-- Bug: the sleep of a task that ignored every cancel was left running and woke a task that was freed.
t.test("a task that ignores its cancel is dropped with its wait", function()
  local r = run [[
    local task = require "task"
    task.spawn(function() while true do task.sleep(0.001) end end)
    task.sleep(0.01)
    return 7
  ]]
  t.match(r.stderr, "would not end")
  t.eq(r.exit, 7)
end)

-- A collector that runs a whole cycle at every allocation.
local eager = "collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000000)\n"

-- Bug: what a task left behind was stored while its handle was being collected, and the process died.
t.test("a task's handle may be collected while its end is noted", function()
  local r = run(eager .. [[
    local task = require "task"
    for _ = 1, 300 do
      local own -- the task alone holds its handle, to its last instruction
      own = task.spawn(function() task.sleep(0) return own and 1 end)
    end
    task.sleep(0.01)
    return 7
  ]])
  t.eq(r.stderr, "") -- the sanitizer tells here what a release build may survive
  t.eq(r.exit, 7)
end)

-- Bug: a handle that only the joining call knew was collected, and the joiner waited for ever.
t.test("a task is joined also when nothing else holds its handle", function()
  local r = run(eager .. [[
    local task = require "task"
    for i = 1, 50 do
      local got = task.spawn(function() task.sleep(0.001) collectgarbage() task.sleep(0.001) return i end):join()
      assert(got == i)
    end
    local none, err = task.spawn(function() task.sleep(0.001) collectgarbage() task.sleep(0) error("boom") end):join()
    assert(none == nil and err.traceback:match("boom"))
    return 7
  ]])
  t.eq(r.stderr, "")
  t.eq(r.exit, 7)
end)

-- Bug: a task dropped at the end told its joiner, which was then queued behind one that was freed.
t.test("dropped tasks that wait for each other are all dropped", function()
  local r = run [[
    local task = require "task"
    local function stay() while true do task.sleep(0.001) end end
    for _ = 1, 20 do
      local one = task.spawn(stay)
      task.spawn(function() while true do one:join() task.sleep(0) end end)
    end
    task.sleep(0.01)
    return 7
  ]]
  t.match(r.stderr, "would not end")
  t.eq(r.exit, 7)
end)

-- Bug: a task that raised and that nobody joined was silent.
t.test("a failure that nobody joins is logged", function()
  local r = run [[
    local task = require "task"
    task.spawn(function() task.sleep(0.001) error("boom") end)
    task.sleep(0.02)
  ]]
  t.match(r.stderr, "boom")
  t.eq(r.exit, 0)
end)

t.test("tasks that wait at the end are cancelled, and say nothing", function()
  local r = run [[
    local task, sys = require "task", require "sys"
    for _ = 1, 100 do task.spawn(function() task.sleep(1000) end) end
    task.spawn(function() sys.run { "sleep", "1000" } end)
    local s = task.signal()
    task.spawn(function() s:wait(1000) end)
    task.sleep(0.01)
  ]]
  t.eq(r.stderr, "")
  t.eq(r.exit, 0)
end)

t.test("a program that waits for nothing is told so", function()
  local r = run [[coroutine.yield()]]
  t.eq(r.exit, 1)
  t.match(r.stderr, "coroutine.yield")
end)

return t.done()
