-- The statuses of a machine, as data: what each accepts and where that leads.
--
--   settled              nothing is under way: the machine stays so until somebody asks
--   stop, start, delete  the status that the verb leads to from here; absent: refused
-- stop and delete are accepted in every status. start of what runs asks the provider again, which finds it running
-- or starts what has died.

local M = {}

M.STARTING = { stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.RUNNING = { settled = true, stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.STOPPING = { stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.STOPPED = { settled = true, stop = "STOPPED", start = "STARTING", delete = "DELETING" }
M.ERROR = { settled = true, stop = "STOPPING", start = "STARTING", delete = "DELETING" }
M.DELETING = { stop = "DELETING", delete = "DELETING" }
M.DELETED = { settled = true, stop = "DELETED", delete = "DELETED" }

return M
