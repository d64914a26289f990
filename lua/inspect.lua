-- A value as people read it: Lua text, keys in order, the deep and the long cut short, and nothing that a terminal would take
-- for a command. Errors of the host as "code: message".
--
-- inspect(value [, {depth = 4, items = 100, bytes = 4000}]) -> text      bytes: of a string

local MARGIN, KEY = 96, 100 -- KEY: bytes of a key

-- Characters of UTF-8 of more than one byte; U+0080 to U+009F are left out, which are commands.
local characters = {
  "^\194[\160-\191]", "^[\195-\223][\128-\191]", "^\224[\160-\191][\128-\191]", "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]", "^\240[\144-\191][\128-\191][\128-\191]", "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}

local function character(text, at)
  for _, pattern in ipairs(characters) do
    local one = text:match(pattern, at)
    if one then return one end
  end
end

-- Bytes of 128 and more: what is no text is told by number.
local function high(text)
  local out, at = {}, 1
  while at <= #text do
    local one = character(text, at)
    out[#out + 1] = one or ("\\%03d"):format(text:byte(at))
    at = at + (one and #one or 1)
  end
  return table.concat(out)
end

local function quoted(text)
  local plain = ("%q"):format(text):gsub("\\\n", "\\n"):gsub("%c", function(c) return ("\\%03d"):format(c:byte()) end)
  return (plain:gsub("[\128-\255]+", high))
end

local function shortened(text, most)
  if #text <= most then return quoted(text) end
  return ("%s... %d more bytes"):format(quoted(text:sub(1, most)), #text - most)
end

local function key_text(key)
  if type(key) ~= "string" then return "[" .. tostring(key) .. "]" end
  return #key <= KEY and key:match("^[%a_][%w_]*$") or "[" .. shortened(key, KEY) .. "]"
end

local function order(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
  return type(a) < type(b)
end

local show

local function members(value, limits, depth, seen)
  local out, n = {}, #value
  for i = 1, math.min(n, limits.items) do out[i] = show(value[i], limits, depth + 1, seen) end
  local keys = {}
  for key in pairs(value) do
    if not (type(key) == "number" and key >= 1 and key <= n and key % 1 == 0) then keys[#keys + 1] = key end
  end
  table.sort(keys, order)
  for i = 1, math.min(#keys, limits.items - #out) do
    out[#out + 1] = key_text(keys[i]) .. " = " .. show(value[keys[i]], limits, depth + 1, seen)
  end
  local left = n + #keys - #out
  if left > 0 then out[#out + 1] = ("... %d more"):format(left) end
  return out
end

function show(value, limits, depth, seen)
  if type(value) == "string" then return shortened(value, limits.bytes) end
  if type(value) ~= "table" then return tostring(value) end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__tostring then return tostring(value) end
  if seen[value] then return "{...}" end
  if depth >= limits.depth then return next(value) == nil and "{}" or "{...}" end
  seen[value] = true
  local out = members(value, limits, depth, seen)
  seen[value] = nil
  if #out == 0 then return "{}" end
  local flat = "{ " .. table.concat(out, ", ") .. " }"
  if #flat + 2 * depth <= MARGIN and not flat:find("\n", 1, true) then return flat end
  local pad = ("  "):rep(depth + 1)
  return "{\n" .. pad .. table.concat(out, ",\n" .. pad) .. "\n" .. ("  "):rep(depth) .. "}"
end

return function(value, limits)
  limits = limits or {}
  return show(value, { depth = limits.depth or 4, items = limits.items or 100, bytes = limits.bytes or 4000 }, 0, {})
end
