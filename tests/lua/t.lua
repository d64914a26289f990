-- A small test harness: TAP on stdout; every test ends by proving that no task of its own is left.
local fs = require "fs"
local json = require "json"
local sys = require "sys"
local task = require "task"

local M = {}
local count, failed, dirs = 0, 0, {}

local function show(v)
  if type(v) == "table" then
    local ok, text = pcall(json.encode, v)
    if ok then return text end
  end
  return type(v) == "string" and ("%q"):format(v) or tostring(v)
end

function M.eq(got, want, what)
  if got ~= want then error((what and what .. ": " or "") .. "got " .. show(got) .. ", want " .. show(want), 2) end
end

function M.ok(v, what) if not v then error((what or "not true") .. ": " .. show(v), 2) end end

function M.match(text, pattern)
  if type(text) ~= "string" or not text:match(pattern) then
    error("got " .. show(text) .. ", want a match of " .. show(pattern), 2)
  end
end

function M.raises(fn, pattern)
  local ok, why = pcall(fn)
  if ok then error("did not raise", 2) end
  M.match(tostring(why), pattern)
end

-- What is done between two looks at a condition; a test on virtual time puts its own here.
function M.turn() task.sleep(0.001) end

-- Waits for a condition, five seconds at most.
function M.wait_until(fn, what)
  for _ = 1, 5000 do
    if fn() then return end
    M.turn()
  end
  error("in vain: " .. (what or "a condition"), 2)
end

-- A folder that is removed at the end.
function M.tmpdir()
  local r = assert(sys.run { "mktemp", "-d" })
  local dir = r.stdout:gsub("%s+$", "")
  dirs[#dirs + 1] = dir
  return dir
end

function M.test(name, fn)
  count = count + 1
  local before = task.count()
  local ok, why = xpcall(fn, function(e) return debug.traceback(tostring(e), 2) end)
  if ok then
    ok, why = pcall(M.wait_until, function() return task.count() <= before end, "tasks to end")
  end
  if not ok then failed = failed + 1 end
  sys.stdout(("%s %d - %s\n"):format(ok and "ok" or "not ok", count, name))
  if not ok then sys.stdout("# " .. tostring(why):gsub("\n", "\n# ") .. "\n") end
end

function M.skip(name, why)
  count = count + 1
  sys.stdout(("ok %d - %s # SKIP %s\n"):format(count, name, why))
end

-- Ends the file: the plan, and the exit code.
function M.done()
  for _, dir in ipairs(dirs) do sys.run { "rm", "-rf", dir } end
  sys.stdout(("1..%d\n"):format(count))
  return failed == 0 and 0 or 1
end

M.fs = fs
return M
