-- When something is due: at an interval, or at times of a calendar in a time zone.
--
--   rule, err = calendar.parse{ every = "5m" }                  a number with s, m, h, d or w; or seconds
--   rule, err = calendar.parse{ at = "30 3 * * mon-fri", zone = "Europe/Berlin" }   cron (cron.lua); zone: else UTC
--                                [yields] when the zone was not opened yet. err: code "invalid", field = "every", "at",
--                                "zone" or the name of the field of cron
--   rule:next(after) -> unix     the first time later than `after`; nil: never again ("0 0 30 2 *")
--   rule:previous(at) -> unix    the last time that is not later than `at`; nil: there was none
--   rule.text                    the rule in one line, for people; two rules of the same text are the same
--
-- Times are unix seconds. Both answer in bounded time, do not wait, and depend on nothing but the rule and the argument:
-- all hosts say the same. What is every 5 minutes is due when the unix time is divisible by 300, not 5 minutes after
-- somebody's start; `every` knows no zone and no daylight saving time.
--
-- Daylight saving time, for `at`:
--   a rule that leaves hours out ("30 2 * * *", "0 */2 * * *") means times on the wall. One that the clock skips is due
--   at the first instant behind the gap, once, however many fall into it, and not again if that instant is a time of the
--   rule anyhow. One that comes twice is due the first time only. So each day has its run, and one.
--   a rule for every hour ("*/10 * * * *") means elapsed time. It is due whenever the clock shows one of its minutes:
--   both times that one comes twice, and not for what is skipped. So a job of every hour has its run in every real
--   hour, and one. (Where clocks move by 30 minutes, on Lord Howe, an hour of that night is longer or shorter by as much.)
-- What is the same for all: a day that does not exist (Apia, 30 December 2011) is a gap like any other, and the days of
-- a rule are those on the wall.

local cron = require "schedule.cron"
local dates = require "schedule.dates"
local errors = require "errors"
local spelling = require "spelling"
local zone = require "schedule.zone"

local M = {}

local DAY = 86400
local MOST = 366 * DAY          -- the longest interval
local YEARS = 41                -- 29 February can be no Sunday for 40 years
local KEPT_DAYS = 16
local REACH = 27 * 3600         -- no zone is further from UTC
local units = { s = 1, m = 60, h = 3600, d = DAY, w = 7 * DAY }
local options = { "every", "at", "zone" }

-- ---- intervals

local every_mt = {}
every_mt.__index = every_mt

function every_mt:next(after) return (math.floor(after / self.seconds) + 1) * self.seconds end

function every_mt:previous(at) return math.floor(at / self.seconds) * self.seconds end

local function bad_every(value, why)
  local shown = type(value) == "string" and "'" .. value:sub(1, 40) .. "'" or tostring(value)
  return errors.fail("invalid", ("every: %s %s; an interval like \"5m\", \"1h\" or 300 (seconds) is expected"):format(shown, why),
    { field = "every" })
end

local function parse_every(value)
  local seconds = value
  if type(value) == "string" then
    local n, unit = value:match("^(%d+)%s?([smhdw])$")
    if not n then return bad_every(value, "is no interval") end
    seconds = tonumber(n) * units[unit]
  elseif type(value) ~= "number" then
    return bad_every(value, "is no interval")
  end
  if seconds ~= math.floor(seconds) then return bad_every(value, "is not whole") end
  if seconds < 1 then return bad_every(value, "is too short") end
  if seconds > MOST then return bad_every(value, "is longer than a year") end
  return setmetatable({ seconds = seconds, text = ("every %d s"):format(seconds) }, every_mt)
end

-- ---- the times of one day

local at_mt = {}
at_mt.__index = at_mt

local function add(list, unix)
  if list[#list] ~= unix then list[#list + 1] = unix end
end

-- Day `n` is one without a change near it: all its times are the same distance from UTC.
local function quiet_day(self, n, offset)
  local list, from = {}, n * DAY - offset
  for _, minute in ipairs(self.minutes) do list[#list + 1] = from + minute * 60 end
  return list
end

-- Times on the wall: the first instant that shows each, or the end of the gap that it is in.
local function fixed_day(self, year, month, day)
  local list = {}
  for _, minute in ipairs(self.minutes) do
    local instants, after_gap = self.zone:instants(year, month, day, 0, minute)
    local unix = instants[1] or after_gap
    if unix then add(list, unix) end
  end
  return list
end

-- Every instant that shows one of the minutes.
local function elapsed_day(self, year, month, day)
  local list = {}
  for _, minute in ipairs(self.minutes) do
    for _, unix in ipairs(self.zone:instants(year, month, day, 0, minute)) do list[#list + 1] = unix end
  end
  table.sort(list)
  return list
end

-- The times of day `n`, ascending. The last few days are kept: whoever walks along asks for them again and again.
local function times_of(self, n)
  if self.days[n] then return self.days[n] end
  local year, month, day = dates.civil(n)
  local list = {}
  if self.fields:day_fits(month, day, dates.weekday(n)) then
    local offset = self.zone:constant(n * DAY - REACH, (n + 1) * DAY + REACH)
    if offset then
      list = quiet_day(self, n, offset)
    elseif self.fields.every_hour then
      list = elapsed_day(self, year, month, day)
    else
      list = fixed_day(self, year, month, day)
    end
  end
  if self.kept == KEPT_DAYS then self.days, self.kept = {}, 0 end
  self.days[n], self.kept = list, self.kept + 1
  return list
end

-- ---- the next and the one before

local function first_later(list, after)
  local low, high = 1, #list + 1
  while low < high do
    local mid = math.floor((low + high) / 2)
    if list[mid] > after then high = mid else low = mid + 1 end
  end
  return low
end

-- The next day number behind `n` (step 1) or before it (-1) in a month that the rule knows.
local function step_day(self, n, step)
  n = n + step
  local year, month = dates.civil(n)
  for _ = 1, 12 do
    if self.fields.month[month] then return n end
    if step > 0 then month = month + 1 end
    n = dates.number(year, month, 1) + (step > 0 and 0 or -1)
    year, month = dates.civil(n)
  end
  return n
end

-- Walks the days from the one before `unix` (or after it, backwards). pick(list) gives the best time of a day, if any.
-- A fold at midnight lets the times of two days overlap: so the day behind the first that has one is asked, too.
local function walk(self, unix, step, pick)
  if self.never then return nil end
  local n = math.floor((unix + self.zone:offset(unix)) / DAY) - 2 * step
  local last = n + step * YEARS * 366
  local found
  while (last - n) * step > 0 do
    n = step_day(self, n, step)
    local best = pick(times_of(self, n))
    if found then return best and (best - found) * step < 0 and best or found end
    found = best
  end
  return found
end

function at_mt:next(after)
  return walk(self, after, 1, function(list) return list[first_later(list, after)] end)
end

function at_mt:previous(at)
  return walk(self, at, -1, function(list) return list[first_later(list, at) - 1] end)
end

-- ---- parsing

-- Whether no year has a day that fits: months that are too short for all the days.
local function never(fields)
  if fields.either then return false end
  for month in pairs(fields.month) do
    for day in pairs(fields.day) do
      if day <= dates.length(2024, month) then return false end
    end
  end
  return true
end

local function minutes_of(fields)
  local list = {}
  for minute = 0, 1439 do
    if fields.hour[math.floor(minute / 60)] and fields.minute[minute % 60] then list[#list + 1] = minute end
  end
  return list
end

local function parse_at(text, name)
  if type(text) ~= "string" then
    return errors.fail("invalid", "at: five fields of cron like '30 3 * * mon-fri' are expected, not a " .. type(text),
      { field = "at" })
  end
  local fields, why, field = cron.parse(text)
  if not fields then
    local place = field and field .. ": " or ""
    return errors.fail("invalid", ("at '%s': %s%s"):format(text:sub(1, 80), place, why), { field = field or "at" })
  end
  local z, err = zone.open(name or "UTC")
  if not z then
    if err.code == "invalid" then err = errors.new("invalid", "zone: " .. err.message, { field = "zone" }) end
    return nil, err
  end
  return setmetatable({
    fields = fields, zone = z, minutes = minutes_of(fields), never = never(fields), days = {}, kept = 0,
    text = ("%s %s"):format(text:gsub("%s+", " "):match("^ ?(.-) ?$"), z.name),
  }, at_mt)
end

local function check_options(spec)
  for name in pairs(spec) do
    if name ~= "every" and name ~= "at" and name ~= "zone" then
      local near = type(name) == "string" and spelling.nearest(name, options, 2)
      local hint = near and "did you mean '" .. near .. "'?" or "a rule has every, or at and zone"
      return errors.fail("invalid", ("unknown '%s'; %s"):format(tostring(name), hint), { field = tostring(name) })
    end
  end
  return true
end

function M.parse(spec)
  if type(spec) ~= "table" then
    return errors.fail("invalid", "a rule like { every = \"5m\" } or { at = \"30 3 * * *\", zone = \"UTC\" } is expected, not a "
      .. type(spec))
  end
  local ok, err = check_options(spec)
  if not ok then return nil, err end
  if (spec.every == nil) == (spec.at == nil) then
    return errors.fail("invalid", "a rule has either every or at, and this one has " .. (spec.at and "both" or "none"),
      { field = "at" })
  end
  if spec.at ~= nil then return parse_at(spec.at, spec.zone) end
  if spec.zone ~= nil then
    return errors.fail("invalid", "zone: it means nothing for every; 'at' has one", { field = "zone" })
  end
  return parse_every(spec.every)
end

return M
