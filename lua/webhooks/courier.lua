-- Brings what happens to those who want it. A webhook is a cursor into the log and nothing else: what is behind its cursor is
-- read, told and tried, one entry after the other, until there is no more; so nothing is queued for it, and nothing is lost
-- while this process is not there. Each has a task of its own only while it has something to do: one task follows the log for
-- all, and looks to whom a new entry belongs. Those that are level with the log cost a place in a table.
--
-- Within one webhook the order is that of the log: an entry that cannot be delivered holds up those behind it, until it is
-- delivered or the webhook is disabled. Others go on meanwhile.
--
--   courier.serve()     [serve's]      courier.behind() -> how many entries of the log it has not looked at yet
--   courier.figures() -> how many webhooks are how far, and what waits (backlog.lua) | nil     [yields]

local attempt = require "webhooks.attempt"
local backlog = require "webhooks.backlog"
local counted = require "webhooks.counted"
local filter = require "webhooks.filter"
local hooks = require "webhooks.hooks"
local json = require "json"
local log = require "log"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local task = require "task"

local M = {}

local PAGE, BYTES = 100, 1048576
local REMEMBER = 5000     -- entries that were not for it, until its cursor is written
local AGAIN = 5           -- seconds, when the store cannot be written or its owner is suspended

-- [id] = {id, owner, all, set (filter.lua), enabled, level = sequence up to which nothing is left, running, signal}
local all = {}
local of_owner, of_everybody = {}, {} -- [owner] = {[h] = true}, {[h] = true}
local seen                            -- the sequence that the follower has come to

local function belongs(h, is)
  local set = h.all and of_everybody or of_owner[h.owner]
  if not set then
    set = {}
    of_owner[h.owner] = set
  end
  set[h] = is
  if not h.all and not next(set) then of_owner[h.owner] = nil end
end

-- ---- one webhook

local function forget(h)
  belongs(h, nil)
  all[h.id] = nil
end

-- Its cursor, when it is to be written though nothing was delivered. -> true | nil, err
local function remember(id, epoch, cursor)
  return store.update(function(tx)
    local state = tx:get("webhook_state", id)
    if not state or state.epoch ~= epoch or state.cursor >= cursor then return true end
    state.cursor = cursor
    tx:put("webhook_state", id, state)
    return true
  end)
end

-- Tells one entry. -> true: go on | false: look at the webhook anew | nil: all ends
local function tell(h, hook, actor, e)
  local state = hooks.state(h.id)
  if state.epoch ~= h.epoch then return false end
  local done, err = attempt.event(hook, state, actor, e)
  if done ~= nil then return done end
  if err.code == "cancelled" then return nil end
  log.error("webhooks", "what was delivered cannot be noted; tried again", { webhook = h.id, error = tostring(err) })
  h.pause = AGAIN
  return false
end

-- -> true | false: look anew | nil: all ends
local function pass(h, cursor)
  local ok, err = remember(h.id, h.epoch, cursor)
  if ok then return true end
  h.pause = AGAIN
  if err.code == "cancelled" then return nil end
  return false
end

-- Walks the log from the cursor on. -> true when it is level | false: look anew | nil: all ends
local function walk(h, hook, cursor)
  local set, noted = filter.set(hook.events), cursor
  -- Asked behind what was read: the entry that suspends its owner is not told him any more.
  local function allowed()
    hook = hooks.get(h.id)
    return hook and hook.enabled and hook.version == h.version and filter.actor(hook)
  end
  while true do
    local entries = assert(store.log { after = cursor, limit = PAGE, bytes = BYTES })
    if #entries == 0 then
      h.level = cursor
      return true
    end
    local actor = allowed()
    if not actor then return false end
    for _, e in ipairs(entries) do
      if filter.told(set, actor, e) then
        local told = tell(h, hook, actor, e)
        if not told then return told end
        noted = e.seq
        actor = allowed()
        if not actor then return false end
      end
      cursor = e.seq
    end
    if cursor - noted > REMEMBER then
      local passed = pass(h, cursor)
      if not passed then return passed end
      noted = cursor
    end
    if not task.sleep(0) then return nil end
  end
end

-- -> seconds until it may be gone on with, or nil: now | false: it is not to be
local function waits(h, hook, state)
  if not hook or not hook.enabled then return false end
  local pause = h.pause
  h.pause = nil
  if pause then return pause end
  if not filter.actor(hook) then return 60 end
  local left = state.next_at and steady.left(state.next_at) or 0
  return left > 0 and left or nil
end

-- -> true: it is level
local function run(h)
  while true do
    h.again = false
    local hook, state = hooks.get(h.id), hooks.state(h.id)
    local wait = waits(h, hook, state)
    if not hook then return forget(h) end
    if wait == false then return end
    h.epoch, h.version = state.epoch, hook.version
    local from = state.cursor
    if h.level and h.level > from and h.level_epoch == state.epoch then from = h.level end
    if wait then
      local ok, err = h.signal:wait(math.min(wait, 3600)) -- a pause may be longer than any wait
      if not ok and err.code ~= "timeout" then return end
    else
      local level = walk(h, hook, from)
      if level then h.level_epoch = h.epoch end
      if level == nil or level and not h.again then return level end
    end
  end
end

local function start(h)
  if h.running then
    h.again = true -- it may have looked already, and not be waiting: it looks once more
    return h.signal:fire()
  end
  h.running = true
  task.spawn(function()
    local ok, level = xpcall(run, debug.traceback, h)
    h.running = false
    if not ok or not level then h.level_epoch = nil end -- it is behind, and what the follower passes is not told yet
    if ok then return end
    log.error("webhooks", "a webhook's task raised; it goes on later", { webhook = h.id, traceback = level })
    if task.sleep(60) and all[h.id] == h then start(h) end
  end)
end

-- One was made, changed or removed, or is met for the first time.
local function look(id)
  local h, hook = all[id], hooks.get(id)
  if h then belongs(h, nil) end
  if not hook then return h and (h.running and h.signal:fire() or forget(h)) end
  if not h then
    h = { id = id, signal = task.signal() }
    all[id] = h
  end
  h.owner, h.all, h.set, h.enabled = hook.user or "operator", hook.all, filter.set(hook.events), hook.enabled
  if not hook.enabled then return h.running and h.signal:fire() end
  belongs(h, true)
  start(h)
end

-- ---- the log, for all of them

local function wake(set, e)
  for h in pairs(set or {}) do
    if not h.running and filter.matches(h.set, e) then
      h.level = e.seq - 1 -- what the follower passed meanwhile was not for it
      start(h)
    end
  end
end

-- What the log says of webhooks themselves, whichever process has written it.
local function heed(e)
  if e.kind == "user" and e.type == "resumed" then
    for h in pairs(of_owner[e.id] or {}) do h.signal:fire() end
  elseif e.kind == "webhook" or e.kind == "user" and e.type:match("^webhook_") then
    local data = not e.trimmed and json.decode(e.data)
    if data and data.webhook then look(data.webhook) end
  end
end

-- Now and then the cursors of those that are level are written, so that a restart has little to read again.
local function remember_level(upto)
  for id, h in pairs(all) do
    if not h.running and h.level and h.level_epoch then
      h.level = math.max(h.level, upto)
      if not remember(id, h.level_epoch, h.level) then return end
    end
  end
end

-- Reads what is behind `seen`. -> false: all ends
local function catch_up()
  local pause = slices.new()
  while true do
    local entries = assert(store.log { after = seen, limit = PAGE, bytes = BYTES })
    if #entries == 0 then return true end
    for _, e in ipairs(entries) do
      seen = e.seq
      if next(all) then
        local _, owner = store.raw(e.kind, e.id)
        wake(owner and of_owner[owner], e)
        wake(of_everybody, e)
      end
      heed(e)
      if not pause() then return false end
    end
  end
end

local function follow()
  local written = seen
  repeat
    local more, err = store.wait(seen, 3600)
    if err and err.code ~= "timeout" then return end
    if more and not catch_up() then return end
    if seen - written > REMEMBER then
      remember_level(seen)
      written = seen
    end
  until false
end

function hooks.level(id, epoch)
  local h = all[id]
  if h and not h.running and h.level and h.level_epoch == epoch then return math.max(h.level, seen) end
end

function M.figures()
  return backlog.count(all, function(owner) return owner and of_owner[owner], of_everybody end)
end

-- How many entries of the log it has not looked at yet.
function M.behind() return seen and store.stats().log_seq - seen or 0 end

function M.serve()
  counted.begin()
  seen = store.stats().log_seq
  local after
  repeat
    local page = assert(store.list("webhook", { after = after, limit = 200 }))
    for _, row in ipairs(page) do
      after = row.id
      look(row.id)
    end
  until #page < 200
  task.spawn(function()
    repeat
      local ok, why = xpcall(follow, debug.traceback)
      if ok then return end
      log.error("webhooks", "following the log raised; it goes on later", { traceback = why })
    until not task.sleep(AGAIN)
  end)
end

return M
