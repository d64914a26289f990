-- Tells who follows machines and accounts that one has changed, in this process or another: one reader of the log for all.
--
--   changes.on("instance", fn)     fn(id, type) after an entry of that kind; it may wait, others' turn comes then
--   changes.follow()               [serve's] from the log's end on

local event_types = require "event_types"
local log = require "log"
local store = require "store"
local task = require "task"

local M = {}

local listeners = {}

function M.on(kind, fn)
  listeners[kind] = listeners[kind] or {}
  table.insert(listeners[kind], fn)
end

local seen_before = {} -- [kind.type]

-- Here every entry comes by.
local function declared(e)
  local word = e.kind .. "." .. e.type
  if seen_before[word] then return end
  seen_before[word] = true
  if event_types.known(e.kind, e.type) then return end
  log.error("changes", "an entry of a type that is not declared", { kind = e.kind, type = e.type, seq = e.seq })
end

local function tell(e)
  declared(e)
  for _, fn in ipairs(listeners[e.kind] or {}) do
    local ok, why = xpcall(fn, debug.traceback, e.id, e.type)
    if not ok then log.error("changes", "a follower raised", { id = e.id, traceback = why }) end
  end
end

local function run(seen)
  while true do
    local more, err = store.wait(seen, 10)
    if err then return end
    local entries = more and store.log { after = seen, limit = 500, bytes = 4194304 } or {}
    for _, e in ipairs(entries) do
      seen = e.seq
      tell(e)
    end
    if #entries > 0 and not task.sleep(0) then return end
  end
end

function M.follow() task.spawn(run, store.stats().log_seq) end

return M
