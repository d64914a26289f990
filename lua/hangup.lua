-- SIGHUP, for all who heed it: "what your files are may have changed".
--
-- hangup.on(fn)     fn runs in a task of its own each time; from the first on the signal ends nobody any more

local log = require "log"
local sys = require "sys"

local M = {}

local all = {}

local function run()
  for _, fn in ipairs(all) do
    local ok, why = xpcall(fn, debug.traceback)
    if not ok then log.error("hangup", "a follower raised", { traceback = why }) end
  end
end

function M.on(fn)
  if #all == 0 then sys.signal("HUP", run) end
  all[#all + 1] = fn
end

return M
