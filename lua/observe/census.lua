-- How many machines there are in each status: counted once, then kept by following the log.
--
-- census.serve()              [serve's]
-- census.counts() -> {STATUS = n}, of all statuses but DELETED | nil: not counted yet

local changes = require "machines.changes"
local log = require "log"
local slices = require "slices"
local statuses = require "statuses"
local store = require "store"
local task = require "task"

local M = {}

local PAGE = 500

local status_of, counts, whole = {}, {}, false -- [id] = status

local function note(id, status)
  local was = status_of[id]
  if status == statuses.last then status = nil end
  if was == status then return end
  if was then counts[was] = counts[was] - 1 end
  if status then counts[status] = (counts[status] or 0) + 1 end
  status_of[id] = status
end

-- Reads and counts without a wait between: what is read is what is.
local function look(id)
  local rec = store.get("instance", id)
  note(id, rec and rec.status)
end

local function count_all()
  local after, pause = nil, slices.new()
  repeat
    local page, err = store.scan("instance_live", { after = after, limit = PAGE })
    if not page then return log.error("metrics", "the machines cannot be counted", { error = tostring(err) }) end
    for _, entry in ipairs(page) do
      after = entry.key
      look(entry.key)
      if not pause() then return end
    end
  until #page < PAGE
  whole = true
end

function M.serve()
  for _, status in ipairs(statuses.list()) do counts[status.name] = status.name ~= statuses.last and 0 or nil end
  changes.on("instance", look)
  task.spawn(count_all)
end

function M.counts() return whole and counts or nil end

return M
