-- Query strings and forms (application/x-www-form-urlencoded).
--
-- query.value(text, name) -> the first value of that name, decoded, or nil. text: without "?"; may be nil.
-- query.all(text) -> {name = its first value}, a name that is there more than once or nil
-- query.without(text, {name = true}) -> the text as it came, but for these; nil when nothing is left
-- query.decode(text), query.encode(text): one value

local M = {}

function M.decode(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end))
end

function M.encode(text)
  return (text:gsub("[^%w_.~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

function M.value(text, name)
  if not text then return nil end
  for pair in text:gmatch("[^&]+") do
    local k, v = pair:match("^([^=]*)=?(.*)$")
    if k == name then return M.decode(v) end
  end
end

function M.without(text, names)
  local kept = {}
  for pair in (text or ""):gmatch("[^&]+") do
    if not names[M.decode(pair:match("^[^=]*"))] then kept[#kept + 1] = pair end
  end
  return kept[1] and table.concat(kept, "&") or nil
end

function M.all(text)
  local out, twice = {}, nil
  for pair in (text or ""):gmatch("[^&]+") do
    local k, v = pair:match("^([^=]*)=?(.*)$")
    k = M.decode(k)
    if out[k] == nil then out[k] = M.decode(v) else twice = k end
  end
  return out, twice
end

return M
