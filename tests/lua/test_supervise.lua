-- What keeps the named programs of a machine running (lua/agent/supervise.lua), by a clock that a test drives: nothing waits.
local t = require "t"
package.path = "lua/?.lua;" .. package.path -- the agent's Lua is carried by the agent alone
local supervise = require "agent.supervise"

-- A world in which time passes when it is told to. w.log: what was done, with its second.
local function world()
  local w = { ms = 0, timers = {}, log = {}, alive = {}, refuses = {} }
  local function note(...) w.log[#w.log + 1] = ("%g %s"):format(w.ms / 1000, table.concat({ ... }, " ")) end
  w.does = {
    now = function() return w.ms end,
    after = function(ms, fn)
      local timer = { at = w.ms + ms, fn = fn }
      w.timers[timer] = true
      return function() w.timers[timer] = nil end
    end,
    start = function(spec)
      note("start", spec.name)
      if w.refuses[spec.name] then return nil, { message = "no such program" } end
      assert(not w.alive[spec.name], spec.name .. " runs twice")
      w.alive[spec.name] = true
      return true
    end,
    kill = function(name, signal)
      note(signal, name)
      assert(w.alive[name], name .. " is signalled and does not run")
      if signal == "KILL" or not w.deaf then w:ends(name, signal == "KILL" and 137 or 143) end
    end,
  }
  w.s = supervise.new(w.does)
  return w, w.s
end

local function world_methods(w)
  function w:ends(name, exit)
    self.alive[name] = nil
    self.s:ended(name, exit)
  end
  -- Time passes, and each timer runs at its own time.
  function w:pass(seconds)
    local to = self.ms + 1000 * seconds
    while true do
      local next_one
      for timer in pairs(self.timers) do
        if timer.at <= to and (not next_one or timer.at < next_one.at) then next_one = timer end
      end
      if not next_one then break end
      self.ms, self.timers[next_one] = next_one.at, nil
      next_one.fn()
    end
    self.ms = to
  end
  function w:said()
    local out = table.concat(self.log, "; ")
    self.log = {}
    return out
  end
  return w
end

local function new()
  local w, s = world()
  return world_methods(w), s
end

local function spec(name, more)
  local out = { name = name, command = { name }, restart = "always", grace = 5 }
  for k, v in pairs(more or {}) do out[k] = v end
  return out
end

local function of(s, name)
  for _, e in ipairs(s:list()) do if e.name == name then return e end end
end

-- table 37 of the study: its sleep held up the whole loop, and five seconds alive counted as healthy
t.test("one that crashes begins again after 1, 2, 4, 8, 16, 30 and 30 seconds", function()
  local w, s = new()
  s:set { spec "bad" }
  local delays = {}
  for _ = 1, 7 do
    w:ends("bad", 1)
    local e = of(s, "bad")
    t.eq(e.state, "waiting")
    delays[#delays + 1] = (e.again - w.ms) / 1000
    w:pass((e.again - w.ms) / 1000)
  end
  t.eq(table.concat(delays, " "), "1 2 4 8 16 30 30")
  t.eq(of(s, "bad").state, "running")
end)

t.test("another's crash delays none: it begins again in its own second while the first waits for thirty", function()
  local w, s = new()
  s:set { spec "bad", spec "good" }
  for _ = 1, 6 do
    w:ends("bad", 1)
    if of(s, "bad").again - w.ms < 30000 then w:pass((of(s, "bad").again - w.ms) / 1000) end
  end
  t.eq(of(s, "bad").again - w.ms, 30000)
  w:said()
  w:ends("good", 1)
  w:pass(1)
  t.eq(w:said(), ("%g start good"):format(w.ms / 1000))
  t.eq(of(s, "bad").state, "waiting")
end)

t.test("a healthy minute counts as healthy, 59 seconds do not", function()
  local w, s = new()
  s:set { spec "a" }
  local function crash()
    w:ends("a", 1)
    local delay = of(s, "a").again - w.ms
    w:pass(delay / 1000)
    return delay / 1000
  end
  t.eq(crash(), 1)
  t.eq(crash(), 2)
  w:pass(59)
  t.eq(#s:failing(), 1)
  t.eq(crash(), 4)
  w:pass(60)
  t.eq(#s:failing(), 0)
  t.eq(crash(), 1)
end)

t.test("one that cannot be started is one that has ended, and says why", function()
  local w, s = new()
  w.refuses.a = true
  s:set { spec "a", spec "b" }
  t.eq(of(s, "a").error, "no such program")
  t.eq(of(s, "a").exit, 127)
  t.eq(of(s, "b").state, "running")
  w.refuses.a = nil
  w:pass(1)
  t.eq(of(s, "a").state, "running")
  t.eq(of(s, "a").error, nil)
end)

t.test("on-failure: what ends with 0 is done, what does not begins again", function()
  local w, s = new()
  s:set { spec("a", { restart = "on-failure" }) }
  w:ends("a", 3)
  w:pass(1)
  w:ends("a", 0)
  t.eq(of(s, "a").state, "done")
  w:pass(100)
  t.eq(of(s, "a").restarts, 1)
  t.eq(s:restart "a", true)
  t.eq(of(s, "a").state, "running")
end)

t.test("all end, the last first, each after the one before it has gone; who does not listen is killed after its grace", function()
  local w, s = new()
  s:set { spec "db", spec "api", spec("web", { grace = 2 }) }
  w:said()
  w.deaf = true
  local over = false
  s:shutdown(function() over = true end)
  t.eq(w:said(), "0 TERM web")
  w:pass(1)
  w:ends("web", 0)
  t.eq(w:said(), "1 TERM api")
  w:pass(4.9)
  t.eq(w:said(), "")
  w:pass(0.1)
  t.eq(w:said(), "6 KILL api; 6 TERM db")
  t.eq(over, false)
  w:ends("db", 0)
  t.eq(over, true)
  t.eq(next(w.alive), nil)
  t.eq(next(w.timers), nil)
  t.eq(s:restart "db", nil)
end)

t.test("a shutdown begins nothing again, and waits for nothing that waits", function()
  local w, s = new()
  s:set { spec "a", spec "b" }
  w:ends("a", 1)
  local over = false
  s:shutdown(function() over = true end)
  t.eq(over, true)
  t.eq(next(w.timers), nil)
  t.eq(next(w.alive), nil)
end)

t.test("a list that changes: new ones start, changed ones begin anew, others end, the rest is left alone", function()
  local w, s = new()
  s:set { spec "a", spec "b", spec "c" }
  w:said()
  s:set { spec "b", spec("c", { command = { "c", "--new" } }), spec "d" }
  t.eq(w:said(), "0 TERM a; 0 TERM c; 0 start c; 0 start d")
  t.eq(#s:list(), 3)
  w.deaf = true
  s:set {}
  s:set { spec "b" } -- it was asked to end, and is wanted again
  w:ends("b", 0)
  w:ends("c", 0)
  w:ends("d", 0)
  t.eq(#s:list(), 1)
  t.eq(of(s, "b").state, "running")
  t.eq(next(w.timers), nil)
end)

t.test("a restart that is asked for begins with a backoff of one second", function()
  local w, s = new()
  s:set { spec "a" }
  w:ends("a", 1)
  w:pass(1)
  w:ends("a", 1)
  t.eq(s:restart "a", true) -- out of the waiting
  t.eq(of(s, "a").state, "running")
  w:ends("a", 1)
  t.eq(of(s, "a").again - w.ms, 1000)
  t.eq(s:restart "nobody", nil)
end)

t.test("from one agent to the next: who lives goes on, who died meanwhile begins again, and backoffs are kept", function()
  local w, s = new()
  local specs = { spec "a", spec "b", spec "c" }
  s:set(specs)
  w:ends("b", 1)
  w:pass(1)
  w:ends("b", 1) -- waits for 2
  w:pass(0.5)
  local saved = s:save()
  w.timers = {}
  w.alive.c = nil
  w.s = supervise.new(w.does)
  w:said()
  w.s:restore({ spec "a", spec "b", spec "c", spec "d" }, saved, { a = true })
  t.eq(w:said(), "1.5 start d")
  t.eq(of(w.s, "a").state, "running")
  t.eq(of(w.s, "a").since, 0)
  t.eq(of(w.s, "b").again - w.ms, 2000)
  t.eq(of(w.s, "b").restarts, 1)
  t.eq(of(w.s, "c").again - w.ms, 1000)
  w:pass(2)
  t.eq(of(w.s, "b").state, "running")
  t.eq(of(w.s, "c").state, "running")
end)

-- Bug: one that was taken out of the file and still stopping was forgotten: nobody killed it after its grace, and one of its
-- name that came into the file was begun beside it, which raises.
t.test("one agent to the next: one that was taken away is killed after its grace, and none of its name begins before", function()
  for _, back in ipairs { false, true } do
    local w, s = new()
    w.deaf = true
    s:set { spec "a", spec "b" }
    s:set { spec "a" }
    local saved = s:save()
    t.eq(saved.b.state, "stopping")
    w.timers = {}
    w.s = supervise.new(w.does)
    w:said()
    w.s:restore({ spec "a" }, saved, { a = 7, b = 8 })
    t.eq(w:said(), "0 TERM b")
    if back then w.s:set { spec "a", spec "b" } end
    t.eq(of(w.s, "b").state, "stopping")
    w:pass(5)
    t.eq(w:said(), back and "5 KILL b; 5 start b" or "5 KILL b")
    t.eq(of(w.s, "a").state, "running")
    t.eq(of(w.s, "b") and of(w.s, "b").state, back and "running" or nil)
    t.eq(next(w.timers), nil)
  end
end)

t.test("from one agent to the next: one that lives though nothing is known of it ends", function()
  local w = new()
  w.alive.lost = true
  w.s:restore({ spec "a" }, {}, { lost = 9 })
  t.eq(w:said(), "0 TERM lost; 0 start a")
  t.eq(#w.s:list(), 1)
  t.eq(next(w.alive), "a")
end)

-- Bug: what raised there kept the agent from saying that it is well, and its alarm ended it with all terminals.
t.test("services that cannot begin keep no agent from being well", function()
  local well, told = 0, nil
  local doubles = {
    ["agent.services"] = { routes = function() end, begin = function() error "a service of that name runs" end },
    ["agent.update"] = function() end, ["agent.chat"] = function() end, ["agent.files"] = function() end,
    ["agent.projects"] = function() end, machine = { saved = '{"services":{}}' },
    update = { well = function() well = well + 1 return well == 2 end },
    log = { error = function(_, text, fields) told = text .. ": " .. fields.traceback end },
  }
  local real = {}
  for name, double in pairs(doubles) do real[name], package.loaded[name] = package.loaded[name], double end
  local ok, err = pcall(require, "agent.main")
  t.wait_until(function() return well == 2 end)
  for name in pairs(doubles) do package.loaded[name] = real[name] end
  assert(ok, err)
  t.match(told, "could not begin: .*of that name runs")
end)

return t.done()
