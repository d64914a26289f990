-- When something is due: cases computed by hand, and every minute of two years against a matcher that knows no calendar.
local t = require "t"
local calendar = require "schedule.calendar"
local dates = require "schedule.dates"
local zone = require "schedule.zone"

local function at(text, name) return assert(calendar.parse { at = text, zone = name }) end

-- "2026-03-29 03:00 +2" -> unix
local function moment(text)
  local y, mo, d, h, mi, off = text:match("^(%d+)-(%d+)-(%d+) (%d+):(%d+) ?([%d.+-]*)$")
  return dates.number(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + h * 3600 + mi * 60 - (tonumber(off) or 0) * 3600
end

local function show(unix)
  if not unix then return "never" end
  local y, m, d = dates.civil(math.floor(unix / 86400))
  return ("%04d-%02d-%02d %02d:%02d"):format(y, m, d, unix / 3600 % 24, unix / 60 % 60)
end

-- ---- by hand. Saturday 28 November 2026 is the day of these; {rule, zone, after, next...}, times with their offset.

local cases = {
  { "*/15 * * * *", "UTC", "2026-11-28 10:07", "2026-11-28 10:15", "2026-11-28 10:30" },
  { "0 0 * * *", "UTC", "2026-12-31 00:00", "2027-01-01 00:00", "2027-01-02 00:00" },
  { "@daily", "Asia/Kathmandu", "2026-11-28 00:00 +5.75", "2026-11-29 00:00 +5.75" },
  { "@hourly", "Asia/Kathmandu", "2026-11-28 00:00 +5.75", "2026-11-28 01:00 +5.75", "2026-11-28 02:00 +5.75" },
  { "@weekly", "UTC", "2026-11-28 12:00", "2026-11-29 00:00", "2026-12-06 00:00" },
  { "@monthly", "UTC", "2026-11-28 12:00", "2026-12-01 00:00", "2027-01-01 00:00", "2027-02-01 00:00" },
  { "@yearly", "UTC", "2026-11-28 12:00", "2027-01-01 00:00", "2028-01-01 00:00" },
  { "30 3 * * mon-fri", "UTC", "2026-11-28 12:00", "2026-11-30 03:30", "2026-12-01 03:30" },
  { "30 3 * * Fri-Sun", "UTC", "2026-12-04 12:00", "2026-12-05 03:30", "2026-12-06 03:30", "2026-12-11 03:30" },
  { "0 12 * * 7", "UTC", "2026-11-28 12:00", "2026-11-29 12:00", "2026-12-06 12:00" },
  { "0 12 * * 5-7", "UTC", "2026-11-28 12:00", "2026-11-29 12:00", "2026-12-04 12:00" },
  { "0 12 13 * 5", "UTC", "2026-11-28 12:00", "2026-12-04 12:00", "2026-12-11 12:00", "2026-12-13 12:00", "2026-12-18 12:00" },
  { "0 12 */13 * 6", "UTC", "2026-11-28 13:00", "2027-02-27 12:00" },        -- days 1, 14, 27: and, not or
  { "0 12 * feb,dec 2", "UTC", "2026-12-29 12:00", "2027-02-02 12:00" },
  { "15,45 9-11/2 1,15 * *", "UTC", "2026-12-01 09:45", "2026-12-01 11:15", "2026-12-01 11:45", "2026-12-15 09:15" },
  { "0 0 31 * *", "UTC", "2027-01-31 00:00", "2027-03-31 00:00", "2027-05-31 00:00", "2027-07-31 00:00" },
  { "0 0 29 2 *", "UTC", "2026-11-28 00:00", "2028-02-29 00:00", "2032-02-29 00:00" },
  { "0 0 29 2 *", "UTC", "2096-03-01 00:00", "2104-02-29 00:00" },
  { "0 0 29 2 */7", "UTC", "2026-01-01 00:00", "2032-02-29 00:00", "2060-02-29 00:00", "2088-02-29 00:00", "2128-02-29 00:00" },
  { "0 0 30 2 *", "UTC", "2026-01-01 00:00", "never" },
  { "0 0 31 2,4,6,9,11 *", "UTC", "2026-01-01 00:00", "never" },
  { "0 0 30 2 mon", "UTC", "2026-01-01 00:00", "2026-02-02 00:00" },
  -- the clock goes forward: Berlin, 29 March 2026, 02:00 is 03:00
  { "30 2 * * *", "Europe/Berlin", "2026-03-28 02:30 +1", "2026-03-29 03:00 +2", "2026-03-30 02:30 +2" },
  { "*/20 2 * * *", "Europe/Berlin", "2026-03-28 02:40 +1", "2026-03-29 03:00 +2", "2026-03-30 02:00 +2" },
  { "0,30 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00 +1", "2026-03-29 03:00 +2", "2026-03-29 03:30 +2",
    "2026-03-30 02:00 +2" },
  { "0 */2 * * *", "Europe/Berlin", "2026-03-29 00:00 +1", "2026-03-29 03:00 +2", "2026-03-29 04:00 +2" },
  { "30 * * * *", "Europe/Berlin", "2026-03-29 00:30 +1", "2026-03-29 01:30 +1", "2026-03-29 03:30 +2", "2026-03-29 04:30 +2" },
  { "30 2 29 3 *", "Europe/Berlin", "2026-01-01 00:00 +1", "2026-03-29 03:00 +2", "2027-03-29 02:30 +2" },
  { "0 0 * * *", "America/Sao_Paulo", "2018-11-03 00:00 -3", "2018-11-04 01:00 -2", "2018-11-05 00:00 -2" },
  -- it goes back: 25 October 2026, 03:00 is 02:00
  { "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00 +2", "2026-10-25 02:30 +2", "2026-10-26 02:30 +1" },
  { "0 3 * * *", "Europe/Berlin", "2026-10-24 12:00 +2", "2026-10-25 03:00 +1" },
  { "30 * * * *", "Europe/Berlin", "2026-10-25 01:30 +2", "2026-10-25 02:30 +2", "2026-10-25 02:30 +1", "2026-10-25 03:30 +1" },
  { "30 0-23 25 * *", "Europe/Berlin", "2026-10-25 01:30 +2", "2026-10-25 02:30 +2", "2026-10-25 02:30 +1" },
  { "0 0 * * *", "America/Sao_Paulo", "2018-02-17 00:00 -2", "2018-02-18 00:00 -3" },
  { "45 23 * * *", "America/Sao_Paulo", "2018-02-17 12:00 -2", "2018-02-17 23:45 -2", "2018-02-18 23:45 -3" },
  -- 00:01 is 23:01 of the day before: two days at once
  { "*/30 * * * *", "America/St_Johns", "2010-11-06 23:30 -2.5", "2010-11-07 00:00 -2.5", "2010-11-06 23:30 -3.5",
    "2010-11-07 00:00 -3.5" },
  -- half an hour: Lord Howe, 4 October 2026, 02:00 is 02:30, and 5 April 02:00 is 01:30
  { "15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00 +10.5", "2026-10-04 02:30 +11", "2026-10-05 02:15 +11" },
  { "45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00 +11", "2026-04-05 01:45 +11", "2026-04-06 01:45 +10.5" },
  -- a day that was left out
  { "0 9 30 12 *", "Pacific/Apia", "2011-12-01 00:00 -10", "2011-12-31 00:00 +14", "2012-12-30 09:00 +14" },
  { "0 9 * * *", "Pacific/Apia", "2011-12-29 09:00 -10", "2011-12-31 00:00 +14", "2011-12-31 09:00 +14" },
  { "0 * 30 12 *", "Pacific/Apia", "2011-12-01 00:00 -10", "2012-12-30 00:00 +14" },
  -- behind the table of the file
  { "30 2 * * *", "Europe/Berlin", "2098-03-29 02:30 +1", "2098-03-30 03:00 +2", "2098-03-31 02:30 +2" },
}

t.test(#cases .. " rules by hand, forwards and back", function()
  for _, c in ipairs(cases) do
    local rule, what = at(c[1], c[2]), c[1] .. " in " .. c[2]
    local unix = moment(c[3])
    for i = 4, #c do
      local want = c[i] ~= "never" and moment(c[i]) or nil
      unix = rule:next(unix)
      t.eq(show(unix), show(want), what)
      if unix then
        t.eq(show(rule:previous(unix)), show(unix), what .. ", back to itself")
        t.eq(show(rule:previous(unix + 59)), show(unix), what .. ", a moment later")
        if i > 4 then t.eq(show(rule:previous(unix - 1)), show(moment(c[i - 1])), what .. ", back") end
      end
    end
  end
end)

t.test("a rule that is never due says so at once, in both directions", function()
  for _, text in ipairs { "0 0 30 2 *", "0 0 31 4 *", "* * 30-31 feb *" } do
    t.eq(at(text, "Europe/Berlin"):next(0), nil)
    t.eq(at(text, "Europe/Berlin"):previous(4e9), nil)
  end
end)

-- ---- every minute of two years

-- A matcher of its own, with sets written by hand, which looks at the clock on the wall and at nothing else.
local function set(...)
  local s = {}
  for _, n in ipairs { ... } do s[n] = true end
  return s
end
local function span(a, b, step)
  local s = {}
  for n = a, b, step or 1 do s[n] = true end
  return s
end
local any = span(0, 59)

local naive = {
  { "*/15 * * * *", min = set(0, 15, 30, 45), hour = any, all = true },
  { "7 * * * mon,sat", min = set(7), hour = any, all = true, wday = set(1, 6) },
  { "30 2 * * *", min = set(30), hour = set(2) },
  { "0,30 0-3 * * *", min = set(0, 30), hour = span(0, 3) },
  { "5-59/10 */2 * * *", min = set(5, 15, 25, 35, 45, 55), hour = span(0, 22, 2) },
  { "0 1,2,3 1-7 * sun", min = set(0), hour = set(1, 2, 3), day = span(1, 7), wday = set(0), either = true },
  { "15 2 * 3,4,10,11 sun", min = set(15), hour = set(2), month = set(3, 4, 10, 11), wday = set(0) },
  { "59 23 28-31 * *", min = set(59), hour = set(23), day = span(28, 31) },
  { "0 0 * * *", min = set(0), hour = set(0) },
  { "30 1 * * 6-7", min = set(30), hour = set(1), wday = set(0, 6) },
}

local function matches(n, shown)
  local minute = math.floor(shown % 86400 / 60)
  if not n.min[minute % 60] or not n.hour[math.floor(minute / 60)] then return false end
  local number = math.floor(shown / 86400)
  local _, month, day = dates.civil(number)
  if n.month and not n.month[month] then return false end
  local by_day = not n.day or n.day[day] or false
  local by_wday = not n.wday or n.wday[dates.weekday(number)] or false
  if n.either then return by_day or by_wday end
  return by_day and by_wday
end

-- Walks the clock of a zone from minute to minute and gives every rule's times. What a jump forward leaves out counts at its
-- end, what a jump back shows again does not, unless the rule is for every hour.
local function walk(z, from, to, rules)
  local due, of_minute, high = {}, {}, nil -- high: the latest that the wall has shown
  for i, n in ipairs(rules) do
    due[i] = {}
    for m in pairs(n.min) do of_minute[m] = of_minute[m] or {}; table.insert(of_minute[m], i) end
  end
  for unix = from, to, 60 do
    local wall = unix + z:offset(unix)
    local first = high and math.min(high + 60, wall) or wall
    for shown = first, wall, 60 do
      for _, i in ipairs(of_minute[shown / 60 % 60] or {}) do
        local n, list, counts = rules[i], due[i]
        if n.all then counts = shown == wall else counts = not high or shown > high end
        if counts and matches(n, shown) and list[#list] ~= unix then list[#list + 1] = unix end
      end
    end
    high = math.max(high or wall, wall)
  end
  return due
end

local FROM, TO = moment "2025-01-01 00:00", moment "2027-01-01 00:00"

local function compare(rule, want, what)
  local unix = FROM
  for _, w in ipairs(want) do
    if w > FROM then
      local n = rule:next(unix)
      if n ~= w then t.eq(show(n), show(w), what .. " after " .. show(unix)) end
      if rule:previous(n - 1) ~= unix and unix > FROM then t.eq(show(rule:previous(n - 1)), show(unix), what .. ", back") end
      unix = n
    end
  end
  t.ok(rule:next(unix) > TO, what)
end

for _, name in ipairs {
  "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kathmandu", "Asia/Gaza",
} do
  t.test(name .. ": every minute of two years", function()
    local due = walk(assert(zone.open(name)), FROM, TO, naive)
    for i, n in ipairs(naive) do
      t.ok(#due[i] > 20)
      compare(at(n[1], name), due[i], n[1])
    end
  end)
end

t.test("jobs of every hour run once in each real hour, also in the nights of a change", function()
  local rule = at("0 * * * *", "America/New_York")
  local unix, n = FROM, 0
  while unix < TO do
    local following = rule:next(unix)
    t.eq(following - unix, 3600)
    unix, n = following, n + 1
  end
  t.eq(n, 730 * 24)
end)

t.test("a rule without every hour has a run on each day, and one", function()
  for _, minute in ipairs { 0, 1, 29, 30, 59 } do
    local rule = at(minute .. " 2 * * *", "Europe/Berlin")
    local unix, n = rule:next(FROM), 0
    while unix < TO do unix, n = rule:next(unix), n + 1 end
    t.eq(n, 730)
  end
end)

-- ---- intervals

t.test("intervals are due at multiples of themselves, on all hosts alike", function()
  for text, seconds in pairs { ["5m"] = 300, ["1s"] = 1, ["2h"] = 7200, ["1d"] = 86400, ["1w"] = 604800, ["90 s"] = 90 } do
    local rule = assert(calendar.parse { every = text })
    t.eq(rule:next(1764288000.5) % seconds, 0, text)
    t.ok(rule:next(1764288000.5) - 1764288000.5 <= seconds, text)
    t.eq(rule:next(rule:next(7)) - rule:next(7), seconds, text)
    t.eq(rule:previous(seconds * 10), seconds * 10); t.eq(rule:previous(seconds * 10 - 0.5), seconds * 9)
  end
  t.eq(assert(calendar.parse { every = 90 }):next(180), 270)
  t.eq(assert(calendar.parse { every = "5m" }).text, "every 300 s")
  t.eq(at("30  3 * *  mon-fri", "Europe/Berlin").text, "30 3 * * mon-fri Europe/Berlin")
  t.eq(at("@daily").text, "@daily UTC")
end)

-- ---- what is refused, and what it says

local refused = {
  { { at = "60 3 * * *" }, "minute", "minute: 60 is out of range: 0%-59, such as" },
  { { at = "* 24 * * *" }, "hour", "hour: 24 is out of range: 0%-23, such as" },
  { { at = "0 0 0 * *" }, "day", "day: 0 is out of range: 1%-31" },
  { { at = "0 0 * 13 *" }, "month", "month: 13 is out of range: 1%-12 or jan%-dec" },
  { { at = "0 0 * * 8" }, "weekday", "weekday: 8 is out of range: 0%-7 or sun%-sat" },
  { { at = "0 0 * * monday" }, "weekday", "weekday: 'monday' has to be 'mon'" },
  { { at = "0 0 * July *" }, "month", "month: 'July' has to be 'jul'" },
  { { at = "0 0 mon * *" }, "day", "day: 'mon' is not of 1%-31" },
  { { at = "0 0 L * *" }, "day", "day: 'L' is not of 1%-31, such as 1" },
  { { at = "0 22-2 * * *" }, "hour", "hour: '22%-2' goes backwards: '22%-23,0%-2' is what it would be" },
  { { at = "0 0 * nov-jan *" }, "month", "month: 'nov%-jan' goes backwards: 'nov%-12,jan' is what" },
  { { at = "0 0 * * fri-mon" }, "weekday", "'fri%-6,0%-mon' is what" },
  { { at = "5/10 * * * *" }, "minute", "minute: '5/10': a step needs a range or %*: 5%-59/10" },
  { { at = "*/0 * * * *" }, "minute", "minute: '%*/0': a step of 1 to 59 is expected" },
  { { at = "*/ * * * *" }, "minute", "a step of 1 to 59" },
  { { at = "0 */24 * * *" }, "hour", "a step of 1 to 23" },
  { { at = "1,,2 * * * *" }, "minute", "nothing between two commas" },
  { { at = "1, * * * *" }, "minute", "nothing between two commas" },
  { { at = "1-2-3 * * * *" }, "minute", "'1%-2%-3' is not of" },
  { { at = "-5 * * * *" }, "minute", "'%-5' is not of" },
  { { at = "0 0 * *" }, "at", "five fields are expected .*, not 4$" },
  { { at = "0 0 0 * * *" }, "at", "not 6: there are no seconds" },
  { { at = "" }, "at", "not 0" },
  { { at = "@dayly" }, "at", "unknown '@dayly'; did you mean '@daily'%?" },
  { { at = "@often" }, "at", "unknown '@often'; there are @annually @daily" },
  { { at = "@reboot" }, "at", "there is no @reboot" },
  { { at = 5 }, "at", "five fields of cron .* not a number" },
  { { at = "0 0 * * *", zone = "Europe/Berln" }, "zone", "zone: unknown time zone '.*'; did you mean 'Europe/Berlin'%?" },
  { { at = "0 0 * * *", zone = 1 }, "zone", "zone: the name of a time zone is expected, not a number" },
  { { every = "5m", zone = "UTC" }, "zone", "it means nothing for every" },
  { { every = "5m", at = "@daily" }, "at", "either every or at, and this one has both" },
  { {}, "at", "has none" },
  { { evry = "5m" }, "evry", "unknown 'evry'; did you mean 'every'%?" },
  { { every = "5m", [1] = "x" }, "1", "unknown '1'" },
  { { every = "5 minutes" }, "every", "'5 minutes' is no interval; an interval like \"5m\"" },
  { { every = "0s" }, "every", "too short" }, { { every = 0 }, "every", "too short" }, { { every = -5 }, "every", "too short" },
  { { every = 1.5 }, "every", "is not whole" }, { { every = 0 / 0 }, "every", "is not whole" },
  { { every = math.huge }, "every", "longer than a year" }, { { every = "53w" }, "every", "longer than a year" },
  { { every = {} }, "every", "is no interval" },
}

t.test("what is no rule is refused: which field, what was wrong, what would be right", function()
  for _, r in ipairs(refused) do
    local rule, err = calendar.parse(r[1])
    t.eq(rule, nil, r[3]); t.eq(err.code, "invalid"); t.eq(err.field, r[2], r[3]); t.match(err.message, r[3])
  end
  local rule, err = calendar.parse "5m"
  t.eq(rule, nil); t.match(err.message, "not a string$")
end)

t.test("what a range that goes backwards is said to be, is a range", function()
  for _, text in ipairs {
    "0 22-2 * * *", "50-0 * * * *", "0 0 31-1 * *", "0 0 * nov-jan *", "0 0 * * fri-mon", "0 0 * * sat-fri",
  } do
    local _, err = calendar.parse { at = text }
    local bad, good = err.message:match("'([^' ]+)' goes backwards: '([^']+)'")
    t.ok(calendar.parse { at = (text:gsub(bad:gsub("%-", "%%-"), (good:gsub("%%", "%%%%")))) }, good)
  end
end)

return t.done()
