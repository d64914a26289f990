-- The clock that deadlines are measured on: the wall clock of when serve began, then time that never jumps.
--
-- A wall clock that is set (by hand, by NTP, by a suspended host) must not make what is under way expire, or live for
-- ever. While a serve runs nothing changes; a new one begins with the wall clock as it then is, so what an earlier one
-- wrote is off by no more than the jump itself. Scripts take the clock of the serve of this boot (setup.lua), for both
-- write deadlines that the other reads.
--
--   steady.now() -> unix ms      steady.after(seconds) -> RFC 3339, so many seconds from now
--   steady.left(text) -> seconds until that time; negative when it is past
--   steady.offset() -> ms between it and time.mono();  steady.adopt(offset)

local time = require "time"

local M = {}

local offset = time.now() - time.mono()

function M.offset() return offset end

function M.adopt(ms) offset = ms end

function M.now() return time.mono() + offset end

function M.after(seconds) return time.rfc3339(math.floor(M.now() + seconds * 1000)) end

function M.left(text) return (time.parse(text) - M.now()) / 1000 end

return M
