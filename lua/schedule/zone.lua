-- Time zones, from the system's tzdata: what a clock on a wall shows at a moment, and at which moments it shows a time.
--
--   z, err = zone.open(name)               [yields] the first time; then the zone is known. "UTC" needs no file.
--                                          err: code "invalid", with a suggestion when the name is unknown
--   offset, abbr, is_dst = z:offset(unix)  seconds east of UTC
--   z:local_time(unix) -> {year =, month =, day =, hour =, min =, sec =, wday =, yday =}, as os.date("*t") has them:
--                                          wday 1 is Sunday, yday 1 is 1 January
--   list, after_gap = z:instants(year, month, day, hour, min, sec)
--                                          the unix times, ascending, at which that is shown: one; none in a gap (when
--                                          clocks go forward), and then `after_gap` is the first instant behind it;
--                                          two in a fold (when they go back). Fields outside their range count on:
--                                          day 32 of January is 1 February.
--   z:constant(from, to) -> offset         nil when the offset may change in between
--   zone.forget()                          the next open reads the files again: tzdata may have been updated
--   zone.parse(name, bytes) -> z | nil, err    pure
--   z.name
--
-- Unix times are seconds. Files are of TZDIR, else /usr/share/zoneinfo. An open zone never changes and never waits.

local dates = require "schedule.dates"
local errors = require "errors"
local fs = require "fs"
local spelling = require "spelling"
local sys = require "sys"
local tzif = require "schedule.tzif"

local M = {}

M.folder = sys.env("TZDIR") or "/usr/share/zoneinfo"

local DAY = 86400
local REACH = 27 * 3600 -- no offset is larger (RFC 8536: -25 to 26 hours)
local HINT = "names are like Europe/Berlin"

local zone_mt = {}
zone_mt.__index = zone_mt

-- ---- moments

-- How many changes of the table have taken place.
local function passed(at, unix)
  local low, high = 0, #at
  while low < high do
    local mid = math.floor((low + high + 1) / 2)
    if at[mid] <= unix then low = mid else high = mid - 1 end
  end
  return low
end

local function type_at(self, unix)
  local data = self.data
  local n = passed(data.at, unix)
  if n == #data.at and data.rule then return data.rule:type_at(unix) end
  return n == 0 and data.first or data.types[n]
end

local function next_change(self, unix)
  local data = self.data
  local n = passed(data.at, unix)
  return data.at[n + 1] or data.rule and data.rule:next_change(unix)
end

function zone_mt:offset(unix)
  local found = type_at(self, unix)
  return found.offset, found.abbr, found.dst
end

function zone_mt:local_time(unix)
  unix = math.floor(unix)
  local wall = unix + type_at(self, unix).offset
  local n = math.floor(wall / DAY)
  local rest = wall - n * DAY
  local year, month, day = dates.civil(n)
  return {
    year = year, month = month, day = day,
    hour = math.floor(rest / 3600), min = math.floor(rest / 60) % 60, sec = rest % 60,
    wday = dates.weekday(n) + 1, yday = n - dates.number(year, 1, 1) + 1,
  }
end

function zone_mt:constant(from, to)
  local change = next_change(self, from)
  if not change or change > to then return type_at(self, from).offset end
end

-- ---- times on the wall

-- Each offset that holds somewhere near is tried: it is right if it holds at the instant that it leads to.
function zone_mt:instants(year, month, day, hour, min, sec)
  local wall = dates.number(year, month, day) * DAY + (hour or 0) * 3600 + (min or 0) * 60 + (sec or 0)
  local list, seen, after_gap = {}, {}, nil
  local at = wall - REACH
  while at and at <= wall + REACH do
    local offset = type_at(self, at).offset
    local unix = wall - offset
    if not seen[unix] and type_at(self, unix).offset == offset then list[#list + 1] = unix end
    seen[unix] = true
    if not after_gap and at > wall - REACH and at + offset > wall then after_gap = at end
    at = next_change(self, at)
  end
  table.sort(list)
  return list, #list == 0 and after_gap or nil
end

-- ---- opening

local known = {}

local function open_utc()
  local utc = { offset = 0, abbr = "UTC", dst = false }
  return setmetatable({ name = "UTC", data = { first = utc, at = {}, types = {} } }, zone_mt)
end

function M.forget() known = { UTC = open_utc() } end
M.forget()

function M.parse(name, bytes)
  local data, why = tzif.parse(bytes)
  if not data then
    return errors.fail("invalid", ("the file of the time zone %s cannot be used: %s"):format(name, why))
  end
  return setmetatable({ name = name, data = data }, zone_mt)
end

local function plain(name) return (name:lower():gsub("[ -]", "_")) end

-- The name in the table of places that is nearest to this one, or to whose city it is; or nil.
local function suggestion(name)
  local table_text = fs.read(M.folder .. "/zone1970.tab") or fs.read(M.folder .. "/zone.tab") or ""
  local names, list = { utc = "UTC" }, { "utc" }
  for known_name in ("\n" .. table_text):gmatch("\n[^#\n\t]+\t[^\t\n]+\t([%w_+/-]+)") do
    for _, key in ipairs { plain(known_name), plain(known_name:match("[^/]+$")) } do
      if not names[key] then names[key], list[#list + 1] = known_name, key end
    end
  end
  local key = plain(name)
  return names[key] or names[spelling.nearest(key, list, #key < 4 and 1 or 2)]
end

-- A folder or any other file that is no zone counts as unknown, too.
local function unknown(name, bytes)
  local near = suggestion(name)
  if near then return errors.fail("invalid", ("unknown time zone '%s'; did you mean '%s'?"):format(name, near)) end
  if not bytes and not fs.stat(M.folder .. "/Etc/UTC", true) then
    return errors.fail("invalid", ("unknown time zone '%s': there is no tzdata in %s; install the package tzdata")
      :format(name, M.folder))
  end
  return errors.fail("invalid", ("unknown time zone '%s'; %s"):format(name, HINT))
end

local function well_formed(name)
  return type(name) == "string" and #name <= 64 and name:match("^%a[%w_+/-]*$") and not name:match("//") and not name:match("/$")
end

function M.open(name)
  if known[name] then return known[name] end
  if not well_formed(name) then
    local text = type(name) == "string" and ("'%s'"):format(name:sub(1, 64)) or "a " .. type(name)
    return errors.fail("invalid", ("the name of a time zone is expected, not %s; %s"):format(text, HINT))
  end
  local bytes, err = fs.read(M.folder .. "/" .. name, 1048576)
  if not bytes and err.code == "cancelled" then return nil, err end
  if not bytes or bytes:sub(1, 4) ~= "TZif" then return unknown(name, bytes) end
  local z
  z, err = M.parse(name, bytes)
  if z then known[name] = z end
  return z, err
end

return M
