-- The old process's side of an upgrade, with a script in the place of the new one.
local fs = require "fs"
local json = require "json"
local runner = require "runner"
local store = require "store"
local t = require "t"
local task = require "task"
local upgrade = require "upgrade"

local dir = t.tmpdir()
local settings = { DATA_DIR = dir, UPGRADE_SECONDS = 10, DRAIN_SECONDS = 1 }

assert(runner.setup(dir))
assert(store.open { dir = dir .. "/store", serve = true })

-- Wishes for a program that does what the lines say. -> what lets go of the wish
local function wish(lines)
  local script = dir .. "/new"
  assert(fs.write(script, "#!/bin/sh\n" .. lines, { mode = tonumber("700", 8) }))
  local lock = assert(fs.lock(dir .. "/upgrade.lock"))
  assert(fs.write(dir .. "/upgrade.json", json.encode { id = "w", program = script }))
  return lock
end

local SERVES = [[
say() { printf '{"at":"%s","pid":%d,"token":"x","version":"0"}\n' "$1" $$; }
say prepared; read word; say ready
while read word; do :; done
]]

t.test("one that is told to end before there is a new process begins none", function()
  local lock, started = wish(SERVES), false
  local it = { settings = settings, server = {
    copy_fds = function() started = true; return {} end, leave_files = function() end, drain = function() return true end,
  } }
  upgrade.stop(it) -- as the signal does while the beginning is being recorded
  local state = upgrade.run(it)
  lock:close()
  t.eq(state, "abandoned")
  t.eq(started, false)
  t.match(upgrade.state().error, "told to end")
end)

t.test("a fault while we let go does not end the new process, which serves", function()
  local lock = wish(SERVES .. ("echo > %s/lived\n"):format(dir))
  local it = { settings = settings, server = {
    copy_fds = function() return {} end, leave_files = function() error "a fault" end,
  } }
  t.eq(upgrade.run(it), "done")
  it = nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  t.wait_until(function() return fs.stat(dir .. "/lived") end, "it goes on when we are gone")
  task.release()
  lock:close()
end)

store.close()
return t.done()
