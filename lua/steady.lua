-- The clock that deadlines are measured on: the wall clock of when serve began, then time that never jumps.
--
-- A wall clock that is set (by hand, by NTP, by a suspended host) must not make what is under way expire, or live for
-- ever. While a serve runs nothing changes; a new one begins with the wall clock as it then is, so what an earlier one
-- wrote is off by no more than the jump itself. Scripts take the clock of the serve of this boot (setup.lua), for both
-- write deadlines that the other reads.
--
--   steady.now() -> unix ms      steady.after(seconds) -> RFC 3339, so many seconds from now
--   steady.left(text) -> seconds until that time; negative when it is past
--   steady.of_wall(ms) -> ms, of a time that somebody has by the wall clock as it is now; steady.to_wall(ms) the other way
--   steady.offset() -> ms between it and time.mono();  steady.adopt(offset)

local time = require "time"

local M = {}

local offset = time.now() - time.mono()

function M.offset() return offset end

function M.adopt(ms) offset = ms end

function M.now() return time.mono() + offset end

function M.after(seconds) return time.rfc3339(math.floor(M.now() + seconds * 1000)) end

-- How far this clock is ahead of the wall clock. What is less than a second is reading and slewing, and nobody's setting: it is
-- left out, so that one time that is told twice is the same twice.
local ahead = 0
local function lead()
  local now = math.floor(M.now() - time.now())
  if math.abs(now - ahead) >= 1000 then ahead = now end
  return ahead
end

function M.of_wall(ms) return ms + lead() end

function M.to_wall(ms) return ms - lead() end

function M.left(text) return (time.parse(text) - M.now()) / 1000 end

return M
