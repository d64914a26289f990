-- The rule at the end of a time zone's file, which holds for all times behind its table: a POSIX TZ string with the
-- extensions of RFC 8536 ("CET-1CEST,M3.5.0,M10.5.0/3", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0").
--
--   posix_tz.parse(text) -> rule | nil, reason        pure; the reason is a sentence's end
--   rule:type_at(unix) -> {offset = seconds east, abbr =, dst = boolean}
--   rule:next_change(unix) -> the first change after that time, or nil: there is never one
--
-- Forms of a day: Mm.w.d (week 5 is the last), Jn (1 to 365, 29 February not counted), n (0 to 365). Times of day are
-- -167 to 167 hours; without one it is 02:00. Daylight saving time without its two days is refused: POSIX leaves to
-- the system what that means.

local dates = require "schedule.dates"

local M = {}

local DAY = 86400
local KEPT_YEARS = 400

local rule_mt = {}
rule_mt.__index = rule_mt

-- ---- reading. Each takes the text from a position and gives what it read and the position behind it.

local function abbreviation(text, at)
  local name, after = text:match("^<([%w+-]+)>()", at)
  if not name then name, after = text:match("^(%a+)()", at) end
  if name and #name >= 3 then return name, after end
end

-- [+-]hh[:mm[:ss]] -> seconds
local function clock(text, at, most_hours)
  local sign, h, after = text:match("^([+-]?)(%d%d?%d?)()", at)
  if not h or tonumber(h) > most_hours then return nil end
  local seconds = tonumber(h) * 3600
  for _, unit in ipairs { 60, 1 } do
    local n, behind = text:match("^:(%d%d)()", after)
    if not n then break end
    if tonumber(n) > 59 then return nil end
    seconds, after = seconds + tonumber(n) * unit, behind
  end
  return sign == "-" and -seconds or seconds, after
end

local function between(n, low, high) return n and tonumber(n) >= low and tonumber(n) <= high end

local function day(text, at)
  local m, w, d, after = text:match("^M(%d+)%.(%d)%.(%d)()", at)
  if m then
    if not (between(m, 1, 12) and between(w, 1, 5) and between(d, 0, 6)) then return nil end
    return { month = tonumber(m), week = tonumber(w), weekday = tonumber(d) }, after
  end
  local n
  n, after = text:match("^J(%d+)()", at)
  if n then return between(n, 1, 365) and { julian = tonumber(n) } or nil, after end
  n, after = text:match("^(%d+)()", at)
  return between(n, 0, 365) and { zero = tonumber(n) } or nil, after
end

-- ",day[/time]"
local function change(text, at)
  if text:sub(at, at) ~= "," then return nil end
  local c
  c, at = day(text, at + 1)
  if not c then return nil end
  c.time = 2 * 3600
  if text:sub(at, at) == "/" then
    c.time, at = clock(text, at + 1, 167)
    if not c.time then return nil end
  end
  return c, at
end

local function parse_type(text, at, dst, default)
  local name, seconds
  name, at = abbreviation(text, at)
  if not name then return nil end
  if default and not text:match("^[+%d-]", at) then return { abbr = name, offset = default, dst = dst }, at end
  seconds, at = clock(text, at, 24)
  if not seconds then return nil end
  return { abbr = name, offset = 0 - seconds, dst = dst }, at -- POSIX counts west
end

function M.parse(text)
  local std, at = parse_type(text, 1, false)
  if not std then return nil, "it does not begin with a name and an offset" end
  local self = setmetatable({ std = std, text = text }, rule_mt)
  if at > #text then return self end
  self.dst, at = parse_type(text, at, true, std.offset + 3600)
  if not self.dst then return nil, "a name for daylight saving time is expected behind the offset" end
  self.begins, at = change(text, at)
  if self.begins then self.ends, at = change(text, at) end
  if not self.ends then return nil, "two days of change like ,M3.5.0,M10.5.0/3 are expected" end
  if at <= #text then return nil, "there is something behind it" end
  self.years, self.kept = {}, 0
  return self
end

-- ---- using it

-- The day number of a change in a year.
local function day_of(c, year)
  if c.zero then return dates.number(year, 1, 1) + c.zero end
  if c.julian then
    local leap = c.julian >= 60 and dates.length(year, 2) == 29
    return dates.number(year, 1, c.julian) + (leap and 1 or 0)
  end
  local first = dates.number(year, c.month, 1)
  local n = first + (c.weekday - dates.weekday(first)) % 7 + 7 * (c.week - 1)
  return n < first + dates.length(year, c.month) and n or n - 7
end

-- The unix times at which daylight saving time begins and ends in a year.
function rule_mt:changes(year)
  local known = self.years[year]
  if not known then
    if self.kept == KEPT_YEARS then self.years, self.kept = {}, 0 end
    known = {
      day_of(self.begins, year) * DAY + self.begins.time - self.std.offset,
      day_of(self.ends, year) * DAY + self.ends.time - self.dst.offset,
    }
    self.years[year], self.kept = known, self.kept + 1
  end
  return known[1], known[2]
end

local function year_of(unix) return (dates.civil(math.floor(unix / DAY))) end

-- Of two changes at one time the beginning counts: so a zone writes that it has daylight saving time all year round.
function rule_mt:type_at(unix)
  if not self.dst then return self.std end
  local year, best, found = year_of(unix), -math.huge, self.std
  for y = year - 1, year + 1 do
    local begins, ends = self:changes(y)
    if ends <= unix and ends >= best then best, found = ends, self.std end
    if begins <= unix and begins >= best then best, found = begins, self.dst end
  end
  return found
end

function rule_mt:next_change(unix)
  if not self.dst then return nil end
  local year, best = year_of(unix), math.huge
  for y = year - 1, year + 2 do
    local begins, ends = self:changes(y)
    if begins > unix and begins < best then best = begins end
    if ends > unix and ends < best then best = ends end
  end
  return best
end

return M
