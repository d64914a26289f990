-- The five fields of cron, as sets of numbers. Pure.
--
--   cron.parse(text) -> fields | nil, reason, field      "30 3 * * mon-fri", or @hourly @daily @weekly @monthly @yearly
--
--   fields.minute, .hour, .day, .month, .weekday   each {[number] = true}; weekdays 0 Sunday to 6 Saturday
--   fields.every_hour                              no hour is left out
--   fields:day_fits(month, day, weekday) -> boolean
--
-- A field is a list of *, numbers and ranges, * and ranges with a step: "*/15", "9-17/2", "1,15". Months and weekdays
-- have names of three letters; Sunday is 0 and 7, and ends a range ("fri-sun"). Of day and weekday, when both are
-- restricted, either is enough, as with every cron; a field that begins with * is not restricted: then both must fit.

local sorted_keys = require "sorted_keys"
local spelling = require "spelling"

local M = {}

local months = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6, jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12 }
local weekdays = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

local order = { "minute", "hour", "day", "month", "weekday" }
local kinds = {
  minute = { low = 0, high = 59, like = "0-59, such as 30 or */15" },
  hour = { low = 0, high = 23, like = "0-23, such as 3 or 9-17" },
  day = { low = 1, high = 31, like = "1-31, such as 1 or 1,15" },
  month = { low = 1, high = 12, names = months, like = "1-12 or jan-dec, such as 6 or jan-mar" },
  weekday = { low = 0, high = 7, names = weekdays, like = "0-7 or sun-sat, such as 1 or mon-fri" },
}
local short = {
  ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0",
  ["@monthly"] = "0 0 1 * *", ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *",
}

local fields_mt = {}
fields_mt.__index = fields_mt

-- The names of three letters may be meant by longer words: "monday" by mon.
local function number(kind, text)
  if text:match("^%d%d?$") then
    local n = tonumber(text)
    if n >= kind.low and n <= kind.high then return n end
    return nil, ("%d is out of range: %s"):format(n, kind.like)
  end
  local word = text:lower()
  local n = kind.names and kind.names[word]
  if n then return n end
  local meant = kind.names and word:match("^%a+$") and word:sub(1, 3)
  if meant and kind.names[meant] then return nil, ("'%s' has to be '%s'"):format(text, meant) end
  return nil, ("'%s' is not of %s"):format(text, kind.like)
end

-- What a range that goes backwards was meant to be: "22-2" is 22-23,0-2.
local function turned(kind, a, b, from, to)
  local last = kind == kinds.weekday and 6 or kind.high
  local one = from == last and a or ("%s-%d"):format(a, last)
  local two = to == kind.low and b or ("%d-%s"):format(kind.low, b)
  return ("'%s-%s' goes backwards: '%s,%s' is what it would be"):format(a, b, one, two)
end

-- "*", "5", "5-9" -> first, last, whether it may have a step | nil, reason
local function span(kind, text)
  if text == "*" then return kind.low, kind == kinds.weekday and 6 or kind.high, true end
  local a, b = text:match("^([^-]+)-([^-]+)$")
  if not a then
    local n, why = number(kind, text)
    return n, n or why, false
  end
  local from, to, why
  from, why = number(kind, a)
  if not from then return nil, why end
  to, why = number(kind, b)
  if not to then return nil, why end
  if kind == kinds.weekday and to == 0 and from > 0 then to = 7 end
  if kind == kinds.weekday and from == 7 and to < 7 then from = 0 end
  if from > to then return nil, turned(kind, a, b, from, to) end
  return from, to, true
end

-- One item of a list into `set`. -> true | nil, reason
local function item(kind, text, set)
  if text == "" then return nil, "there is nothing between two commas, or behind the last" end
  local range, step = text:match("^([^/]*)/(.*)$")
  local from, to, steps = span(kind, range or text)
  if not from then return nil, to end
  if step and not steps then
    return nil, ("'%s': a step needs a range or *: %s-%d/%s"):format(text, range, kind.high, step)
  end
  local most = kind.high - kind.low
  if step and not (step:match("^%d%d?$") and tonumber(step) >= 1 and tonumber(step) <= most) then
    return nil, ("'%s': a step of 1 to %d is expected behind /"):format(text, most)
  end
  for n = from, to, tonumber(step or 1) do set[kind == kinds.weekday and n % 7 or n] = true end
  return true
end

local function parse_field(name, text)
  local set = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    local ok, why = item(kinds[name], part, set)
    if not ok then return nil, why end
  end
  return set
end

local function from_short(text)
  if short[text] then return short[text] end
  if text == "@reboot" then return nil, "there is no @reboot: serve is one of many processes, and goes on where it was" end
  local list = sorted_keys(short)
  local near = spelling.nearest(text, list, 2)
  local hint = near and "did you mean '" .. near .. "'?" or "there are " .. table.concat(list, " ")
  return nil, ("unknown '%s'; %s"):format(text, hint)
end

function M.parse(text)
  if text:match("^%s*@") then
    local why
    text, why = from_short(text:match("^%s*(%S+)"))
    if not text then return nil, why end
  end
  local parts = {}
  for part in text:gmatch("%S+") do parts[#parts + 1] = part end
  if #parts ~= #order then
    return nil, ("five fields are expected (minute hour day month weekday, like '30 3 * * mon-fri'), not %d%s")
      :format(#parts, #parts == 6 and ": there are no seconds and no years" or "")
  end
  local self = setmetatable({}, fields_mt)
  for i, name in ipairs(order) do
    local why
    self[name], why = parse_field(name, parts[i])
    if not self[name] then return nil, why, name end
  end
  self.either = parts[3]:sub(1, 1) ~= "*" and parts[5]:sub(1, 1) ~= "*"
  self.every_hour = true
  for h = 0, 23 do self.every_hour = self.every_hour and self.hour[h] == true end
  return self
end

function fields_mt:day_fits(month, day, weekday)
  if not self.month[month] then return false end
  if self.either then return self.day[day] or self.weekday[weekday] or false end
  return self.day[day] and self.weekday[weekday] or false
end

return M
