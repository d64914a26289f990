-- What is done about a machine that runs and fails: its agent does not answer, or its provider calls it unhealthy. It is asked
-- at each failure from the one on at which a warning is given (HEALTH_FAILURES).
--
-- decide(m, now) -> "keep" | "restart", reason
-- A restart ends all that runs on the machine, so it is for one that nobody reaches anyhow and on which nothing is known to be
-- at work: an agent that has been silent for ten minutes, twice as long after each restart, three times at most. A machine
-- whose agent answers is its user's matter. The label restart=never keeps it from all of this.

local P = { kind = "health", name = "careful", version = 1 }

local MINUTE = 60
local SILENT = 10 * MINUTE -- so long before the first restart, counted from its failing or from its last start
local TRIES = 3            -- restarts that may not help
local WORK = 120 * MINUTE  -- work that was seen so lately may still go on

-- Why it is not to be touched, however long it fails; or nil.
local function spared(m, now)
  if m.labels.restart == "never" then return "its label restart says never" end
  if m.source ~= "agent" then return "its agent answers: what its own check finds is for who uses it" end
  if m.widespread then return "many machines of its provider fail at once: no restart helps against that" end
  if m.lease_until and m.lease_until > now then
    return "not restarted before " .. clock(m.lease_until) .. ": " .. (m.lease_reason or "a busy lease")
  end
  if m.connections > 0 then return "not restarted while a terminal is open" end
  if m.busy_at and now - m.busy_at < WORK then
    return "not restarted before " .. clock(m.busy_at + WORK) .. ": it was at work at " .. clock(m.busy_at)
  end
end

function P.decide(m, now)
  local why = spared(m, now)
  if why then return "keep", why end
  if m.restarts >= TRIES then return "keep", m.restarts .. " restarts have not helped" end
  if m.restarts_hour >= m.most then return "keep", "it was restarted " .. m.restarts_hour .. " times within the hour" end
  local due = math.max(m.failing_since, m.started_at) + SILENT * 2 ^ m.restarts
  if now < due then return "keep", "to be restarted at " .. clock(due) .. " if it goes on" end
  return "restart", "its agent has not answered since " .. clock(m.failing_since)
end

function P.selftest(is)
  local m = {
    labels = {}, source = "agent", widespread = false, connections = 0, restarts = 0, restarts_hour = 0, most = 4,
    failing_since = 0, started_at = -3600,
  }
  is(P.decide(m, SILENT - 1), "keep")
  is(P.decide(m, SILENT), "restart")
  m.lease_until = SILENT + 1
  is(P.decide(m, SILENT), "keep")
end

return P
