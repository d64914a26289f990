-- Things that are decided when their time has come: machines whose hours end, accounts whose credit does. The clock is that of
-- deadlines: a wall clock that is set ends nothing.
--
--   d = due.new(module, decide)      decide(key) -> unix ms of the next decision or nil: none any more; act, or nil
--       decide may pause as slices.lua has it, and waits for nothing else: it is asked one after the other.
--       act() -> true | nil, err     carries out what was decided, in a task of its own [yields]; no other decision about `key`
--       is made meanwhile. What fails, and what raises, is told, and decided again 30 seconds later
--   d:soon(key)                      something about it has changed: decided at once, also when it is being decided
--   d:later(key, ms)                 it is decided then
--   d:forget(key)     d:anew()       all that are known are decided at once
--   d:serve()                        [serve's] looks five times a second

local log = require "log"
local slices = require "slices"
local steady = require "steady"
local task = require "task"

local M = {}

local LOOK_SECONDS, AGAIN = 0.2, 30000
local DECIDING = math.huge

local Due = {}
Due.__index = Due

function M.new(module, decide)
  return setmetatable({ module = module, decide = decide, at = {}, busy = {} }, Due)
end

function Due:soon(key) self.at[key] = 0 end
function Due:later(key, ms) self.at[key] = steady.now() + ms end
function Due:forget(key) self.at[key] = nil end

function Due:anew()
  for key in pairs(self.at) do self.at[key] = 0 end
end

local function again(self, key, what, err)
  log.warn(self.module, what .. "; tried again", { about = key, error = tostring(err) })
  self.at[key] = math.min(self.at[key] or math.huge, steady.now() + AGAIN)
end

local function carry_out(self, key, act)
  self.busy[key] = true
  task.spawn(function()
    local ok, done, err = xpcall(act, debug.traceback)
    self.busy[key] = nil
    if not ok or done == nil then again(self, key, "a verdict was not carried out", ok and err or done) end
  end)
end

local function decide(self, key)
  self.at[key] = DECIDING
  local ok, at, act = xpcall(self.decide, debug.traceback, key)
  if not ok then
    if self.at[key] == DECIDING then self.at[key] = nil end
    return again(self, key, "a decision raised", at)
  end
  if self.at[key] == DECIDING then self.at[key] = at end -- else it changed meanwhile
  if act then carry_out(self, key, act) end
end

function Due:look()
  local now, ripe, pause = steady.now(), {}, slices.new()
  for key, at in pairs(self.at) do
    if at <= now and not self.busy[key] then ripe[#ripe + 1] = key end
  end
  for _, key in ipairs(ripe) do
    if self.at[key] then decide(self, key) end
    if not pause() then return end
  end
end

function Due:serve()
  task.spawn(function()
    repeat
      local ok, why = xpcall(self.look, debug.traceback, self)
      if not ok then log.error(self.module, "looking for what is due raised", { traceback = why }) end
    until not task.sleep(LOOK_SECONDS)
  end)
end

return M
