-- The grid of inputs: nearest first, within what can be, the same every time; and what is derived stays what it is derived of.
local t = require "t"
local grid = require "policy.grid"
local kinds = require "policy.kinds"
local random = require "policy.random"

local NOW = 1700000000

local function all(f, was, input, now)
  local values, ranks = {}, {}
  for v, rank in grid.each(f, was, input or {}, now or NOW) do
    values[#values + 1], ranks[#ranks + 1] = v, rank
  end
  return values, ranks
end

local function shown(f, was, input)
  local out = {}
  for i, v in ipairs((all(f, was, input))) do out[i] = tostring(v) end
  return table.concat(out, " ")
end

t.test("what has few values has them all", function()
  t.eq(shown({ "flag" }, true), "false")
  t.eq(shown({ "flag", optional = true }, true), "false absent")
  t.eq(shown({ "flag", optional = true }, nil), "false true")
  t.eq(shown({ "enum", of = { "a", "b", "c" } }, "b"), "a c")
  t.eq(shown({ "enum", of = { "a", "b" }, open = true, optional = true }, "a"), "b unheard-of absent")
  t.eq(shown({ "enum", of = { "a", "b" }, open = true }, "unheard-of"), "a b")
  t.eq(shown({ "enum", of = { "a", "b" }, open = true }, "other"), "a b unheard-of")
  t.eq(shown({ "text" }, "x"), "")
  t.eq(shown({ "text", optional = true }, "x"), "")
  t.eq(shown({ "map" }, {}), "")
end)

t.test("counts: up to 100, the most, and what is around it", function()
  t.eq(shown({ "count", max = 5 }, 2), "3 1 4 0 5")
  t.eq(shown({ "count", max = 3 }, nil), "0 1 2 3")
  local values, ranks = all({ "count", max = 5000 }, 7)
  t.eq(values[1], 8); t.eq(values[2], 6); t.eq(ranks[1], 1); t.eq(ranks[2], 1); t.eq(ranks[3], 2)
  t.eq(#values, 101 + 7 + 90 + 39); t.eq(values[#values], 5000) -- 101 to 107, each ten to 1007, each hundred to 4907
  values = all({ "count", max = 5000 }, 4999)
  t.eq(values[1], 5000); t.eq(values[2], 4998); t.eq(values[101], 4899); t.eq(values[102], 4889); t.eq(values[#values], 0)
  local seen = {}
  for _, v in ipairs(all({ "count", max = 1e9 }, 90000)) do
    t.ok(v >= 0 and v <= 1e9 and v ~= 90000 and not seen[v], v)
    seen[v] = true
  end
  t.ok(seen[14000] and seen[100] and seen[1e9])
end)

t.test("numbers: their steps, then larger ones, to both ends; 10,000 at most", function()
  local load = { "number", min = 0, max = 64, step = 0.05 }
  local values = all(load, 0.5)
  t.eq(values[1], 11 * 0.05); t.eq(values[2], 9 * 0.05)
  local seen = {}
  for _, v in ipairs(values) do
    t.ok(v >= 0 and v <= 64 and v ~= 0.5)
    seen[v] = true
  end
  t.ok(seen[0] and seen[64])
  local huge = { "number", min = 60, max = 31536000, step = 60 }
  values = all(huge, 7200)
  t.ok(#values <= 10000 and #values > 2000, #values)
  t.eq(values[1], 7260); t.eq(values[2], 7140)
  for k = 1, 119 do t.ok(values[2 * k] == 7200 - 60 * k or values[2 * k - 1] == 7200 - 60 * k) end
  local last = {}
  for _, v in ipairs(values) do last[v] = true end
  t.ok(last[60] and last[31536000])
  values = all({ "number", min = 0, max = 1e12, step = 1 }, 5e11)
  t.ok(#values <= 10002, #values)
end)

t.test("times: seconds, minutes, hours; behind now only where that can be", function()
  local values, ranks = all({ "time" }, NOW)
  t.eq(#values, 2 * (7200 + 1320 + 696)); t.eq(values[1], NOW + 1); t.eq(values[2], NOW - 1); t.eq(ranks[2], 1)
  t.eq(values[#values], NOW - 30 * 86400)
  values = all({ "time", past = true }, NOW - 10)
  for _, v in ipairs(values) do t.ok(v <= NOW) end
  t.eq(#values, 7200 + 1320 + 696 + 10)
  values = all({ "time", future = true, optional = true }, NOW + 10)
  for i = 1, #values - 1 do t.ok(values[i] > NOW) end
  t.eq(values[#values], grid.ABSENT)
  values, ranks = all({ "time", future = true, optional = true }, nil)
  t.eq(values[1], NOW + 1); t.ok(ranks[1] > 10000)
  values = all({ "time", past = true }, NOW - 90 * 86400)
  t.eq(values[#values], NOW) -- it could always have been now
  values = all({ "time", past = true, least = "created" }, NOW - 10, { created = NOW - 20 })
  t.eq(#values, 20)
end)

t.test("ranks ascend, no point comes twice, and none is what was", function()
  local r = random.new(3)
  for _, name in ipairs(kinds.functions()) do
    local spec = kinds.find(name)
    for _ = 1, 5 do
      local input = r:input(spec.input, NOW)
      for field, f in pairs(spec.input) do
        local before, seen = 0, {}
        for v, rank in grid.each(f, input[field], input, NOW) do
          t.ok(rank >= before, name .. " " .. field)
          t.ok(not seen[v] and v ~= input[field], name .. " " .. field)
          before, seen[v] = rank, true
        end
      end
    end
  end
end)

t.test("inputs by chance are settled, and settling twice changes nothing", function()
  local r = random.new(5)
  for _, name in ipairs(kinds.functions()) do
    local fields = kinds.find(name).input
    for _ = 1, 500 do
      local input = r:input(fields, NOW)
      local copy = {}
      for k, v in pairs(input) do copy[k] = v end
      grid.settle(fields, copy)
      for k in pairs(fields) do t.eq(copy[k], input[k], name .. " " .. k) end
    end
  end
end)

t.test("what changes with a field is what grid.with says, and no more", function()
  local r = random.new(9)
  for _, name in ipairs(kinds.functions()) do
    local fields = kinds.find(name).input
    for _ = 1, 20 do
      local input = r:input(fields, NOW)
      for field, f in pairs(fields) do
        local with, n = {}, 0
        for _, other in ipairs(grid.with(fields, field)) do with[other] = true end
        for v in grid.each(f, input[field], input, NOW) do
          n = n + 1
          if n > 50 then break end
          local changed = grid.change(fields, input, field, v)
          for other in pairs(changed and fields or {}) do
            t.ok(with[other] or changed[other] == input[other], name .. ": " .. field .. " changes " .. other)
          end
        end
      end
    end
  end
end)

t.test("idle: activity follows input, a report of work is work, a lease brings its reason", function()
  local fields = kinds.find("idle.decide").input
  local m = grid.settle(fields, {
    id = "a", labels = {}, created_at = NOW - 9000, started_at = NOW - 8000, input_at = NOW - 7000, report_at = NOW - 100,
    load = 0, turn = false, threshold = 7200, connections = 0,
  })
  t.eq(m.last_activity_at, NOW - 7000); t.eq(m.busy_at, nil)
  t.eq(grid.change(fields, m, "input_at", NOW - 5).last_activity_at, NOW - 5)
  t.eq(grid.change(fields, m, "input_at", grid.ABSENT).last_activity_at, NOW - 8000)
  t.eq(grid.change(fields, m, "last_activity_at", NOW - 5), nil)
  t.eq(grid.change(fields, m, "load", 0.5).busy_at, NOW - 100)
  t.eq(grid.change(fields, m, "turn", true).busy_at, NOW - 100)
  t.eq(grid.change(fields, m, "lease_until", NOW + 60).lease_reason, "work")
  t.eq(grid.change(fields, m, "busy_at", NOW - 50), nil) -- no report told of it
  local gone = grid.change(fields, m, "report_at", grid.ABSENT)
  t.eq(gone.load, nil); t.eq(gone.turn, nil)
end)

return t.done()
