-- A Lua pattern as the regular expression (ECMA-262, with "u") that means the same, for those who read our schemas: written so
-- that PCRE, Python and RE2 read it alike.
--
--   pattern.regex(text) -> text, or nil where there is none (%b, %f, %1)

local M = {}

-- What a class is, within [...].
local classes = {
  a = "A-Za-z", d = "0-9", l = "a-z", u = "A-Z", w = "A-Za-z0-9", x = "A-Fa-f0-9", s = "\\s", c = "\\x00-\\x1f\\x7f",
  p = "!-\\/:-@\\[-`{-~", z = "\\x00",
}
local special = "[%^%$%.%*%+%?%(%)%[%]{}|/\\]"

local function literal(c) return c:find(special) and "\\" .. c or c end
local function within(c) return c:find("[%]%[\\%^]") and "\\" .. c or c end

-- One %x of a pattern. `in_set`: within [...].
local function escaped(c, in_set)
  local class = classes[c:lower()]
  if class and c:find("%l") then return in_set and class or "[" .. class .. "]" end
  if class then return not in_set and "[^" .. class .. "]" or nil end
  if c:find("[%a%d]") then return nil end
  if in_set then return c == "-" and "\\-" or within(c) end
  return literal(c)
end

-- [...], from `at`. -> text, the place behind it | nil
local function set(text, at)
  local out, i = { "[" }, at + 1
  if text:sub(i, i) == "^" then out[2], i = "^", i + 1 end
  local first = i
  while i <= #text do
    local c = text:sub(i, i)
    if c == "]" and i > first then return table.concat(out) .. "]", i + 1 end
    if c == "%" then
      out[#out + 1] = escaped(text:sub(i + 1, i + 1), true)
      if not out[#out] then return nil end
      i = i + 2
    else
      local is_last = text:sub(i + 1, i + 1) == "]"
      local range = c == "-" and not is_last and i > first
      out[#out + 1] = c == "-" and not range and "\\-" or within(c)
      i = i + 1
    end
  end
end

-- One thing that may be repeated. -> text, the place behind it | nil
local function single(text, at)
  local c = text:sub(at, at)
  if c == "[" then return set(text, at) end
  if c == "." then return "[\\s\\S]", at + 1 end
  if c ~= "%" then return literal(c), at + 1 end
  local out = escaped(text:sub(at + 1, at + 1))
  if out then return out, at + 2 end
end

local repeats = { ["*"] = "*", ["+"] = "+", ["?"] = "?", ["-"] = "*?" }

function M.regex(text)
  local out, i = {}, 1
  if text:sub(1, 1) == "^" then out[1], i = "^", 2 end
  while i <= #text do
    if i == #text and text:sub(i) == "$" then
      out[#out + 1] = "$"
      break
    end
    local piece, behind = single(text, i)
    if not piece then return nil end
    local again = repeats[text:sub(behind, behind)]
    out[#out + 1] = piece .. (again or "")
    i = behind + (again and 1 or 0)
  end
  return table.concat(out)
end

return M
