-- Retry-After: seconds, or a date as HTTP writes it ("Sun, 06 Nov 1994 08:49:37 GMT").
--
--   retry_after.seconds(text or nil, now in unix ms) -> seconds, a day at most | nil: it says nothing

local time = require "time"

local M = {}

local DAY = 86400
local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

local function date(text)
  local day, month, year, clock = text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$")
  if not months[month] then return nil end
  return time.parse(("%s-%02d-%sT%sZ"):format(year, months[month], day, clock))
end

function M.seconds(text, now)
  if not text then return nil end
  local n = #text <= 15 and text:match("^%d+$") and tonumber(text)
  local at = not n and date(text)
  if at then n = (at - now) / 1000 end
  return n and math.min(DAY, math.max(0, n)) or nil
end

return M
