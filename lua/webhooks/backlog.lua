-- What waits to be told to webhooks: counted when somebody asks, as no list of it is kept (courier.lua).
--
--   backlog.count(all, belonging) -> figures | nil: this task ends     [yields]
-- all: the courier's [id] = h. belonging(owner) -> those of an owner, those who are told everything: two sets of h, or nil.
-- figures: {level =, behind =, retrying =, disabled = how many webhooks are so, events = what waits, age = of the oldest, in
--   seconds}

local filter = require "webhooks.filter"
local hooks = require "webhooks.hooks"
local slices = require "slices"
local store = require "store"
local time = require "time"

local M = {}

local EVENTS_MAX, READ_MAX, PAGE, BYTES = 1000, 20000, 100, 1048576

-- Sorts them by what they are. -> {[h] = {cursor =, actor =}} of those that have something to do, the lowest cursor
local function sort(all, figures, pause)
  local list, waits, lowest = {}, {}, nil
  for _, h in pairs(all) do list[#list + 1] = h end
  for _, h in ipairs(list) do
    local state = h.running and hooks.state(h.id)
    local is = not h.enabled and "disabled" or not state and "level" or state.attempts and "retrying" or "behind"
    figures[is] = figures[is] + 1
    local hook = state and h.enabled and hooks.get(h.id)
    local actor = hook and filter.actor(hook)
    if actor then
      waits[h] = { cursor = state.cursor, actor = actor }
      lowest = math.min(lowest or state.cursor, state.cursor)
    end
    if not pause() then return nil end
  end
  return waits, lowest
end

local function told(set, waits, e)
  local n = 0
  for h in pairs(set or {}) do
    local w = waits[h]
    if w and e.seq > w.cursor and filter.told(h.set, w.actor, e) then n = n + 1 end
  end
  return n
end

-- Reads the log behind the cursor of who is last, once for all of them.
local function walk(belonging, waits, after, figures, pause)
  local last = after + READ_MAX
  while after < last do
    local entries = assert(store.log { after = after, limit = PAGE, bytes = BYTES })
    if #entries == 0 then break end
    for _, e in ipairs(entries) do
      after = e.seq
      local _, owner = store.raw(e.kind, e.id)
      local his, everybody = belonging(owner)
      local n = told(his, waits, e) + told(everybody, waits, e)
      if n > 0 and figures.events == 0 then figures.age = math.max(0, (time.now() - e.at) / 1000) end
      figures.events = figures.events + n
      if figures.events >= EVENTS_MAX then
        figures.events = EVENTS_MAX
        return true
      end
      if not pause() then return false end
    end
  end
  return true
end

function M.count(all, belonging)
  local figures, pause = { level = 0, behind = 0, retrying = 0, disabled = 0, events = 0, age = 0 }, slices.new()
  local waits, lowest = sort(all, figures, pause)
  if not waits or lowest and not walk(belonging, waits, lowest, figures, pause) then return nil end
  return figures
end

return M
