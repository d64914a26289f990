-- Money and time as whole numbers: micro-units of one currency (1000000 is one dollar) and milliseconds. Pure.
--
--   amount.cost(rate, from, to) -> micro-units      `rate` micro-units an hour, `from` and `to` unix ms
--   amount.share(total, from, to, a, b) -> the part of `total`, spread over [from, to), that falls on [a, b)
--   amount.until_spent(sum, most, low, high) -> the first ms at which sum(ms) >= most, or nil when it is later than `high`
--   amount.text(micro) -> "-1.230000" without needless zeros: "-1.23";  amount.parse("1.23") -> micro | nil, why
--   amount.hours(ms) -> hours as a number, for people
--
-- cost and share are differences of one function of time that is rounded down: so a stretch costs the same in one piece
-- and in any pieces that it is cut into, and no micro-unit is lost or invented between two of them.

local M = {}

local HOUR = 3600000
M.HOUR = HOUR
M.MOST = 1e9 -- micro-units an hour: rates beyond it are no longer exact

local floor = math.floor

-- What an hour's rate comes to from the epoch to `t`. Exact below 2^53: rate < 1e9 and t < 1e13.
local function upto(rate, t)
  local hours = floor(t / HOUR)
  return rate * hours + floor(rate * (t - hours * HOUR) / HOUR)
end

function M.cost(rate, from, to) return upto(rate, to) - upto(rate, from) end

-- floor(a * b / c) exactly for whole numbers a < 2^53, b <= c < 2^43: their product has no room in a number.
local function muldiv(a, b, c)
  local q = floor(a / c)
  local r = a - q * c               -- a = q * c + r, r < c
  local out, rest = q * b, 0
  -- r * b / c by doubling: rest stays below c
  local bit = 2 ^ 42
  local part = 0
  while bit >= 1 do
    part, rest = part * 2, rest * 2
    if b >= bit then
      b = b - bit
      rest = rest + r
    end
    while rest >= c do
      rest = rest - c
      part = part + 1
    end
    bit = bit / 2
  end
  return out + part
end

function M.share(total, from, to, a, b)
  local function upto_here(t) return muldiv(total, math.max(0, math.min(t, to) - from), to - from) end
  if total < 0 then return -M.share(-total, from, to, a, b) end
  return upto_here(b) - upto_here(a)
end

function M.until_spent(sum, most, low, high)
  if sum(low) >= most then return low end
  if sum(high) < most then return nil end
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if sum(middle) >= most then high = middle else low = middle end
  end
  return high
end

function M.text(micro)
  local sign = micro < 0 and "-" or ""
  micro = math.abs(micro)
  local whole = floor(micro / 1e6)
  local rest = ("%06d"):format(micro - whole * 1e6):gsub("0+$", "")
  return ("%s%d.%s"):format(sign, whole, rest .. ("0"):rep(2 - #rest))
end

function M.parse(text)
  local sign, whole, rest = tostring(text):match("^([+-]?)(%d+)%.?(%d*)$")
  if not whole or #rest > 6 or #whole > 9 then return nil, "an amount like 12.50 expected, with at most six decimals" end
  local micro = tonumber(whole) * 1e6 + tonumber(rest .. ("0"):rep(6 - #rest))
  return sign == "-" and -micro or micro
end

function M.hours(ms) return floor(ms / HOUR * 1e6 + 0.5) / 1e6 end

return M
