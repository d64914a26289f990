-- What is saved in POLICIES_DIR is seen when it is saved.
local t = require "t"
local fs = require "fs"
local policy = require "policy"
local reload = require "policy.reload"
local task = require "task"

local folder = t.tmpdir()
policy.folder = folder
reload.look_seconds = 3600 -- so that nothing is found by looking now and then

local function save(n) assert(fs.write(folder .. "/plans.lua", ("return { default = 'free', n = %d }\n"):format(n))) end

-- Bug: a save that landed while the one before was tried was taken five seconds later.
t.test("a save while another one is tried is tried next", function()
  local tried = {}
  function policy.try(sources)
    local n = sources["plans.lua"]:match("n = (%d)")
    tried[#tried + 1] = n
    if n ~= "1" then return {} end
    local before = reload.heard()
    save(2)
    t.wait_until(function() return reload.heard() > before end, "word of the second save")
    return {}
  end
  save(1)
  local following = task.spawn(reload.follow)
  t.wait_until(function() return tried[#tried] == "2" end, "the second save")
  t.eq(tried[1], "1")
  following:cancel("the end of the test")
  following:join()
end)

return t.done()
