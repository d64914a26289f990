-- The watchdog of the loop: whoever holds it up for more than 100 ms is named in the log, by his traceback.
local t = require "t"
local sys = require "sys"

local cchost = sys.env("CCHOST") or "./cchost"

local function run(how)
  local r = assert(sys.run { cchost, "tests/lua/stall.lua", how, timeout = 60, max = 65536 })
  t.eq(r.exit, 0, r.stderr)
  return r.stdout, r.stderr
end

for _, how in ipairs { "compiled_culprit", "calling_culprit", "blocking_culprit" } do
  t.test("a stall names its culprit: " .. how, function()
    local out, log = run(how)
    t.eq(out, "stalls 1\n", log)
    t.ok(log:find("module=loop", 1, true) and log:find("the loop stood still", 1, true), log)
    t.ok(tonumber(log:match(" ms=(%d+)")) >= 100, log)
    t.match(log, [[stack traceback:\n\ttests/lua/stall.lua:%d+: in function]]) -- it, and not who called it
  end)
end

t.test("what does not hold it up is not told of", function()
  local out, log = run("none")
  t.eq(out, "stalls 0\n", log)
  t.eq(log, "")
end)
