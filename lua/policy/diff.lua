-- The difference of two texts, as `diff -u` shows it. Pure.
--
--   diff.unified(name, was, is) -> text, "" when they are the same

local M = {}

local CONTEXT = 3
local MOST = 4000 -- lines of either, beyond which the whole is shown as replaced

local function lines_of(text)
  local out = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do out[#out + 1] = line end
  return text == "" and {} or out
end

-- Myers' greedy search, with the path kept. -> list of {" " | "-" | "+", line}
local function edits(a, b)
  local n, m = #a, #b
  local v, trace = { [1] = 0 }, {}
  for d = 0, n + m do
    local kept = {}
    for k = -d, d, 2 do
      local x = (k == -d or k ~= d and (v[k - 1] or -1) < (v[k + 1] or -1)) and v[k + 1] or v[k - 1] + 1
      local y = x - k
      while x < n and y < m and a[x + 1] == b[y + 1] do x, y = x + 1, y + 1 end
      v[k], kept[k] = x, x
      if x >= n and y >= m then
        trace[d] = kept
        return trace, d
      end
    end
    trace[d] = kept
  end
end

local function script(a, b)
  local trace, d = edits(a, b)
  local x, y, out = #a, #b, {}
  for step = d, 1, -1 do
    local k, before = x - y, trace[step - 1]
    local down = k == -step or k ~= step and (before[k - 1] or -1) < (before[k + 1] or -1)
    local from = down and k + 1 or k - 1
    local px = before[from]
    local py = px - from
    while x > px and y > py and x > 0 and y > 0 and (down and y - 1 >= py + 1 or not down and x - 1 >= px + 1) do
      out[#out + 1] = { " ", a[x] }
      x, y = x - 1, y - 1
    end
    if down then
      out[#out + 1] = { "+", b[y] }
      y = y - 1
    else
      out[#out + 1] = { "-", a[x] }
      x = x - 1
    end
  end
  while x > 0 do
    out[#out + 1] = { " ", a[x] }
    x = x - 1
  end
  for i = 1, math.floor(#out / 2) do out[i], out[#out + 1 - i] = out[#out + 1 - i], out[i] end
  return out
end

local function replaced(a, b)
  local out = {}
  for _, line in ipairs(a) do out[#out + 1] = { "-", line } end
  for _, line in ipairs(b) do out[#out + 1] = { "+", line } end
  return out
end

-- Ranges of the script around what changed: {first, last}
local function hunks(list)
  local out = {}
  for i, e in ipairs(list) do
    if e[1] ~= " " then
      local last = out[#out]
      if last and i - last[2] <= CONTEXT + 1 then last[2] = math.min(#list, i + CONTEXT)
      else out[#out + 1] = { math.max(1, i - CONTEXT), math.min(#list, i + CONTEXT) } end
    end
  end
  return out
end

function M.unified(name, was, is)
  if was == is then return "" end
  local a, b = lines_of(was), lines_of(is)
  local list = (#a > MOST or #b > MOST) and replaced(a, b) or script(a, b)
  local out = { ("--- %s\n+++ %s\n"):format(was == "" and "nothing" or name, is == "" and "nothing" or name) }
  local at, x, y = 1, 0, 0
  for _, h in ipairs(hunks(list)) do
    while at < h[1] do
      if list[at][1] ~= "+" then x = x + 1 end
      if list[at][1] ~= "-" then y = y + 1 end
      at = at + 1
    end
    local text, nx, ny = {}, 0, 0
    for i = h[1], h[2] do
      text[#text + 1] = list[i][1] .. list[i][2] .. "\n"
      if list[i][1] ~= "+" then nx = nx + 1 end
      if list[i][1] ~= "-" then ny = ny + 1 end
    end
    out[#out + 1] = ("@@ -%d,%d +%d,%d @@\n"):format(nx > 0 and x + 1 or x, nx, ny > 0 and y + 1 or y, ny) .. table.concat(text)
    at, x, y = h[2] + 1, x + nx, y + ny
  end
  return table.concat(out)
end

return M
