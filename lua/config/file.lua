-- Lua text that holds settings: values alone. What is wrong with it is told by line and never quoted, as any piece of it may
-- be a secret: one that stands there without quotes is a word like any other.
--
-- file.evaluate(text) -> table, faults    faults: {{line = n or nil, why = sentence}, ...}
--   Where a word without quotes stood, the table has file.word. It is empty when the text is no Lua, or gives no table.
-- file.has_word(value) -> whether it is file.word, or a table that has it somewhere
-- file.line_of(text, name) -> the line in which a name is set, the last one of several, or nil

local M = {}

M.word = setmetatable({}, { __tostring = function() return "a word without quotes" end })

local OUTSIDE = "this is set outside of the table that the file returns: return { NAME = value, ... }"
local UNQUOTED = "a word without quotes; text is written \"like this\", and there are no variables or functions"

function M.has_word(value, seen)
  seen = seen or {}
  if value == M.word then return true end
  if type(value) ~= "table" or seen[value] then return false end
  seen[value] = true
  for _, item in pairs(value) do
    if M.has_word(item, seen) then return true end
  end
  return false
end

-- The parser's own sentence up to what it quotes of the text: "'}' expected (to close '{' at line 1)".
local function unparsed(why)
  local line, said = why:match("^=?text:(%d+): (.*)$")
  local sentence = (said or ""):match("^(.-) near ")
  return { line = tonumber(line), why = "this is no Lua" .. (sentence and ": " .. sentence or "") }
end

-- An environment in which to use a name or to set one is a fault, which is put into `faults`, one a line.
local function no_names(faults)
  local function fault(why)
    local line = debug.getinfo(3, "l").currentline
    if #faults == 0 or faults[#faults].line ~= line then faults[#faults + 1] = { line = line, why = why } end
  end
  return setmetatable({}, {
    __index = function()
      fault(UNQUOTED)
      return M.word
    end,
    __newindex = function() fault(OUTSIDE) end,
  })
end

function M.evaluate(text)
  local faults = {}
  local chunk, said = load(text, "=text", "t", no_names(faults))
  if not chunk then return {}, { unparsed(said) } end
  local ok, t = pcall(chunk)
  if ok and type(t) == "table" and t ~= M.word then return t, faults end
  if #faults == 0 then
    local line = not ok and tonumber(tostring(t):match("^text:(%d+):"))
    local why = ok and "must return a table" or "this cannot be evaluated; values alone are expected"
    faults[1] = { line = line or nil, why = why }
  end
  return {}, faults
end

function M.line_of(text, name)
  local n, found, pattern = 0, nil, "%f[%w_]" .. name:gsub("%p", "%%%0") .. "%f[^%w_]%W*="
  for line in (text .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if line:gsub("%-%-.*$", ""):find(pattern) then found = n end
  end
  return found
end

return M
