-- The bytes of a time zone's file (TZif, RFC 8536) as a table. Pure; nothing that is in a file can make it raise.
--
--   tzif.parse(bytes) -> data | nil, reason        the reason is a sentence's end: "it ends too early"
--
--   data.first   the type before the first change
--   data.at      unix times of the changes, ascending        data.types   beside them: the type from then on
--   data.rule    what holds from the last change on (posix_tz.lua), or nil: the last type for ever
--   a type is {offset = seconds east of UTC, abbr = "CET", dst = boolean}
--
-- Version 2 and later: the block of 32-bit times is passed over. Files that count leap seconds ("right/...") are
-- refused, as unix time does not.

local posix_tz = require "schedule.posix_tz"

local M = {}

local HEADER = 44
local MOST = 10000 -- of anything: what is written there was not counted by anybody

local function u32(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function i32(bytes, at)
  local n = u32(bytes, at)
  return n < 2 ^ 31 and n or n - 2 ^ 32
end

-- Exact up to 2^53, which is further than any calendar goes.
local function i64(bytes, at) return i32(bytes, at) * 2 ^ 32 + u32(bytes, at + 4) end

-- The header at a position. -> {version, isut, isstd, leap, time, type, char = counts} | nil, reason
local function header(bytes, at)
  if bytes:sub(at, at + 3) ~= "TZif" then return nil, "it does not begin with TZif" end
  if #bytes < at + HEADER - 1 then return nil, "it ends too early" end
  local h = { version = bytes:sub(at + 4, at + 4) }
  for i, name in ipairs { "isut", "isstd", "leap", "time", "type", "char" } do
    h[name] = u32(bytes, at + 16 + i * 4)
    if h[name] > MOST then return nil, "its counts cannot be right" end
  end
  return h
end

local function size(h, time_size)
  return h.time * (time_size + 1) + h.type * 6 + h.char + h.leap * (time_size + 4) + h.isstd + h.isut
end

-- The types of the block whose times begin at `at`. -> {[0] = type...} | nil, reason
local function read_types(bytes, at, h)
  local from, names = at + h.time * 9, at + h.time * 9 + h.type * 6
  local types = {}
  for i = 0, h.type - 1 do
    local offset, dst, name = i32(bytes, from + i * 6), bytes:byte(from + i * 6 + 4, from + i * 6 + 5)
    if dst > 1 or offset < -89999 or offset > 93599 then return nil, "a type in it cannot be right" end
    local abbr = name < h.char and bytes:sub(names + name, names + h.char - 1):match("^(%Z+)%z")
    if not abbr then return nil, "a type in it has no name" end
    types[i] = { offset = offset, abbr = abbr, dst = dst == 1 }
  end
  if not types[0] then return nil, "it has no type" end
  return types
end

local function read_changes(bytes, at, h, types)
  local data = { first = types[0], at = {}, types = {} }
  for i = 1, h.time do
    data.at[i] = i64(bytes, at + (i - 1) * 8)
    data.types[i] = types[bytes:byte(at + h.time * 8 + i - 1)]
    if not data.types[i] then return nil, "a change in it is to no type" end
    if i > 1 and data.at[i] <= data.at[i - 1] then return nil, "its changes are out of order" end
  end
  return data
end

function M.parse(bytes)
  local old, why = header(bytes, 1)
  if not old then return nil, why end
  if old.version < "2" then return nil, "it is of version 1, which has no times after 2037" end
  local at = 1 + HEADER + size(old, 4)
  local h
  h, why = header(bytes, at)
  if not h then return nil, why end
  if h.leap > 0 then return nil, "it counts leap seconds" end
  at = at + HEADER
  if #bytes < at + size(h, 8) - 1 then return nil, "it ends too early" end
  local types, data
  types, why = read_types(bytes, at, h)
  if not types then return nil, why end
  data, why = read_changes(bytes, at, h, types)
  if not data then return nil, why end
  local footer = bytes:sub(at + size(h, 8)):match("^\n([^\n]*)\n")
  if not footer then return nil, "it ends too early" end
  if footer == "" then return data end
  data.rule, why = posix_tz.parse(footer)
  if not data.rule then return nil, ("its last line '%s' cannot be read: %s"):format(footer:sub(1, 60), why) end
  return data
end

return M
