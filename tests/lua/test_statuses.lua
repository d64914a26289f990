-- The table of statuses, and that each way to get stuck is refused with a sentence.
local t = require "t"
local statuses = require "statuses"

local function copy(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for k, x in pairs(v) do out[k] = copy(x) end
  return out
end

-- The table with one status changed.
local function with(name, change)
  local list = copy(statuses.list())
  for _, s in ipairs(list) do
    if s.name == name then change(s) end
  end
  return list
end

local function refused(list, pattern)
  local ok, err = statuses.check(list)
  t.eq(ok, nil)
  t.eq(err.code, "invalid")
  t.match(err.message, pattern)
end

t.test("the table in use holds, and every status accepts stop and delete", function()
  t.ok(statuses.check(statuses.list()))
  for _, s in ipairs(statuses.list()) do
    t.ok(s.accepts.stop, s.name)
    t.ok(s.accepts.delete, s.name)
    t.ok(s.settled or s.seconds, s.name)
  end
end)

t.test("a status that does not accept stop or delete is refused", function()
  refused(with("STARTING", function(s) s.accepts.delete = nil end), "STARTING does not accept delete; every status must")
  refused(with("RUNNING", function(s) s.accepts.stop = nil end), "RUNNING does not accept stop")
end)

t.test("a transient status without deadline, way out or end is refused", function()
  refused(with("STOPPING", function(s) s.seconds = nil end), "STOPPING is transient and has no deadline")
  refused(with("STOPPING", function(s) s.seconds = 0 end), "no deadline")
  refused(with("STOPPING", function(s) s.expires = nil end), "no way out")
  refused(with("STOPPING", function(s) s.done = nil end), "leads nowhere")
  refused(with("RUNNING", function(s) s.seconds = 5 end), "RUNNING is settled, so it has no seconds")
end)

t.test("deadlines that lead in a circle are refused", function()
  local list = with("STARTING", function(s) s.expires = "STOPPING" end)
  for _, s in ipairs(list) do
    if s.name == "STOPPING" then s.expires = "STARTING" end
  end
  refused(list, "in a circle")
end)

t.test("stop and delete that lead elsewhere are refused", function()
  refused(with("ERROR", function(s) s.accepts.delete = "RUNNING" end), "delete of what is ERROR does not end in DELETED")
  refused(with("ERROR", function(s) s.accepts.stop = "STARTING" end), "stop of what is ERROR does not end")
end)

t.test("a status that is unknown, twice there, unnamed or out of reach is refused", function()
  refused(with("RUNNING", function(s) s.accepts.stop = "ASLEEP" end), "leads to ASLEEP, which is no status")
  local twice = copy(statuses.list())
  twice[#twice + 1] = copy(twice[1])
  refused(twice, "STARTING is there twice")
  local alone = copy(statuses.list())
  alone[#alone + 1] = { name = "ISLAND", settled = true, accepts = { stop = "ISLAND", delete = "DELETING" } }
  refused(alone, "ISLAND cannot be reached from STARTING")
  local odd = copy(statuses.list())
  odd[#odd + 1] = { name = "not so", settled = true, accepts = { stop = "STOPPED", delete = "DELETING" } }
  refused(odd, "no name of the form")
end)

t.test("an operator's statuses are taken whole or not at all", function()
  local n = #statuses.list()
  local ok, err = statuses.extend {
    STOPPED = { accepts = { repair = "REPAIRING" } },
    REPAIRING = { done = "STOPPED", seconds = 60, accepts = { stop = "STOPPED", delete = "DELETING" } },
  }
  t.eq(ok, nil); t.match(err.message, "REPAIRING is transient and has no way out")
  t.eq(#statuses.list(), n)
  t.eq(statuses.accepts("STOPPED", "repair"), nil)
  t.ok(statuses.extend {
    STOPPED = { accepts = { repair = "REPAIRING" } },
    REPAIRING = { done = "STOPPED", seconds = 60, expires = "ERROR", accepts = { stop = "STOPPED", delete = "DELETING" } },
  })
  t.eq(statuses.accepts("STOPPED", "repair"), "REPAIRING")
  t.eq(statuses.get("REPAIRING").seconds, 60)
  t.eq(statuses.accepts("STOPPED", "start"), "STARTING")
end)

return t.done()
