-- When a machine is decided: each in its own place of the interval, and at the second at which the verdict changes. Pure.
--
-- The host that decides today and the replay of a year ago run this same code on the same facts, so that they decide at the
-- same times. That is why nothing here depends on what the days do not keep: inside of a run of input (idle/timeline.lua) the
-- single inputs are not kept, so a look ahead from there takes the last input to be now.
--
--   ms = turns.phase(id, interval)              ms of the interval; by its id, whose digits are by chance
--   ms = turns.next(phase, interval, ms)        the next turn behind ms
--   ms = turns.after(look, s, ms, turn, verdict)    when the next decision is, behind one of `verdict` (not "stop") at ms; no
--       later than `turn`. look(ms [, last]) -> the verdict of then if nothing happens, nil when there is none; `last`: with
--       the last input at that time

local timeline = require "idle.timeline"

local M = {}

M.RUN = timeline.RUN
M.PATIENCE = timeline.RUN + 1000 -- how long after a decision inside of a run it is known whether the run goes on

function M.phase(id, interval) return tonumber(id:sub(1, 7), 16) % (interval / 1000) * 1000 end

function M.next(phase, interval, ms) return ms + interval - (ms - phase) % interval end

-- Whether the last input is so young that it counts as now.
function M.in_run(s, ms) return s.last ~= nil and ms - s.last <= M.RUN and s.first <= ms end

-- The first second behind `from` (ms) and not behind `to` at which the verdict is not `verdict`, which at `to` it is not.
function M.flip(look, from, to, verdict)
  local low, high = math.floor(from / 1000), math.floor(to / 1000)
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local then_ = look(middle * 1000)
    if then_ == nil or then_ == verdict then low = middle else high = middle end
  end
  return high * 1000
end

-- A policy that fails changes no verdict: it is asked again at the machine's next turn.
function M.after(look, s, ms, turn, verdict)
  if M.in_run(s, ms) then
    local ahead = look(turn + M.PATIENCE, ms)
    if ahead ~= nil and ahead ~= verdict then return math.min(turn, (math.floor(ms / 1000)) * 1000 + M.PATIENCE) end
    return turn
  end
  local ahead = look(turn)
  if ahead ~= nil and ahead ~= verdict then return M.flip(look, ms, turn, verdict) end
  return turn
end

return M
