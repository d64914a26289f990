-- When the next request may be sent: never more than so many within any minute, first come, first served.
--
--   rate = rate.new(a_minute [, clock])       clock: {now = fn() -> ms, sleep = fn(seconds) -> true | nil, err}; the host's
--   true | nil, err = rate:take(seconds, share)   [yields] waits for its turn, `seconds` at most: else code "unavailable",
--       with retry_after. share (1): of the minute's requests, at most which part this one counts itself among: what can wait
--       leaves room for what cannot

local errors = require "errors"
local task = require "task"
local time = require "time"

local M = {}
local Rate = {}
Rate.__index = Rate

local MINUTE = 60500 -- ms; half a second for what is late on its way

function M.new(a_minute, clock)
  return setmetatable({ most = a_minute, sent = {}, clock = clock or { now = time.mono, sleep = task.sleep } }, Rate)
end

-- The turn after those that were given, and not more than `most` in a minute.
local function turn(self, most, now)
  local sent = self.sent
  local last, before = sent[#sent], sent[#sent + 1 - most]
  return math.max(now, last or now, before and before + MINUTE or now)
end

-- One that leaves room for others takes no turn ahead of time: those others would have to wait behind it.
function Rate:take(seconds, share)
  local most = math.max(1, math.floor(self.most * (share or 1)))
  local ends = self.clock.now() + seconds * 1000
  while true do
    local now = self.clock.now()
    local at = turn(self, most, now)
    if at > ends then
      return errors.fail("unavailable", ("%d requests a minute are all that may be sent"):format(self.most),
        { retryable = true, retry_after = math.ceil((at - now) / 1000) })
    end
    local mine = at <= now or most == self.most
    if mine then self.sent[#self.sent + 1] = at end
    if #self.sent > self.most then table.remove(self.sent, 1) end
    if at <= now then return true end
    local ok, err = self.clock.sleep((at - now) / 1000)
    if mine or not ok then return ok, err end
  end
end

return M
