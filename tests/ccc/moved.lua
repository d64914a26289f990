-- `cchost serve` on a clock that is moved: cchost tests/ccc/moved.lua FILE --SETTING=VALUE ...
--
-- Time goes on as it does outside. Whoever writes unix milliseconds into FILE moves it there at once, whatever
-- falls due on the way being done there; then FILE is removed.

local time = require "time"

time.virtual(time.now())

local fs = require "fs"
local serve = require "commands.serve"
local task = require "task"

local file = ...
local over = false

local function outside() return math.floor(assert(fs.read("/proc/uptime", 64)):match("^%S+") * 1000 + 0.5) end

task.spawn(function()
  local last = outside()
  while not over do -- whatever it reads, others have their turn meanwhile
    local to, now = fs.read(file, 64), outside()
    time.advance(to and math.max(0, tonumber(to) - time.now()) or now - last)
    if to then assert(fs.remove(file)) end
    last = now
  end
end)

local code = serve.run { select(2, ...) }
over = true
return code
