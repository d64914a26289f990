-- Names that are nearly right.
--
-- spelling.nearest(name, names, most) -> the one of `names` that is fewest edits away (of equals the first), or nil
-- spelling.distance(a, b) -> edits between two words: letters put in, left out, changed, or two changed over

local M = {}

function M.distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = best
    end
  end
  return rows[#a][#b]
end

function M.nearest(name, names, most)
  local best, found = most + 1, nil
  for _, other in ipairs(names) do
    local n = math.abs(#other - #name) < best and M.distance(name, other) or best
    if n < best then best, found = n, other end
  end
  return found
end

return M
