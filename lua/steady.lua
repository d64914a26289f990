-- The clock that deadlines are measured on: the wall clock of when the process began, then time that never jumps.
--
-- A wall clock that is set (by hand, by NTP, by a suspended host) must not make what is under way expire, or live for
-- ever. Within a process nothing changes; a new process begins with the wall clock as it then is, so what an earlier
-- one wrote is off by no more than the jump itself.
--
--   steady.now() -> unix ms      steady.after(seconds) -> RFC 3339, so many seconds from now
--   steady.left(text) -> seconds until that time; negative when it is past

local time = require "time"

local M = {}

local start_wall, start_mono = time.now(), time.mono()

function M.now() return start_wall + (time.mono() - start_mono) end

function M.after(seconds) return time.rfc3339(math.floor(M.now() + seconds * 1000)) end

function M.left(text) return (time.parse(text) - M.now()) / 1000 end

return M
