-- What test_stall.lua runs and whose log it reads: ... is how to hold up the loop.
local metrics = require "metrics"
local task = require "task"
local time = require "time"

local how = ...
metrics.watch_loop()
task.sleep(0.01)

local held = {}

-- Compiled: a loop that LuaJIT makes a trace of, then a call.
function held.compiled_culprit()
  local ends, n = time.mono() + 300, 0
  repeat
    for i = 1, 1000000 do n = n + i % 7 end
  until time.mono() > ends
  return n
end

-- In C, which returns to who called it.
function held.calling_culprit()
  local text = ("x"):rep(200)
  local ends = time.mono() + 300
  repeat text:find(".-.-y") until time.mono() > ends
end

-- One call of C that is the whole stall.
function held.blocking_culprit()
  held.done = ("x"):rep(800):find(".-.-y")
end

function held.none() end

held[how]()
task.sleep(0.01)
local stalls = metrics.text(true):match("\ncchost_loop_stalls_total (%d+)")
print("stalls " .. stalls)
