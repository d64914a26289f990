-- The statuses of a machine, as data: what each means and where it goes.
--
--   settled    nothing is under way: the machine stays so until somebody asks
--   goes       where a transient status ends: [wanted status] = the status that the work ends in
--   deadline   seconds that a transient status may last before it counts as failed
-- stop and delete are accepted in every status; the table says what they (and start) lead to.

local M = {}

M.STARTING = { deadline = 300, stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.RUNNING = { settled = true, stop = "STOPPING", start = "RUNNING", delete = "DELETING" }
M.STOPPING = { deadline = 120, stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.STOPPED = { settled = true, stop = "STOPPED", start = "STARTING", delete = "DELETING" }
M.ERROR = { settled = true, stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.DELETING = { deadline = 600, stop = "DELETING", delete = "DELETING" }
M.DELETED = { settled = true, stop = "DELETED", delete = "DELETED" }

return M
