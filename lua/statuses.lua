-- The statuses of a machine, as data, and the proof that a machine cannot get stuck in one.
--
--   name, accepts = {verb = status it leads to}    a verb that is absent is refused
--   settled   nothing is under way: the machine stays so until somebody asks
--   done      where a transient status leads when its work succeeds
--   seconds   how long a transient status may last
--   expires   where it leads when that time is over, or its work has failed for good
-- stop and delete are accepted by all. start of what runs asks the provider again, which finds it running or starts
-- what has died. What is under way is not interrupted by a verb (workflow.lua: it waits its turn) except by delete.

local errors = require "errors"

local M = {}

M.first, M.last = "STARTING", "DELETED"

local initial = {
  { name = "STARTING", done = "RUNNING", seconds = 900, expires = "ERROR",
    accepts = { stop = "STOPPING", start = "STARTING", delete = "DELETING" } },
  { name = "RUNNING", settled = true,
    accepts = { stop = "STOPPING", start = "STARTING", delete = "DELETING",
      resize = "STOPPING", attach = "STOPPING", detach = "STOPPING", suspend = "RUNNING", restart = "STOPPING",
      snapshot = "STOPPING", snapshot_delete = "STOPPING", restore = "STOPPING" } },
  { name = "STOPPING", done = "STOPPED", seconds = 600, expires = "ERROR",
    accepts = { stop = "STOPPING", start = "STARTING", delete = "DELETING" } },
  { name = "STOPPED", settled = true,
    accepts = { stop = "STOPPED", start = "STARTING", delete = "DELETING",
      resize = "STOPPED", attach = "STOPPED", detach = "STOPPED",
      snapshot = "STOPPED", snapshot_delete = "STOPPED", restore = "STOPPED" } },
  { name = "ERROR", settled = true,
    accepts = { stop = "STOPPING", start = "STARTING", delete = "DELETING", resize = "ERROR" } },
  { name = "DELETING", done = "DELETED", seconds = 1800, expires = "ERROR",
    accepts = { stop = "DELETING", delete = "DELETING" } },
  { name = "DELETED", settled = true, accepts = { stop = "DELETED", delete = "DELETED" } },
}

local list, by_name = {}, {}

-- ---- the check

-- Every status that `s` can lead to.
local function ways(s)
  local out = {}
  for _, to in pairs(s.accepts) do out[to] = true end
  if s.done then out[s.done] = true end
  if s.expires then out[s.expires] = true end
  return out
end

-- One status alone. -> sentence, or nil
local function form_fault(s, known)
  if type(s.name) ~= "string" or not s.name:match("^[A-Z][A-Z_]*$") then return "a status has no name of the form STARTING" end
  if type(s.accepts) ~= "table" then return s.name .. ": accepts: a table {verb = status} expected" end
  for _, verb in ipairs { "stop", "delete" } do
    if not s.accepts[verb] then return ("%s does not accept %s; every status must"):format(s.name, verb) end
  end
  for to in pairs(ways(s)) do
    if not known[to] then return ("%s leads to %s, which is no status"):format(s.name, tostring(to)) end
  end
  if s.settled then
    if s.seconds or s.expires or s.done then return s.name .. " is settled, so it has no seconds, expires or done" end
    return
  end
  if type(s.seconds) ~= "number" or s.seconds <= 0 or s.seconds > 30 * 86400 then
    return s.name .. " is transient and has no deadline: seconds: a number from 1 to 2592000 expected"
  end
  if not s.expires then return s.name .. " is transient and has no way out when its deadline passes: expires is missing" end
  if not s.done then return s.name .. " is transient and leads nowhere when its work is done: done is missing" end
end

local function unreachable(table_, known)
  local seen, todo = { [M.first] = true }, { M.first }
  while #todo > 0 do
    for to in pairs(ways(known[table.remove(todo)])) do
      if not seen[to] then
        seen[to] = true
        todo[#todo + 1] = to
      end
    end
  end
  for _, s in ipairs(table_) do
    if not seen[s.name] then return s.name .. " cannot be reached from " .. M.first end
  end
end

-- Where a status leads when all its work is done; nil when that never ends.
local function end_of(s, known, limit)
  for _ = 1, limit do
    if s.settled then return s end
    s = known[s.done]
  end
end

-- stop must end in a status in which it has nothing to do, delete in DELETED: they are the ways out.
local function no_way_out(table_, known)
  for _, s in ipairs(table_) do
    local stopped = end_of(known[s.accepts.stop], known, #table_)
    if not stopped or stopped.accepts.stop ~= stopped.name then
      return ("stop of what is %s does not end in a status that is stopped"):format(s.name)
    end
    local deleted = end_of(known[s.accepts.delete], known, #table_)
    if not deleted or deleted.name ~= M.last then return ("delete of what is %s does not end in %s"):format(s.name, M.last) end
  end
end

-- A chain of deadlines must end in a settled status.
local function circle(table_, known)
  for _, s in ipairs(table_) do
    local at, steps = s, 0
    while not at.settled do
      at, steps = known[at.expires], steps + 1
      if steps > #table_ then return ("from %s deadlines lead in a circle, never to a settled status"):format(s.name) end
    end
  end
end

-- Whether a table of statuses may be used. -> true | nil, err (code "invalid", message a sentence)
function M.check(table_)
  local known = {}
  for _, s in ipairs(table_) do
    if known[s.name] then return errors.fail("invalid", "statuses: " .. s.name .. " is there twice") end
    known[s.name or 0] = s
  end
  if not known[M.first] then
    return errors.fail("invalid", "statuses: " .. M.first .. " is missing; every machine begins with it")
  end
  if not known[M.last] then return errors.fail("invalid", "statuses: " .. M.last .. " is missing; every machine ends there") end
  for _, s in ipairs(table_) do
    local why = form_fault(s, known)
    if why then return errors.fail("invalid", "statuses: " .. why) end
  end
  local why = unreachable(table_, known) or circle(table_, known) or no_way_out(table_, known)
  if why then return errors.fail("invalid", "statuses: " .. why) end
  return true
end

-- ---- the table in use

local function use(table_)
  list, by_name = table_, {}
  for _, s in ipairs(table_) do by_name[s.name] = s end
end

local function copy(s, over)
  local out = { accepts = {} }
  for _, from in ipairs { s, over or {} } do
    for k, v in pairs(from) do
      if k ~= "accepts" then out[k] = v end
    end
    for verb, to in pairs(from.accepts or {}) do out.accepts[verb] = to end
  end
  return out
end

-- Adds statuses, or changes members of those that are there: {NAME = {seconds = 60}, MAINTENANCE = {...}}.
-- All of it or, when the table would not hold, nothing. -> true | nil, err
function M.extend(changes)
  local next_table, taken = {}, {}
  for _, s in ipairs(list) do
    next_table[#next_table + 1] = copy(s, changes[s.name])
    taken[s.name] = true
  end
  local names = {}
  for name in pairs(changes) do
    if not taken[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local s = copy(changes[name])
    s.name = name
    next_table[#next_table + 1] = s
  end
  local ok, err = M.check(next_table)
  if not ok then return nil, err end
  use(next_table)
  return true
end

function M.get(name) return by_name[name] end
function M.list() return list end

-- Where `verb` leads from `name`, or nil when it is refused there.
function M.accepts(name, verb) return by_name[name].accepts[verb] end

function M.settled(name) return by_name[name].settled == true end

assert(M.check(initial))
use(initial)

return M
