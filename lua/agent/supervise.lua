-- What keeps the named programs of a machine running. It decides; what it decides is done by others, so a test can be them.
--
--   local s = supervise.new(does)
--       does.now() -> ms that never jump back         does.after(ms, fn) -> fn that calls it off
--       does.start(spec) -> true | nil, err           does.kill(name, "TERM"|"KILL")
--   s:set(specs)           those that are to run: new ones start, changed ones begin anew, the others end.
--                          spec = {name=, command=, cwd=, env=, restart="always"|"on-failure", grace=seconds}
--   s:ended(name, exit)    one has ended: 128 + n after signal n
--   s:restart(name) -> true | nil                     nil: there is none of that name
--   s:shutdown(done)       all end, the last first, one after the other; then done()
--   s:list() -> {{name=, state=, since=, restarts=, exit=, again=, failing=}, ...}   times as does.now has them
--   s:failing() -> {name, ...}
--   s:save() -> table of plain values                 s:restore(specs, saved, alive)   alive = {[name] = true}
--
-- One that ends begins again after 1 second, then 2, 4 and so on to 30; once it has lived for a minute, after 1 again. Each has a
-- timer of its own, so none waits for another's. One that cannot be started has ended. States: running, waiting (to begin
-- again), stopping, stopped, done (ended with 0, and begins again on failure alone).

local M = {}

local FIRST, MOST, HEALTHY = 1000, 30000, 60000
local GRACE = 5 -- of one of which nothing more is known than that it lives

local S = {}
S.__index = S

function M.new(does)
  return setmetatable({ does = does, order = {}, by = {}, closing = false }, S)
end

local function call_off(e)
  if e.cancel then e.cancel() end
  e.cancel, e.again = nil, nil
end

local function become(self, e, state)
  call_off(e)
  e.state, e.since = state, self.does.now()
end

local ended

local function start(self, e)
  become(self, e, "running")
  local ok, err = self.does.start(e.spec)
  if ok then
    e.error = nil
  else
    e.error = tostring(err and err.message or err)
    ended(self, e, 127)
  end
end

local function wait(self, e, delay)
  become(self, e, "waiting")
  e.delay, e.again = delay, self.does.now() + delay
  e.cancel = self.does.after(delay, function()
    e.cancel = nil
    e.restarts = e.restarts + 1
    start(self, e)
  end)
end

local function forget(self, e)
  self.by[e.spec.name] = nil
  for i, other in ipairs(self.order) do
    if other == e then table.remove(self.order, i) break end
  end
end

-- It has stopped as it was asked to: what is to become of it?
local function stopped(self, e)
  become(self, e, "stopped")
  local next_spec, on_stopped = e.next_spec, e.on_stopped
  e.next_spec, e.on_stopped = nil, nil
  if e.gone then forget(self, e) end
  if next_spec and not e.gone and not self.closing then
    e.spec, e.delay = next_spec, nil
    start(self, e)
  end
  if on_stopped then on_stopped() end
end

function ended(self, e, exit)
  local lived = self.does.now() - e.since
  e.exit = exit
  if e.state == "stopping" then return stopped(self, e) end
  if self.closing then return become(self, e, "stopped") end
  if lived >= HEALTHY then e.delay = nil end
  if exit == 0 and e.spec.restart == "on-failure" then
    e.delay = nil
    return become(self, e, "done")
  end
  wait(self, e, e.delay and math.min(2 * e.delay, MOST) or FIRST)
end

function S:ended(name, exit)
  local e = self.by[name]
  if e and (e.state == "running" or e.state == "stopping") then ended(self, e, exit) end
end

-- Asked first, then killed. What stops already goes on stopping.
local function stop(self, e)
  if e.state == "stopping" then return end
  if e.state ~= "running" then return stopped(self, e) end
  become(self, e, "stopping")
  local name = e.spec.name
  e.cancel = self.does.after(1000 * e.spec.grace, function()
    e.cancel = nil
    self.does.kill(name, "KILL")
  end)
  self.does.kill(name, "TERM")
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

local function add(self, spec)
  local e = { spec = spec, restarts = 0 }
  self.by[spec.name] = e
  return e
end

function S:set(specs)
  local order, wanted, fresh = {}, {}, {}
  for _, spec in ipairs(specs) do
    local e = self.by[spec.name]
    wanted[spec.name] = true
    if not e then
      e = add(self, spec)
      fresh[#fresh + 1] = e
    elseif e.gone or not same(e.next_spec or e.spec, spec) then
      e.gone, e.next_spec, e.changed = nil, spec, true
    end
    order[#order + 1] = e
  end
  for _, e in ipairs(self.order) do
    if not wanted[e.spec.name] then
      e.gone = true
      order[#order + 1] = e
    end
  end
  self.order = order
  for i = #order, 1, -1 do
    local e = order[i]
    if e.gone or e.changed then
      e.changed = nil
      stop(self, e)
    end
  end
  for _, e in ipairs(fresh) do start(self, e) end
end

function S:restart(name)
  local e = self.by[name]
  if not e or e.gone or self.closing then return nil end
  e.next_spec = e.next_spec or e.spec
  stop(self, e)
  return true
end

function S:shutdown(done)
  self.closing = true
  local function next_one(i)
    local e = self.order[i]
    if not e then return done() end
    if e.state == "waiting" then become(self, e, "stopped") end
    if e.state ~= "running" and e.state ~= "stopping" then return next_one(i - 1) end
    e.on_stopped = function() next_one(math.min(i - 1, #self.order)) end
    stop(self, e)
  end
  next_one(#self.order)
end

-- ---- what is told

local function failing(self, e)
  if e.state == "waiting" then return true end
  return e.state == "running" and e.delay ~= nil and self.does.now() - e.since < HEALTHY
end

function S:list()
  local out = {}
  for i, e in ipairs(self.order) do
    out[i] = { name = e.spec.name, state = e.state, since = e.since, restarts = e.restarts, exit = e.exit, again = e.again,
      error = e.error, failing = failing(self, e) }
  end
  return out
end

function S:failing()
  local names = {}
  for _, e in ipairs(self.order) do
    if failing(self, e) then names[#names + 1] = e.spec.name end
  end
  return names
end

-- ---- from one agent to the next

function S:save()
  local out = {}
  for _, e in ipairs(self.order) do
    out[e.spec.name] = { spec = e.spec, state = e.state, since = e.since, restarts = e.restarts, exit = e.exit, delay = e.delay,
      error = e.error }
  end
  return out
end

-- One that lives and is in no list: it was being stopped when the agent went, and goes on to be.
local function take_leaving(self, name, was)
  local e = add(self, was and was.spec or { name = name, grace = GRACE })
  e.gone, e.state, e.since, e.restarts = true, "running", was and was.since or self.does.now(), was and was.restarts or 0
  self.order[#self.order + 1] = e
  stop(self, e)
end

-- Those of a saved list that live go on; one that ended between is told by ended(), as ever. What waited waits anew.
function S:restore(specs, saved, alive)
  for _, spec in ipairs(specs) do
    local was = saved[spec.name]
    if was then
      local e = add(self, was.spec)
      self.order[#self.order + 1] = e
      e.state, e.since, e.restarts, e.exit, e.delay, e.error = was.state, was.since, was.restarts, was.exit, was.delay, was.error
      if e.state == "running" or e.state == "stopping" then
        if not alive[spec.name] then wait(self, e, e.delay or FIRST) end
      elseif e.state == "waiting" then
        wait(self, e, e.delay)
      end
    end
  end
  for _, e in ipairs(self.order) do
    if e.state == "stopping" then -- it was asked, and has its whole patience again
      e.state, e.next_spec = "running", e.spec
      stop(self, e)
    end
  end
  for name in pairs(alive) do
    if not self.by[name] then take_leaving(self, name, saved[name]) end
  end
  self:set(specs)
end

return M
