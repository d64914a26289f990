-- UTF-8 in Lua's strings of bytes.
--
--   utf8.valid(text) -> bool     well-formed (Unicode table 3-7: no overlong forms, no surrogates, up to U+10FFFF)
--   utf8.cut(text, n) -> string  of a valid text as many whole characters as fit into n bytes

local M = {}

local tail = "[\128-\191]"
local forms = {
  "^[%z\1-\127]+", "^[\194-\223]" .. tail, "^\224[\160-\191]" .. tail, "^[\225-\236\238\239]" .. tail .. tail,
  "^\237[\128-\159]" .. tail, "^\240[\144-\191]" .. tail .. tail, "^[\241-\243]" .. tail .. tail .. tail,
  "^\244[\128-\143]" .. tail .. tail,
}

local function step(text, at)
  for _, form in ipairs(forms) do
    local _, last = text:find(form, at)
    if last then return last + 1 end
  end
end

function M.valid(text)
  local at = 1
  while at and at <= #text do at = step(text, at) end
  return at ~= nil
end

function M.cut(text, n)
  if #text <= n then return text end
  while n > 0 and text:byte(n + 1) >= 128 and text:byte(n + 1) < 192 do n = n - 1 end
  return text:sub(1, n)
end

return M
