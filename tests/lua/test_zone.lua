-- Time zones: against Python's zoneinfo, which reads the same files by other code, and by hand where that has no word.
local t = require "t"
local dates = require "schedule.dates"
local json = require "json"
local sys = require "sys"
local tzif = require "schedule.tzif"
local posix_tz = require "schedule.posix_tz"
local zone = require "schedule.zone"

local names = {
  "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu",
  "Pacific/Apia", "Antarctica/Troll", "Europe/Dublin", "America/Nuuk", "America/St_Johns", "Asia/Gaza", "Africa/Monrovia",
  "America/Asuncion", "Pacific/Kwajalein", "Etc/GMT+12", "Asia/Tokyo", "UTC",
}

-- Prints for every zone: instants with offset, name and dst, and times on the wall with the instants that show them.
local oracle = [[
import json, sys, random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo
UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
def at(unix, z): return (EPOCH + timedelta(seconds=unix)).astimezone(z)
def total(d): return int(d.total_seconds())
rnd = random.Random(5)
out = {}
for name in json.load(sys.stdin):
    z = ZoneInfo(name)
    first, last = -2 * 10**9, 4102444800 + 366 * 86400
    marks = {rnd.randrange(first, last) for _ in range(200)}
    changes, step, u = [], 7 * 86400, first
    while u < last:
        if at(u, z).utcoffset() != at(u + step, z).utcoffset():
            low, high = u, u + step
            while high - low > 1:
                mid = (low + high) // 2
                if at(mid, z).utcoffset() == at(u, z).utcoffset(): low = mid
                else: high = mid
            changes.append(high)
        u += step
    for c in changes:
        for d in (-86400, -3601, -3600, -1800, -1, 0, 1, 1799, 1800, 3599, 3600, 86400): marks.add(c + d)
    instants, walls = [], {}
    for u in sorted(marks):
        l = at(u, z)
        instants.append([u, total(l.utcoffset()), l.tzname(), 1 if l.dst() else 0, l.year, l.month, l.day, l.hour, l.minute,
            l.second, (l.weekday() + 1) % 7 + 1, l.timetuple().tm_yday])
        for shift in (0, 1800, -1800, 3600):
            w = l.replace(tzinfo=None, fold=0) + timedelta(seconds=shift)
            key = w.strftime("%Y %m %d %H %M %S")
            if key in walls: continue
            found = set()
            for fold in (0, 1):
                a = w.replace(tzinfo=z, fold=fold).astimezone(UTC)
                if a.astimezone(z).replace(tzinfo=None, fold=0) == w: found.add(total(a - EPOCH))
            walls[key] = sorted(found)
    out[name] = {"instants": instants, "walls": walls, "changes": changes}
json.dump(out, sys.stdout)
]]

local function ask_python()
  local r, err = sys.run { "python3", "-c", oracle, input = json.encode(names), timeout = 100, max = 64 * 1048576 }
  if not r then
    t.eq(err.code, "not_found")
    return nil
  end
  if r.exit ~= 0 then error(r.stderr) end
  return json.decode(r.stdout)
end

local told = ask_python()

local function compare(name, data)
  local z = assert(zone.open(name))
  for _, i in ipairs(data.instants) do
    local what = name .. " at " .. i[1]
    local offset, abbr, dst = z:offset(i[1])
    t.eq(offset, i[2], what); t.eq(abbr, i[3], what); t.eq(dst, i[4] == 1, what)
    local l = z:local_time(i[1])
    for n, field in ipairs { "year", "month", "day", "hour", "min", "sec", "wday", "yday" } do
      t.eq(l[field], i[4 + n], what .. " " .. field)
    end
  end
  local shapes = {}
  for wall, want in pairs(data.walls) do
    local y, mo, d, h, mi, s = wall:match("(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)")
    local got, after_gap = z:instants(tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi), tonumber(s))
    t.eq(table.concat(got, " "), table.concat(want, " "), name .. " " .. wall)
    shapes[#got] = (shapes[#got] or 0) + 1
    t.eq(after_gap ~= nil, #got == 0, name .. " " .. wall)
    if after_gap then
      local before, after = z:offset(after_gap - 1), z:offset(after_gap)
      local asked = dates.number(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + h * 3600 + mi * 60 + s
      t.ok(after_gap + before <= asked and asked < after_gap + after, name .. " " .. wall .. " behind the gap")
    end
  end
  return shapes
end

for _, name in ipairs(names) do
  local title = name .. " is as Python has it, from 1906 to 2100, around each change"
  if not told then
    t.skip(title, "no python3")
  else
    t.test(title, function()
      local shapes = compare(name, told[name])
      t.ok(#told[name].instants >= 190)
      if #told[name].changes > 5 then t.ok(shapes[0] and shapes[1] and shapes[2]) end
    end)
  end
end

-- ---- by hand

local function wall(z, ...)
  local list, after_gap = z:instants(...)
  return table.concat(list, " ") .. (after_gap and "-> " .. after_gap or "")
end

t.test("gaps, folds and a day that was left out, by hand", function()
  local berlin = assert(zone.open "Europe/Berlin")
  t.eq(wall(berlin, 2026, 3, 29, 2, 30, 0), "-> 1774746000")            -- 01:00 UTC, 03:00 there
  t.eq(wall(berlin, 2026, 10, 25, 2, 30, 0), "1792888200 1792891800")
  t.eq(wall(berlin, 2026, 7, 1, 12, 0, 0), "1782900000")
  t.eq(wall(berlin, 2026, 6, 31, 12, 0, 0), "1782900000")
  t.eq(wall(berlin, 2098, 3, 30, 2, 0, 0), "-> 4046979600")             -- behind the table: the last line of the file
  t.eq(select(2, berlin:offset(4046979600)), "CEST")
  local apia = assert(zone.open "Pacific/Apia")
  t.eq(wall(apia, 2011, 12, 30, 9, 0, 0), "-> 1325239200")
  t.eq(apia:local_time(1325239200).day, 31)
  t.eq(apia:local_time(1325239199).day, 29)
  local howe = assert(zone.open "Australia/Lord_Howe")
  t.eq(wall(howe, 2026, 10, 4, 2, 15, 0), "-> 1791041400")
end)

t.test("a constant offset is told only when there is one", function()
  local z = assert(zone.open "Europe/Berlin")
  t.eq(z:constant(1774746000 - 86400, 1774746000 - 1), 3600)
  t.eq(z:constant(1774746000 - 86400, 1774746000), nil)
  t.eq(z:constant(1774746000, 1774746000 + 86400), 7200)
  t.eq(assert(zone.open "UTC"):constant(-1e11, 1e11), 0)
end)

t.test("UTC needs no file, and an open zone none any more", function()
  local folder = zone.folder
  assert(zone.open "Asia/Tokyo")
  zone.folder = "/nonexistent"
  t.eq(assert(zone.open "UTC"):local_time(0).year, 1970)
  t.eq(assert(zone.open "Asia/Tokyo"):offset(0), 32400)
  zone.forget()
  local z, err = zone.open "Asia/Tokyo"
  zone.folder = folder
  t.eq(z, nil); t.eq(err.code, "invalid"); t.match(err.message, "install the package tzdata")
  t.ok(zone.open "Asia/Tokyo")
end)

t.test("unknown names get a suggestion, names that lead elsewhere none", function()
  for name, want in pairs {
    ["Europe/Berln"] = "Europe/Berlin", ["europe/berlin"] = "Europe/Berlin", Berlin = "Europe/Berlin", utc = "UTC",
    ["new york"] = false, ["New_York"] = "America/New_York", ["Asia/Kathmando"] = "Asia/Kathmandu",
  } do
    local z, err = zone.open(name)
    t.eq(z, nil, name); t.eq(err.code, "invalid")
    if want then t.match(err.message, "did you mean '" .. want .. "'%?$") end
  end
  for _, name in ipairs {
    "", "/etc/passwd", "../../etc/passwd", "Europe/../UTC", "Europe//Berlin", "Europe/", "Europe/Berlin\0", "Europe",
    "zone1970.tab", "Nowhere/Atall", ("x"):rep(65), 7, {},
  } do
    local z, err = zone.open(name)
    t.eq(z, nil); t.eq(err.code, "invalid"); t.match(err.message, "Europe/Berlin$")
  end
end)

-- ---- rules and bytes

local function rule(text) return assert(posix_tz.parse(text)) end

t.test("rules: days by number, times before midnight and behind it, names in brackets", function()
  local r = rule "<-02>2<-01>,M3.5.0/-1,M10.5.0/0"
  t.eq(r.std.offset, -7200); t.eq(r.dst.abbr, "-01")
  t.eq(r:changes(2026), 1774746000) -- Saturday 28 March 23:00
  r = rule "EET-2EEST,M3.4.4/50,M10.4.4/50"
  t.eq(r:changes(2026), dates.number(2026, 3, 28) * 86400) -- Thursday 26 March and 50 hours, less 2
  local _, ends = rule("AAA3BBB,J59/0,J60/0"):changes(2024)
  t.eq(ends, dates.number(2024, 3, 1) * 86400 + 2 * 3600)
  _, ends = rule("AAA3BBB,58/0,59/0"):changes(2024)
  t.eq(ends, dates.number(2024, 2, 29) * 86400 + 2 * 3600)
  t.eq(rule("AAA-5:30:15").std.offset, 19815)
  t.eq(rule("AAA-24").std.offset, 86400)
end)

t.test("rules: daylight saving time all year round, and the southern half", function()
  for _, text in ipairs { "EST5EDT,0/0,J365/25", "XXX3EDT4,0/0,J365/23" } do
    local r = rule(text)
    for day = 0, 3000 do t.eq(r:type_at(day * 43200 + 1800000000).abbr, "EDT", text) end
    t.eq(r:type_at(dates.number(2030, 1, 1) * 86400 + (text:match("^EST") and 5 or 3) * 3600).dst, true)
  end
  local south = rule "AEST-10AEDT,M10.1.0,M4.1.0/3"
  t.eq(south:type_at(dates.number(2040, 1, 1) * 86400).abbr, "AEDT")
  t.eq(south:type_at(dates.number(2040, 7, 1) * 86400).abbr, "AEST")
  t.eq(south:next_change(dates.number(2040, 12, 1) * 86400), dates.number(2041, 4, 6) * 86400 + 16 * 3600)
end)

t.test("rules that are none are refused", function()
  for _, text in ipairs {
    "", "A1", "CET", "CET-25", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
    "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J5", "CET-1CEST,366,1", "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1:60", "<CET-1",
    "CET-1CEST,M3.5.0,M10.5.0x", "CET-1CEST,M3.5.0,M10.5.0/", "CET-1 ",
  } do
    local r, why = posix_tz.parse(text)
    t.eq(r, nil, text); t.eq(type(why), "string", text)
  end
end)

local function u32(n)
  return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
end

-- A slim file: an empty old block, changes in the new one, a footer.
local function file(o)
  local function header(time, type_count, char, leap)
    local counts = u32(0) .. u32(0) .. u32(leap or 0) .. u32(time) .. u32(type_count) .. u32(char)
    return "TZif" .. (o.version or "2") .. ("\0"):rep(15) .. counts
  end
  local block = {}
  for _, at in ipairs(o.at) do block[#block + 1] = u32(math.floor(at / 2 ^ 32)) .. u32(at % 2 ^ 32) end
  for _, n in ipairs(o.types) do block[#block + 1] = string.char(n) end
  block[#block + 1] = u32(3600) .. "\0\0" .. u32(2 ^ 32 - 3600) .. "\1\4" .. "ONE\0TWO\0"
  return header(0, 1, 1) .. ("\0"):rep(7) .. header(#o.at, 2, 8, o.leap) .. table.concat(block)
    .. ("\0"):rep((o.leap or 0) * 12) .. "\n" .. (o.footer or "") .. "\n"
end

t.test("files: a slim one, times of 64 bits, no footer, no change", function()
  local z = assert(zone.parse("x", file { at = { -2 ^ 40, 100, 2 ^ 33 }, types = { 1, 0, 1 } }))
  t.eq(z:offset(-2 ^ 41), 3600); t.eq(z:offset(-2 ^ 40), -3600); t.eq(z:offset(99), -3600); t.eq(z:offset(100), 3600)
  t.eq(z:offset(2 ^ 33 - 1), 3600); t.eq(z:offset(2 ^ 33), -3600); t.eq(z:offset(2 ^ 40), -3600)
  z = assert(zone.parse("x", file { at = { 100 }, types = { 1 }, footer = "UTC0" }))
  t.eq(z:offset(99), 3600); t.eq(z:offset(100), 0)
  z = assert(zone.parse("x", file { at = {}, types = {}, footer = "<+05>-5" }))
  t.eq(z:offset(-1e10), 18000)
  t.eq(assert(zone.parse("x", file { at = {}, types = {} })):offset(0), 3600)
end)

t.test("files: what is no zone is refused, and every cut and every changed byte does no harm", function()
  for why, bytes in pairs {
    ["begin with TZif"] = "", ["too early"] = "TZif2", ["version 1"] = file { at = {}, types = {}, version = "\0" },
    ["leap seconds"] = file { at = {}, types = {}, leap = 1 }, ["to no type"] = file { at = { 1 }, types = { 2 } },
    ["out of order"] = file { at = { 2, 1 }, types = { 0, 1 } },
    ["cannot be read"] = file { at = {}, types = {}, footer = "CET" },
  } do
    local z, err = zone.parse("Some/Zone", bytes)
    t.eq(z, nil, why); t.match(err.message, "^the file of the time zone Some/Zone cannot be used: .*" .. why)
  end
  local whole = file { at = { -5, 100, 200 }, types = { 1, 0, 1 }, footer = "CET-1CEST,M3.5.0,M10.5.0/3" }
  for n = 0, #whole - 1 do t.eq((tzif.parse(whole:sub(1, n))), nil, n) end
  for n = 1, #whole do
    for _, by in ipairs { 1, 127, 128, 255 } do
      local data = tzif.parse(whole:sub(1, n - 1) .. string.char((whole:byte(n) + by) % 256) .. whole:sub(n + 1))
      if data and data.rule then t.ok(data.rule:type_at(1e9).offset) end
    end
  end
end)

t.test("dates: every day of eight hundred years, there and back", function()
  local year, month, day = 1700, 1, 1
  for n = dates.number(1700, 1, 1), dates.number(2500, 1, 1) do
    local y, m, d = dates.civil(n)
    if y ~= year or m ~= month or d ~= day or dates.number(y, m, d) ~= n then t.eq(("%d-%d-%d"):format(y, m, d), n) end
    day = day + 1
    if day > dates.length(year, month) then day, month = 1, month + 1 end
    if month > 12 then month, year = 1, year + 1 end
  end
  t.eq(dates.number(1970, 1, 1), 0); t.eq(dates.weekday(0), 4); t.eq(dates.number(2026, 14, 1), dates.number(2027, 2, 1))
  t.eq(dates.length(1900, 2), 28); t.eq(dates.length(2000, 2), 29)
end)

return t.done()
