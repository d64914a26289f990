-- `cchost serve` on a clock that is moved: cchost tests/ccc/moved.lua FILE --SETTING=VALUE ...
--
-- Time goes on by itself, faster than anybody's watch. Whoever writes unix milliseconds into FILE moves it there at once, whatever
-- falls due on the way being done there; then FILE is removed.

local time = require "time"

time.virtual(time.now())

local fs = require "fs"
local serve = require "commands.serve"
local task = require "task"

local file = ...
local over = false

task.spawn(function()
  while not over do
    local text = fs.read(file, 64) -- others have their turn meanwhile
    time.advance(text and math.max(1, tonumber(text) - time.now()) or 1)
    if text then assert(fs.remove(file)) end
  end
end)

local code = serve.run { select(2, ...) }
over = true
return code
