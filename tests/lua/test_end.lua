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
