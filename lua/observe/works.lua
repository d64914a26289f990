-- The workflows that are not over, counted.
--
-- works.now() -> {{n, kind, step}, ...}, {{seconds, kind}, ...} the age of the oldest | nil    [yields]

local slices = require "slices"
local store = require "store"
local time = require "time"
local workflow = require "workflow"

local M = {}

local PAGE, MOST = 500, 20000

-- The operation that a subject's entry of the index "work" is about, or nil: it is over meanwhile.
local function operation_of(key)
  local kind, id = key:match("^([^/]+)/(.+)$")
  local rec = kind and store.get(kind, id)
  return rec and type(rec.operation) == "string" and store.get("operation", rec.operation) or nil
end

local function add(steps, oldest, op, now)
  local step = op.state == "queued" and "queued" or op.state == "undoing" and "undoing" or tostring(op.step)
  local key = op.kind .. "/" .. step
  steps[key] = steps[key] or { 0, op.kind, step }
  steps[key][1] = steps[key][1] + 1
  oldest[op.kind] = math.max(oldest[op.kind] or 0, (now - time.parse(op.created_at)) / 1000)
end

-- Every kind in each of its steps, none of them there: what is said does not depend on when one looks.
local function none()
  local steps, oldest = {}, {}
  for kind, names in pairs(workflow.kinds()) do
    oldest[kind] = 0
    for _, step in ipairs(names) do steps[kind .. "/" .. step] = { 0, kind, step } end
    for _, state in ipairs { "queued", "undoing" } do steps[kind .. "/" .. state] = { 0, kind, state } end
  end
  return steps, oldest
end

function M.now()
  local steps, oldest = none()
  local after, n = nil, 0
  local pause, now = slices.new(), time.now()
  repeat
    local page = store.scan("work", { after = after, limit = PAGE })
    if not page then return nil end
    for _, entry in ipairs(page) do
      after, n = entry.key, n + 1
      local op = operation_of(entry.key)
      if op then add(steps, oldest, op, now) end
      if not pause() then return nil end
    end
  until #page < PAGE or n >= MOST
  local rows, ages = {}, {}
  for _, row in pairs(steps) do rows[#rows + 1] = row end
  for kind, age in pairs(oldest) do ages[#ages + 1] = { age, kind } end
  return rows, ages
end

return M
