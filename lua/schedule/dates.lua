-- Days of the Gregorian calendar as numbers, without a clock, a zone or a C library: day 0 is 1 January 1970.
--
--   dates.number(year, month, day) -> day number; a day or month outside its range counts on from there
--   dates.civil(number) -> year, month, day
--   dates.weekday(number) -> 0 Sunday to 6 Saturday
--   dates.length(year, month) -> days in that month

local M = {}

local floor = math.floor

function M.number(year, month, day)
  year = year + floor((month - 1) / 12)
  month = (month - 1) % 12 + 1
  if month <= 2 then year = year - 1 end -- a year that begins in March ends with its leap day
  local era = floor(year / 400)
  local of_era = year - era * 400
  local of_year = floor((153 * ((month + 9) % 12) + 2) / 5)
  return era * 146097 + of_era * 365 + floor(of_era / 4) - floor(of_era / 100) + of_year + day - 1 - 719468
end

function M.civil(number)
  local n = number + 719468
  local era = floor(n / 146097)
  local day = n - era * 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  local m = floor((5 * day + 2) / 153)
  local month = m < 10 and m + 3 or m - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day - floor((153 * m + 2) / 5) + 1
end

function M.weekday(number) return (number + 4) % 7 end

function M.length(year, month) return M.number(year, month + 1, 1) - M.number(year, month, 1) end

return M
