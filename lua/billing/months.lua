-- Calendar months in UTC, and months from any day on, as Stripe counts them. Pure; unix ms.
--
--   months.from(t) -> the beginning of the month of `t`       months.after(t) -> of the next one
--   months.later(t, n, day) -> `t` and n months; a month that is too short ends it on its last day. `day`: of the month that
--       is meant (31, though February has made it 28)
--   months.parse("2026-11") -> from, to | nil      months.name(t) -> "2026-11"

local time = require "time"

local M = {}

local function parts(t)
  local y, m, d, rest = time.rfc3339(t):match("^(%d+)-(%d+)-(%d+)(T.*)$")
  return tonumber(y), tonumber(m), tonumber(d), rest
end

local function at(y, m, d, rest)
  y, m = y + math.floor((m - 1) / 12), (m - 1) % 12 + 1
  return time.parse(("%04d-%02d-%02d%s"):format(y, m, d, rest or "T00:00:00.000Z"))
end

local function length(y, m) return math.floor((at(y, m + 1, 1) - at(y, m, 1)) / 86400000 + 0.5) end

function M.from(t)
  local y, m = parts(t)
  return at(y, m, 1)
end

function M.after(t)
  local y, m = parts(t)
  return at(y, m + 1, 1)
end

function M.day(t)
  local _, _, d = parts(t)
  return d
end

function M.later(t, n, day)
  local y, m, d, rest = parts(t)
  m = m + n
  return at(y, m, math.min(day or d, length(y, m)), rest)
end

function M.parse(text)
  local y, m = text:match("^(%d%d%d%d)-(%d%d)$")
  m = tonumber(m)
  if not m or m < 1 or m > 12 then return nil end
  return at(tonumber(y), m, 1), at(tonumber(y), m + 1, 1)
end

function M.name(t) return time.rfc3339(t):sub(1, 7) end

return M
