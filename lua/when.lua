-- Times as people write them, for every command and route that takes one.
--
--   2026-11-20T12:00:00Z  2026-11-20T12:00:00+01:00  2026-11-20    a moment (a date alone: its midnight, UTC)
--   1732104000                                                     unix seconds
--   90s  15m  2h  3d  1w, each also with " ago"                    that long before now
--   now

local errors = require "errors"
local time = require "time"

local M = {}

M.hint = "a time like 2026-11-20T12:00:00Z, 2h ago, or unix seconds"

local unit = { s = 1000, m = 60000, h = 3600000, d = 86400000, w = 7 * 86400000 }
local LAST = 253402300799999 -- the last that RFC 3339 can write

local function moment(text, now)
  if text == "now" then return now end
  local n, u = text:match("^(%d+)%s?([smhdw])$")
  if not n then n, u = text:match("^(%d+)%s?([smhdw]) ago$") end
  if n then return now - tonumber(n) * unit[u] end
  if text:match("^%d+$") then return tonumber(text) * 1000 end
  if text:match("^%d%d%d%d%-%d%d%-%d%d$") then text = text .. "T00:00:00Z" end
  return (time.parse(text))
end

-- `now`: unix ms. -> unix ms | nil, err (code "invalid")
function M.parse(text, now)
  local ms = moment(text, now)
  if not ms or ms < 0 or ms > LAST then return errors.fail("invalid", M.hint .. " expected, not '" .. text:sub(1, 40) .. "'") end
  return ms
end

return M
