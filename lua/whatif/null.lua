-- The null test: under the policies that decided it, a past is lived again exactly: the same times, verdicts and reasons, the
-- same usage. What is found otherwise is a fault of the replay, or of what was recorded.
--
--   found = null.check(past, side, model [, generation]) -> {decisions = recorded ones looked at, ms, recorded_ms,
--       differences = {{ms =, recorded = {verdict, reason} | nil, replayed = {verdict, reason} | nil}, ...}}
--     generation: only decisions of that one are compared
-- The host looks once a second: what was due in the last second before a machine was stopped otherwise may not have been decided.

local replay = require "whatif.replay"

local M = {}

local LATE = 2000

local function ends_behind(past, ms)
  for _, e in ipairs(past.things) do
    if (e[2] == "end" or e[2] == "away" or e[2] == "start") and e[1] >= ms and e[1] <= ms + LATE then return true end
  end
  return past.to - ms <= LATE
end

function M.check(past, side, model, generation)
  local found = { decisions = 0, ms = 0, recorded_ms = past.ran, differences = {} }
  local function differs(ms, was, is)
    found.differences[#found.differences + 1] = { ms = ms, recorded = was, replayed = is }
  end
  local next_one = past.recorded.each(past.from, past.to - 1)
  local at, verdict, reason, by = next_one()
  local function skip_to(ms) -- recorded ones that were not replayed
    while at and at < ms do
      found.decisions = found.decisions + 1
      if not generation or by == generation then differs(at, { verdict, reason }, nil) end
      at, verdict, reason, by = next_one()
    end
  end
  local result = replay.machine(past, side, model, { decision = function(ms, is, why)
    skip_to(ms)
    if at ~= ms then
      if not ends_behind(past, ms) then differs(ms, nil, { is, why }) end
      return
    end
    found.decisions = found.decisions + 1
    if (not generation or by == generation) and (verdict ~= is or reason ~= why and reason ~= "") then
      differs(ms, { verdict, reason }, { is, why })
    end
    at, verdict, reason, by = next_one()
  end })
  skip_to(math.huge)
  for _, p in pairs(result.plans) do found.ms = found.ms + p.ms end
  return found
end

return M
