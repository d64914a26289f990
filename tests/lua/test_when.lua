-- Times as people write them.
local t = require "t"
local when = require "when"

local NOW = 1700000000123

t.test("moments, unix seconds and times before now", function()
  for text, ms in pairs {
    now = NOW, ["2023-11-14T22:13:20.123Z"] = NOW, ["2023-11-14T23:13:20+01:00"] = 1700000000000,
    ["2023-11-14"] = 1699920000000, ["1700000000"] = 1700000000000, ["0"] = 0,
    ["90s"] = NOW - 90000, ["15m ago"] = NOW - 900000, ["2h ago"] = NOW - 7200000, ["2 h ago"] = NOW - 7200000,
    ["3d"] = NOW - 3 * 86400000, ["1w ago"] = NOW - 7 * 86400000,
  } do
    t.eq(when.parse(text, NOW), ms, text)
  end
end)

t.test("what is no time is refused with what would be one", function()
  for _, text in ipairs {
    "", "yesterday", "2h hence", "-1", "2x", "2023-11-31", "2023-11-14 22:13", "99999999999999", "100000w", "1e9",
  } do
    local ms, err = when.parse(text, NOW)
    t.eq(ms, nil, text); t.eq(err.code, "invalid", text); t.match(err.message, "expected")
  end
end)

return t.done()
