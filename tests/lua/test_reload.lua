-- What is saved in POLICIES_DIR is seen when it is saved.
local t = require "t"
local fs = require "fs"
local policy = require "policy"
local reload = require "policy.reload"
local task = require "task"
local time = require "time"

local folder
reload.look_seconds = 3600 -- so that nothing is found by looking now and then

local function save(n) assert(fs.write(folder .. "/plans.lua", ("return { default = 'free', n = %d }\n"):format(n))) end

-- Runs fn while the folder is followed.
local function following(n, fn)
  folder = t.tmpdir()
  policy.folder = folder
  save(n)
  local follower = task.spawn(reload.follow)
  fn()
  t.wait_until(function() -- a cancel ends one wait, which may be one of a look that goes on
    follower:cancel("the end of the test")
    return follower:done()
  end, "the follower to end")
end

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
  following(1, function() t.wait_until(function() return tried[#tried] == "2" end, "the second save") end)
  t.eq(tried[1], "1")
end)

-- Bug: an edit was over 100 ms after a save: of two files saved 200 ms apart the first was tried, and taken, alone.
t.test("saves up to 300 ms apart are one edit", function()
  local tried = {}
  function policy.try(sources)
    tried[#tried + 1] = sources["plans.lua"]:match("n = (%d)")
    return {}
  end
  following(3, function()
    t.wait_until(function() return #tried == 1 end, "what is there")
    for n = 4, 6 do
      local before, at = reload.heard(), time.mono()
      save(n)
      t.wait_until(function() return reload.heard() > before and time.mono() - at >= 200 end, "word of it, and a while")
    end
    t.wait_until(function() return tried[#tried] == "6" end, "the edit")
  end)
  t.eq(table.concat(tried, " "), "3 6")
end)

-- Bug: an edit over HTTP that was taken back in the folder within 300 ms stayed in force: the folder was what had been tried
-- before it.
t.test("what was tried before is tried again when another set has come into force since", function()
  local tried, number, was = {}, 1, policy.live
  function policy.live() return { number = number } end
  function policy.try(sources)
    tried[#tried + 1] = sources["plans.lua"]:match("n = (%d)")
    return {}
  end
  following(1, function()
    t.wait_until(function() return #tried == 1 end, "the first save")
    save(2)
    number = 2 -- whoever saved it put it in force himself
    save(1)
    t.wait_until(function() return #tried == 2 end, "the first one again")
  end)
  t.eq(table.concat(tried, " "), "1 1")
  policy.live = was
end)

-- Bug: what was read just before another saved and tried his edit was tried after it, and was in force until the next look.
t.test("what was read before another's edit is not tried after it", function()
  local tried, read, trying, reads = {}, policy.read, false, 0
  function policy.read()
    reads = reads + 1
    trying = reads == 1 -- after that somebody saves 5, and tries it
    return { ["plans.lua"] = trying and "n = 4" or "n = 5" }
  end
  function policy.trying() return trying end
  function policy.rest()
    trying = false
    return true
  end
  function policy.try(sources)
    tried[#tried + 1] = sources["plans.lua"]:match("n = (%d)")
    return {}
  end
  following(4, function() t.wait_until(function() return #tried > 0 end, "something is tried") end)
  policy.read = read
  t.eq(table.concat(tried, " "), "5")
end)

-- Bug: likewise where another began to try his while it was looked up who had saved the file.
t.test("nor is it where the other begins while its author is looked for", function()
  local tried, read, stat, trying, reads = {}, policy.read, fs.stat, false, 0
  function policy.read()
    reads = reads + 1
    return { ["plans.lua"] = reads == 1 and "n = 3" or "n = 9" }
  end
  function fs.stat(path, ...)
    if reads == 1 and path:find("plans.lua", 1, true) then trying = true end -- somebody saves 9, and tries it
    return stat(path, ...)
  end
  function policy.trying() return trying end
  function policy.rest()
    trying = false
    return true
  end
  function policy.try(sources)
    tried[#tried + 1] = sources["plans.lua"]:match("n = (%d)")
    return {}
  end
  following(3, function() t.wait_until(function() return #tried > 0 end, "something is tried") end)
  policy.read, fs.stat = read, stat
  t.eq(table.concat(tried, " "), "9")
end)

-- Bug: files that were read while others were being put in their places made a set that nobody had saved.
t.test("what is saved while the folder is read is not tried by half", function()
  local tried, read = {}, policy.read
  function policy.try(sources)
    tried[#tried + 1] = sources["plans.lua"]:match("n = (%d)")
    return {}
  end
  function policy.read(...)
    local sources, err = read(...)
    if #tried == 1 and sources["plans.lua"]:find("n = 7") then
      local before = reload.heard()
      save(8)
      t.wait_until(function() return reload.heard() > before end, "word of what was saved meanwhile")
    end
    return sources, err
  end
  following(0, function()
    t.wait_until(function() return #tried == 1 end, "what is there")
    save(7)
    t.wait_until(function() return tried[#tried] == "8" end, "the edit")
  end)
  policy.read = read
  t.eq(table.concat(tried, " "), "0 8")
end)

return t.done()
