-- What is done at its time, once however many hosts there are.
--
-- {name =, every = "30m" | at = "30 3 * * mon-fri" (minute hour day month weekday), zone = "Europe/Berlin" (UTC),
--  missed = "once" (one run makes up for an outage) | "skip", deadline = seconds (3600), run = function(due)}
-- run may call housekeeping.*, instances.list(), .get(id), .start(id), .stop(id), .delete(id) as the operator,
-- http.request{url =, method =, headers =, body =}, log.info(text), log.warn(text), time.now().
-- It has failed when it returns nil, err.

return {
  kind = "schedule", name = "default", version = 1,
  jobs = {
    -- old records and entries of the log are forgotten (LOG_DAYS, TOMBSTONE_DAYS, OPERATION_DAYS)
    { name = "forget", every = "1h", run = function() return housekeeping.forget() end },
    -- what dead processes left in DATA_DIR/run
    { name = "processes", every = "1h", run = function() return housekeeping.processes() end },
    -- at Netbird: keys of ours that were used or have expired, and what machines and users that are gone have left
    { name = "netbird", every = "30m", run = function() return housekeeping.netbird() end },
  },
}
