-- Long work in slices, between which others run.
--
--   pause = slices.new([ms])     pause() -> true | nil, err (this task is cancelled)    [yields] once `ms` (2) of CPU time were
--       used since others last ran

local sys = require "sys"
local task = require "task"

local M = {}

function M.new(ms)
  local begun = sys.cpu_ms()
  ms = ms or 2
  return function()
    if sys.cpu_ms() - begun < ms then return true end
    local ok, err = task.sleep(0)
    begun = sys.cpu_ms()
    return ok, err
  end
end

return M
