-- A day of one machine, as it is kept: its signals and what was decided, so compact that every decision can be. Pure.
--
-- The record "activity" (id: MACHINE/DAY, days since 1970, five digits):
--   i  runs of input, as ms: {first, last, first, last, ...}
--   e  the other signals in order: {{ms, kind, ...}, ...} (idle/timeline.lua)
--   s  the state of the signals when the day began (or the machine did): what timeline.apply would have made of the days before
--   d  runs of decisions: {{from, step, n, generation, verdict, reason}, ...}: n decisions, `step` ms apart
--
--   c = chunk.new(day, state)      chunk.day(ms)     chunk.key(machine, day)
--   chunk.event(c, e)              notes an event that timeline.apply took
--   chunk.decided(c, ms, generation, verdict, reason)
--   for ms, generation, verdict, reason in chunk.decisions(c) do

local plain = require "plain"

local M = {}

local DAY = 86400000
local MOST = 2000 -- runs of decisions in a day; more have their reasons left out

function M.day(ms) return math.floor(ms / DAY) end

function M.key(machine, day) return ("%s/%05d"):format(machine, day) end


function M.new(day, state)
  return { day = day, i = {}, e = {}, d = {}, s = plain.copy(state) }
end

function M.event(c, e)
  if e[2] ~= "i" then
    c.e[#c.e + 1] = e
    return
  end
  local n = #c.i
  if n > 0 and e[1] - c.i[n] <= 60000 then c.i[n] = e[1] else c.i[n + 1], c.i[n + 2] = e[1], e[1] end
end

function M.decided(c, ms, generation, verdict, reason)
  local d, n = c.d, #c.d
  local run = d[n]
  if n >= MOST then reason = "" end
  if run and run[4] == generation and run[5] == verdict and run[6] == reason then
    if run[3] == 1 then
      run[2], run[3] = ms - run[1], 2
      return
    elseif ms == run[1] + run[2] * run[3] then
      run[3] = run[3] + 1
      return
    end
  end
  d[n + 1] = { ms, 0, 1, generation, verdict, reason }
end

function M.decisions(c)
  local at, k = 1, -1
  return function()
    k = k + 1
    local run = c.d[at]
    if run and k == run[3] then
      at, k = at + 1, 0
      run = c.d[at]
    end
    if run then return run[1] + k * run[2], run[4], run[5], run[6] end
  end
end

return M
