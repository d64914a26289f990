-- What machines cost: data of policies/plans.lua, each price from a day on; sums in whole micro-units. Pure.
--
--   periods = prices.periods(plans.price)         price: {{from = "2026-01-01", hour = {small = micro-units, ...}}, ...}
--   prices.note(billed, periods, type, from, to)  adds a time (ms) to {["type/period"] = ms}
--   micro = prices.sum(billed, periods)           milliseconds are added up first: what they cost is rounded down once a price

local time = require "time"

local M = {}

local HOUR = 3600000

function M.periods(list)
  local out = {}
  for i, p in ipairs(list or {}) do out[i] = { from = time.parse(p.from .. "T00:00:00Z"), hour = p.hour } end
  return out
end

function M.note(billed, periods, type, from, to)
  for i = #periods, 1, -1 do
    local begins = math.max(periods[i].from, from)
    if begins < to then
      local key = type .. "/" .. i
      billed[key] = (billed[key] or 0) + to - begins
      to = begins
    end
  end
end

function M.sum(billed, periods)
  local sum = 0
  for key, ms in pairs(billed) do
    local type, i = key:match("^(.*)/(%d+)$")
    local micro = periods[tonumber(i)].hour[type] or 0
    local hours = math.floor(ms / HOUR)
    sum = sum + hours * micro + math.floor((ms - hours * HOUR) * micro / HOUR)
  end
  return sum
end

return M
