-- Who gets the agent that this program carries (lua/machines/update.lua), where machines fail as they are told to. How one gets
-- it on a real machine is in tests/e2e/update.test.js.
local moved = require "moved"
moved.begin(1700000000000)

local t = require "t"
local fs = require "fs"
local json = require "json"
local sys = require "sys"
local time = require "time"

local machines = {} -- [id] = {owner =, good = whether it comes back as the build that it is given, build =, got = times}
local said, changed = {}, nil

local function note(_, text) said[#said + 1] = text end
local function running(id)
  local m = machines[id]
  return m and { id = id, owner = m.owner, status = "RUNNING" }
end
local function asked(rec, o)
  local m = machines[rec.id]
  if o.method == "PUT" then
    m.got, m.anew = m.got + 1, true
    if m.good then m.build = require("machines.update").build().sha256 end
    return { status = 202, body = "{}" }
  end
  local up = m.anew and 0 or 1e9 -- it was begun anew after what it was given
  m.anew = nil
  return { status = 200, body = json.encode { version = "1", build = m.build, arch = sys.arch(), uptime_ms = up } }
end

for name, double in pairs {
  log = { info = note, warn = note, error = note },
  store = { get = function(_, id) return running(id) end },
  walk = { index = function() return function() end end },
  ["machines.agent"] = { request = asked },
  ["machines.changes"] = { on = function(_, fn) changed = fn end },
} do package.loaded[name] = double end
local update = require "machines.update"

function t.turn()
  assert(fs.stat "/")
  time.advance(100)
end

update.seconds = 1
update.serve()

local function add(id, owner, good)
  machines[id] = { owner = owner, good = good, build = "0123", got = 0 }
  changed(id)
end
local function is(id, how)
  t.wait_until(function() return (update.of(id) or {}).update == how end, id .. " is " .. how)
end
local function times_said(pattern)
  local n = 0
  for _, text in ipairs(said) do
    if text:find(pattern) then n = n + 1 end
  end
  return n
end

-- Bug: three machines of one hostile user that failed in a row held the update up for everybody until the server began again.
t.test("one owner's machines that fail hold up no others' update", function()
  local got = 0
  for i = 1, 4 do add("eve-" .. i, "eve", false) end
  t.wait_until(function() return times_said "^no other agent of this owner gets" == 1 end, "eve's fail")
  add("eve-late", "eve", true)
  is("eve-late", "held")
  add("ann", "ann", true)
  is("ann", "current")
  for i = 1, 4 do got = got + machines["eve-" .. i].got end
  t.eq(got, 3)
  t.eq(machines["eve-late"].got, 0)
  t.eq(times_said "^no other agent gets", 0)
end)

t.test("a build that fails at three owners' goes to nobody else, unless it went well between", function()
  for id, owner in pairs { one = "bob", two = "cid" } do add(id, owner, false) end
  t.wait_until(function() return machines.one.got + machines.two.got == 4 end, "each had it twice")
  is("one", "failed")
  is("two", "failed")
  add("ann-2", "ann", true)
  is("ann-2", "current")
  for i = 3, 5 do
    t.eq(times_said "^no other agent gets", 0)
    add("bad-" .. i, "owner-" .. i, false)
    t.wait_until(function() return machines["bad-" .. i].got > 0 end, "it gets it")
    is("bad-" .. i, "failed")
  end
  t.eq(times_said "^no other agent gets", 1)
  add("dan", "dan", true)
  is("dan", "held")
  t.eq(machines.dan.got, 0)
end)

moved.finish()
return t.done()
