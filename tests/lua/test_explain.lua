-- Explain: what it names flips the verdict, nothing nearer on the same grid does, and where it names nothing nothing does.
-- EXPLAIN_DECISIONS=10000: the long run, in place of 500.
local plain = require "plain"
local t = require "t"
local explain = require "policy.explain"
local generation = require "policy.generation"
local grid = require "policy.grid"
local kinds = require "policy.kinds"
local policy = require "policy"
local random = require "policy.random"
local sys = require "sys"

local DECISIONS = tonumber(sys.env("EXPLAIN_DECISIONS") or "500")
local NOW = 1700000000

local gen = policy.live() -- the shipped ones

local function copy(m)
  local out = {}
  for k, v in pairs(m) do out[k] = v end
  return out
end

-- ---- an independent search: no reads, no blocks, each point asked by itself

-- The grid as the schema words it, told again: a set of values, unordered.
local function values_of(f, was, now, input)
  local out = {}
  if f[1] == "flag" then out = { true, false }
  elseif f[1] == "enum" then
    out = { unpack(f.of) }
    if f.open then out[#out + 1] = "unheard-of" end
  elseif f[1] == "count" then
    for v = 0, math.min(100, f.max) do out[#out + 1] = v end
    out[#out + 1] = f.max
    local origin = was or 0
    for _, part in ipairs { 1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7 } do
      for d = part == 1 and 1 or 11 * part, 100 * part, part do
        for _, v in ipairs { origin + d, origin - d } do
          if v > 100 and v < f.max then out[#out + 1] = v end
        end
      end
    end
  elseif f[1] == "time" then
    local origin = was or now
    for _, part in ipairs { { 1, 0, 7200 }, { 60, 7200, 86400 }, { 3600, 86400, 2592000 } } do
      for d = part[2], part[3], part[1] do
        out[#out + 1] = origin + d
        out[#out + 1] = origin - d
      end
    end
    if f.past and was then out[#out + 1] = math.min(now, f.most and input[f.most] or now) end
  elseif f[1] == "number" then
    for v in grid.each(f, was, {}, now) do
      if v ~= grid.ABSENT then out[#out + 1] = v end
    end
  end
  return out
end

local function distance(was, v)
  if type(v) == "number" and type(was) == "number" then return math.abs(v - was) end
  return 0
end

local function possible(fields, input, name, v, now)
  local f = fields[name]
  if f[1] == "time" then
    if v < 0 or f.past and v > now or f.future and v <= now then return false end
    if f.least and input[f.least] and v < input[f.least] or f.most and input[f.most] and v > input[f.most] then return false end
  end
  return true
end

local function verdict_of(g, name, input, now) return (explain.ask(g, name, input, now)) end

-- The least distance at which a field flips the verdict, and whether its being absent does. -> distance or nil, bool
local function brute(g, name, input, now, field, verdict)
  local spec = kinds.find(name)
  local fields, told = spec.input, spec.now and now or nil
  local f, was = fields[field], input[field]
  local nearest
  local function flips(v)
    local m = copy(input)
    m[field] = v
    for other, of in pairs(fields) do
      if of.derived then m[other] = of.derived(m) end
    end
    return m[field] == v and not plain.same(verdict_of(g, name, m, told), verdict)
  end
  for _, v in ipairs(values_of(f, was, now, input)) do
    local d = distance(was, v)
    if v ~= was and (not nearest or d < nearest) and possible(fields, input, field, v, now) and flips(v) then nearest = d end
  end
  local gone = f.optional and was ~= nil and f[1] ~= "text" and f[1] ~= "map" and flips(nil)
  return nearest, gone
end

-- Checks one explained decision as a whole. `searched`: also by brute force (a table: these fields). -> its flips
local function check(g, name, input, now, searched, flips)
  local spec = kinds.find(name)
  local told = spec.now and now or nil
  local verdict = verdict_of(g, name, input, told)
  local by = {}
  flips = flips or explain.flips(g, name, input, now)
  local before = { rank = 0, field = "" }
  for _, flip in ipairs(flips) do
    by[flip.field] = flip
    t.ok(flip.rank > before.rank or flip.rank == before.rank and flip.field > before.field, "the order of flips")
    before = flip
    local to = flip.to
    if to == nil then to = grid.ABSENT end
    local m = grid.change(spec.input, input, flip.field, to)
    t.ok(m, "it is a point: " .. flip.field)
    t.ok(not plain.same(verdict_of(g, name, m, told), verdict), name .. ": " .. flip.text .. " does not flip it")
    t.ok(plain.same(verdict_of(g, name, m, told), flip.verdict), "the verdict is as named")
    -- the next smaller step does not
    local last
    for v, rank in grid.each(spec.input[flip.field], input[flip.field], input, now) do
      if rank >= flip.rank then break end
      last = v
    end
    local smaller = last ~= nil and grid.change(spec.input, input, flip.field, last)
    if smaller then t.ok(plain.same(verdict_of(g, name, smaller, told), verdict),
      name .. ": a smaller step flips " .. flip.field) end
  end
  if not searched then return flips end
  for field in pairs(searched == true and spec.input or searched) do
    local nearest, gone = brute(g, name, input, now, field, verdict)
    local flip = by[field]
    local what = name .. "." .. field
    if not flip then
      t.eq(nearest, nil, what .. ": brute force finds one")
      t.ok(not gone, what .. ": absent flips")
    elseif flip.to == nil then
      t.eq(nearest, nil, what .. ": something nearer than being absent"); t.ok(gone, what)
    else
      t.eq(distance(input[field], flip.to), nearest, what)
    end
  end
  return flips
end

-- A machine near one of its edges, as chance alone seldom has it.
local function near_edge(r, input, now)
  local which = r:below(4)
  if which == 0 then return input end
  input.labels, input.lease_until, input.turn = {}, nil, input.turn ~= nil and false or nil
  input.busy_at = nil
  if input.load then input.load = 0 end
  input.threshold = 60 * (1 + r:below(500))
  input.input_at = now - input.threshold + r:below(1200) - 600
  if input.input_at > now then input.input_at = now - 1 end
  input.started_at = math.min(input.started_at, input.input_at)
  input.created_at = math.min(input.created_at, input.started_at)
  input.lease_ended_at = nil
  return grid.settle(kinds.find("idle.decide").input, input)
end

local function decision(r, name)
  local now = NOW + r:below(100000000)
  local input = r:input(kinds.find(name).input, now)
  if name == "idle.decide" then input = near_edge(r, input, now) end
  return input, now
end

t.test(DECISIONS .. " random decisions of the shipped policies", function()
  local names, r = kinds.functions(), random.new(20261127)
  local begun, none, asked = sys.cpu_ms(), 0, explain.stats.asked
  local searched, times = 0, 0
  for i = 1, DECISIONS do
    local name = i % 2 == 0 and "idle.decide" or names[(i - 1) / 2 % #names + 1]
    local input, now = decision(r, name)
    local search = i % 50 < 2 -- the search takes a hundred times as long
    local before = sys.cpu_ms()
    local flips = explain.flips(gen, name, input, now)
    times = times + sys.cpu_ms() - before
    if #flips == 0 then none = none + 1 end
    if search then searched = searched + 1 end
    check(gen, name, input, now, search, flips)
  end
  sys.stdout(("# %d decisions, %d without a flip, %d searched by brute force\n"):format(DECISIONS, none, searched))
  sys.stdout(("# %.1f ms each to explain, %.0f points asked; %.0f s in all\n"):format(times / DECISIONS,
    (explain.stats.asked - asked) / DECISIONS, (sys.cpu_ms() - begun) / 1000))
end)

-- ---- made ones

local function made(idle)
  local sources = {}
  for name, text in pairs(gen.sources) do sources[name] = text end
  sources["idle.lua"] = idle
  local g, faults = generation.revive(sources)
  t.ok(g, faults and generation.text(faults[1]))
  g.number = 7
  return g
end

local function policy_of(body)
  return made("local P = { kind = 'idle', name = 'x', version = 1 }\nfunction P.decide(m, now)\n" .. body
    .. "\nend\nfunction P.lease(r) return 60, 'x' end\nreturn P\n")
end

local few = { connections = true, turn = true, threshold = true, lease_until = true } -- searched by brute force

local function machine()
  return grid.settle(kinds.find("idle.decide").input, {
    id = "i", name = "box", owner = "o", plan = "free", type = "small", provider = "mock", labels = {}, created_at = NOW - 90000,
    started_at = NOW - 80000, threshold = 7200, input_at = NOW - 7214, connections = 2,
  })
end

t.test("the sentence of the issue", function()
  local g = made(gen.sources["idle.lua"]:gsub("WARN = 15 %* 60", "WARN = 0"))
  local d = explain.decision(g, "idle.decide", machine(), NOW)
  t.eq(d.verdict, "stop"); t.eq(d.file, "idle.lua"); t.eq(d.generation, 7)
  t.match(d.source, 'return "stop"')
  t.eq(d.text, "would have stayed up with a threshold of 2 h 1 min, input 15 s later ("
    .. os.date("!%H:%M:%S UTC", NOW - 7199) .. "), its start 20 h 14 min later ("
    .. os.date("!%H:%M:%S UTC", NOW - 7160) .. "), or a busy lease")
  t.eq(table.concat(d.reads, " "), "busy_at labels last_activity_at lease_until threshold turn")
end)

t.test("what goes through all fields, gives its input back, or writes to it, is explained too", function()
  local g = policy_of("local n = 0 for k, v in pairs(m) do if v == 2 then n = n + 1 end end\n"
    .. "return n > 0 and 'keep' or 'stop', 'n'")
  local flips = check(g, "idle.decide", machine(), NOW, few)
  t.eq(flips[1].field, "connections")
  g = policy_of("m.connections = m.connections + 1\nreturn m.connections > 4 and 'stop' or 'keep', 'n'")
  flips = check(g, "idle.decide", machine(), NOW, few)
  t.eq(flips[1].field, "connections"); t.eq(flips[1].to, 4)
  g = policy_of("return m, 'n'")
  local ok, trace, back = g.fence:trace(g.fn["idle.decide"], { a = 1, b = { c = 2 } }, 1)
  t.eq(ok, true); t.eq(trace.reads, nil); t.eq(back.a, 1); t.eq(back.b.c, 2)
end)

t.test("a policy that fails at some points: what is done then counts", function()
  local g = policy_of("if m.connections == 3 then error('x') end\nif m.connections == 1 then return 'nope', 'x' end\n"
    .. "return m.connections > 4 and 'keep' or 'stop', 'n'")
  local flips = check(g, "idle.decide", machine(), NOW, few)
  t.eq(flips[1].field, "connections"); t.eq(flips[1].to, 3); t.eq(flips[1].verdict, "keep")
  g = policy_of("if m.connections == 2 then return 'stop' end\nreturn 'stop', 'n'") -- no reason: the safe answer is what is done
  flips = check(g, "idle.decide", machine(), NOW, few)
  t.eq(flips[1].verdict, "stop"); t.eq(flips[1].rank, 1)
  g = policy_of("return m.nothing.x")
  local d = explain.decision(g, "idle.decide", machine(), NOW)
  t.eq(d.verdict, "keep"); t.match(d.failed, "attempt to index"); t.eq(d.line, 3); t.eq(#d.flips, 0)
end)

t.test("a lease that was shortened: not 100 seconds would have been granted in full, nor 31 years of leases before", function()
  local d = explain.decision(gen, "idle.lease",
    { ttl = 90000, held = 0, reason = "a build", owner = "operator", plan = "free" })
  t.eq(d.verdict, 14400)
  local to = {}
  for _, f in ipairs(d.flips) do to[f.field] = f.to end
  t.eq(to.ttl, 14000); t.eq(to.held, 73000)
end)

t.test("no single change is an honest answer", function()
  local g = policy_of("if m.turn and m.connections > 50 then return 'keep', 'x' end\nreturn 'stop', 'n'")
  local d = explain.decision(g, "idle.decide", machine(), NOW)
  t.eq(#d.flips, 0, d.text); t.eq(d.text, "no single change of an input would have changed it")
  check(g, "idle.decide", machine(), NOW, few)
end)

t.test("the loop goes on meanwhile: an explanation sleeps between its slices", function()
  local task = require "task"
  local worst, last, over = 0, sys.cpu_ms(), false
  local h = task.spawn(function()
    while not over do
      task.sleep(0)
      worst, last = math.max(worst, sys.cpu_ms() - last), sys.cpu_ms()
    end
  end)
  for _ = 1, 10 do explain.flips(gen, "idle.decide", machine(), NOW) end
  over = true
  t.wait_until(function() return h:done() end, "the other")
  t.ok(worst < 50, worst)
end)

return t.done()
