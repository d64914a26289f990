-- The decisions that a machine's days hold (idle/chunk.lua), to be looked up by their times. Pure.
--
--   r = recorded.new(runs)      runs as in a day's `d`, of all days in their order
--   r.at(ms) -> verdict, reason, generation | nil       r.behind(ms) -> the time of the next one | nil
--   r.before(ms) -> the time of the last one at ms or before | nil
--   r.by_others(generation, from, to) -> whether another generation decided some of them
--   for ms, verdict, reason, generation in r.each(from, to) do

local M = {}

function M.new(runs)
  -- The last run that does not begin behind ms, or 0.
  local function find(ms)
    local low, high = 0, #runs
    while low < high do
      local middle = math.ceil((low + high) / 2)
      if runs[middle][1] <= ms then low = middle else high = middle - 1 end
    end
    return low
  end
  local function last_of(run) return run[1] + run[2] * (run[3] - 1) end

  local r = {}

  function r.at(ms)
    local run = runs[find(ms)]
    if not run or ms > last_of(run) or run[3] > 1 and (ms - run[1]) % run[2] ~= 0 then return nil end
    return run[5], run[6], run[4]
  end

  function r.behind(ms)
    local i = find(ms)
    local run = runs[i]
    if run and ms < last_of(run) then return run[1] + (math.floor((ms - run[1]) / run[2]) + 1) * run[2] end
    return runs[i + 1] and runs[i + 1][1]
  end

  function r.before(ms)
    local run = runs[find(ms)]
    if not run then return nil end
    if ms >= last_of(run) then return last_of(run) end
    return run[1] + math.floor((ms - run[1]) / run[2]) * run[2]
  end

  function r.by_others(generation, from, to)
    for _, run in ipairs(runs) do
      if run[4] ~= generation and run[1] <= to and last_of(run) >= from then return true end
    end
    return false
  end

  function r.each(from, to)
    local ms = from - 1
    return function()
      ms = r.behind(ms)
      if not ms or ms > to then return nil end
      return ms, r.at(ms)
    end
  end

  return r
end

return M
