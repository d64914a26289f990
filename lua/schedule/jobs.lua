-- Named jobs that run when their rule is due: once, however many processes share the store.
--
--   jobs.run(list [, now])       [yields] until jobs.stop(), or until its task is cancelled. list = {{name =, rule = from
--                                calendar.parse, run = function(due) ... end, missed = "once" | "skip", deadline = seconds}...};
--                                now() -> unix seconds, the host's clock unless told. [raises] when the list is not good
--   jobs.check(list) -> true | nil, err    code "invalid": which job, what is wrong
--   jobs.replace(list)           from now on these, instead. Runs that are under way end by their old function; a job
--                                whose name and rule stay the same goes on as if nothing had happened. [raises] likewise
--   jobs.stop()                  starts no more; jobs.run returns true
--   jobs.finish(seconds)         [yields] waits for the runs under way
--   jobs.list() -> {{name =, rule = text, missed =, deadline =, next = unix or nil, running = due or nil, and what its record
--                                holds: last, started_at, ended_at, ok, error, runs, skipped}...}
--   jobs.claim(name, due) -> true | false | nil, err    [yields] claims.lua
--
-- run(due) is a task and may wait. It has failed when it raises, or returns nil or false and an error: that is logged,
-- recorded, and changes nothing for its next time. After `deadline` seconds (an hour unless told) its waits return nil,
-- err "cancelled", again each second until it ends; it counts as running as long, and has then failed.
-- A job that is due while it still runs, here or in another process, is not started: that is logged and counted.
--
-- What was due while no process ran is made up for by one run, for the last of those times ("once"); or it is not
-- ("skip": what is more than a minute late). A job that is new, or whose rule was edited, has missed nothing. A run that
-- its process did not outlive is not repeated: the next due time comes.

local claims = require "schedule.claims"
local errors = require "errors"
local log = require "log"
local store = require "store"
local task = require "task"
local time = require "time"

local M = { claim = claims.claim }

M.DEADLINE = 3600

local GRACE = 60       -- seconds; what is later was missed
local LOOK = 30        -- the longest wait: a wall clock may be set meanwhile
local MOST = 7 * 86400 -- the longest deadline
local AGAIN = 5        -- after a claim that the store did not take

local active = {}      -- {{name, rule, run, missed, deadline, next}...}
local states = {}      -- [name] = {running = due, ended = signal, skipped =, troubled =}: what outlives a replacement
local wanted           -- a list that is to become active
local wake = task.signal()
local looping, stopping = false, false

local function state(name)
  states[name] = states[name] or { ended = task.signal(), skipped = 0 }
  return states[name]
end

-- ---- lists

local function fault_of(job)
  if type(job) ~= "table" then return "a table is expected, not a " .. type(job) end
  if type(job.name) ~= "string" or not job.name:match("^[%w_.-]+$") or #job.name > 64 then
    return "name: 1 to 64 letters, digits, _ . or - are expected"
  end
  if type(job.rule) ~= "table" or not job.rule.next or not job.rule.text then return "rule: one of calendar.parse is expected" end
  if type(job.run) ~= "function" then return "run: a function is expected, not a " .. type(job.run) end
  if job.missed ~= nil and job.missed ~= "once" and job.missed ~= "skip" then return 'missed: "once" or "skip" is expected' end
  local d = job.deadline
  if d ~= nil and not (type(d) == "number" and d >= 1 and d <= MOST) then return "deadline: 1 to 604800 seconds are expected" end
end

function M.check(list)
  if type(list) ~= "table" then return errors.fail("invalid", "a list of jobs is expected, not a " .. type(list)) end
  local seen = {}
  for i, job in ipairs(list) do
    local name = type(job) == "table" and type(job.name) == "string" and (" (%s)"):format(job.name:sub(1, 64)) or ""
    local fault = fault_of(job) or seen[job.name] and ("its name is that of job %d"):format(seen[job.name])
    if fault then return errors.fail("invalid", ("job %d%s: %s"):format(i, name, fault)) end
    seen[job.name] = i
  end
  return true
end

local function copied(list)
  local ok, err = M.check(list)
  if not ok then error("jobs: " .. err.message, 3) end
  local out = {}
  for i, job in ipairs(list) do
    out[i] = {
      name = job.name, rule = job.rule, run = job.run, missed = job.missed or "once", deadline = job.deadline or M.DEADLINE,
    }
  end
  return out
end

-- ---- one run

-- Runs the job's function in a task of its own, which ends, or is told to, by the deadline.
-- -> nil | err of what failed, "cancelled" when this process ends
local function supervise(job, due)
  local over, result = task.signal(), nil
  local inner = task.spawn(function()
    local ok, value, err = xpcall(job.run, debug.traceback, due)
    result = { ok = ok, value = value, err = err }
    over:fire()
  end)
  local ends, late = time.mono() + job.deadline * 1000, false
  while not result do
    local left = (ends - time.mono()) / 1000
    if left <= 0 then
      if not late then log.error("jobs", "a job is over its deadline", { job = job.name, seconds = job.deadline }) end
      late, left = true, 1
      inner:cancel("the deadline of the job is over")
    end
    local _, err = over:wait(math.min(left, 86400))
    if err and err.code == "cancelled" then
      inner:cancel(err.message)
      return err
    end
  end
  if late then return errors.new("timeout", ("it was over its deadline of %d s"):format(job.deadline)) end
  if not result.ok then
    log.error("jobs", "a job raised", { job = job.name, traceback = tostring(result.value) })
    return errors.new("internal", "it raised: " .. tostring(result.value):match("^[^\n]*"))
  end
  if not result.value and result.err ~= nil then
    log.error("jobs", "a job failed", { job = job.name, error = tostring(result.err) })
    return result.err
  end
end

-- A store that cannot be written is tried until it can: the job has run.
local function record(job, st, due, failed)
  local pause = 1
  while true do
    local skipped = st.skipped
    local ok, err = claims.settle(job.name, due, failed, skipped)
    if ok then
      st.skipped = st.skipped - skipped
      return
    end
    if err.code == "cancelled" then return end
    if pause == 1 then log.error("jobs", "cannot record a run; trying on", { job = job.name, error = tostring(err) }) end
    local _, interrupted = task.sleep(pause)
    if interrupted then return end
    pause = math.min(pause * 2, 30)
  end
end

local function skip(job, st, where)
  st.skipped = st.skipped + 1
  log.info("jobs", "a job is due and still runs; it is not started again", { job = job.name, where = where })
end

-- Claims the due time; if it is ours, runs the job and records what came of it.
local function perform(job, st, due)
  local rec, err = store.get("job", job.name)
  if rec then err = nil end -- it is the revision
  if not err and claims.runs_elsewhere(rec) then return skip(job, st, "another process") end
  local ours
  if not err then ours, err = claims.claim(job.name, due, { seen = rec, seconds = job.deadline }) end
  if ours == nil then
    if err.code == "cancelled" then return end
    if not st.troubled then log.error("jobs", "cannot claim a job; trying on", { job = job.name, error = tostring(err) }) end
    st.troubled, job.next, job.not_before = true, due, time.mono() + AGAIN * 1000
    return wake:fire()
  end
  st.troubled = false
  if not ours then return end
  local failed = supervise(job, due)
  if failed and failed.code == "cancelled" then
    local _, ends = task.sleep(0)
    if ends then return end
  end
  record(job, st, due, failed)
end

local function start(job, due)
  local st = state(job.name)
  if st.running then return skip(job, st, "this process") end
  st.running = due
  task.spawn(function()
    local ok, why = xpcall(perform, debug.traceback, job, st, due)
    st.running = nil
    st.ended:fire()
    if not ok then log.error("jobs", "a fault of cchost in a job's run", { job = job.name, traceback = tostring(why) }) end
  end)
end

-- ---- the loop

-- Starts the job if it is due. Of several times that have passed the last one counts.
local function look(job, now)
  if not job.next or job.next > now or job.not_before and job.not_before > time.mono() then return end
  local due = math.max(job.rule:previous(now) or job.next, job.next)
  local missed = now - due > GRACE
  if missed or now - job.next > GRACE then
    log.info("jobs", missed and job.missed == "skip" and "a job was missed" or "a job is late", {
      job = job.name, due = time.rfc3339(due * 1000), late = math.floor(now - job.next),
    })
  end
  job.next, job.not_before = job.rule:next(due), nil
  if not (missed and job.missed == "skip") then start(job, due) end
end

local function first(job, rec, now)
  local base = claims.base(rec, now)
  if job.missed == "skip" then base = math.max(base, now - GRACE) end
  return job.rule:next(base)
end

-- Makes the wanted list the active one. -> true | nil, err: the old one stays
local function adopt(list, now)
  local recs, err = claims.register(list, now)
  if not recs then return nil, err end
  local before = {}
  for _, job in ipairs(active) do before[job.name .. " " .. job.rule.text] = job end
  for _, job in ipairs(list) do
    local old = before[job.name .. " " .. job.rule.text]
    if old then job.next, job.not_before = old.next, old.not_before else job.next = first(job, recs[job.name], now) end
  end
  active = list
  return true
end

-- -> why it ended: nil, or err
local function pause_until_next(now)
  local pause = LOOK
  for _, job in ipairs(active) do
    local left = job.next and job.next - now or LOOK
    if job.not_before then left = math.max(left, (job.not_before - time.mono()) / 1000) end
    pause = math.min(pause, left)
  end
  return select(2, wake:wait(math.max(pause, 0.001)))
end

-- -> true, also when there was nothing to do | nil, err
local function adopt_wanted(now)
  local list = wanted
  if not list then return true end
  local ok, err = adopt(list, now)
  if ok and wanted == list then wanted = nil end
  if not ok and err.code ~= "cancelled" then
    log.error("jobs", "cannot take up the jobs; trying on", { error = tostring(err) })
  end
  return ok, err
end

local function loop(clock)
  local before = clock()
  while not stopping do
    local ok, err = adopt_wanted(clock())
    local now = clock()
    if now < before - GRACE then -- the clock was set back
      for _, job in ipairs(active) do job.next = job.rule:next(now) end
    end
    before = now
    if ok and not wanted then
      for _, job in ipairs(active) do look(job, now) end
    end
    if not err and not wanted and not stopping then
      err = pause_until_next(now)
    elseif err and err.code ~= "cancelled" then
      err = select(2, wake:wait(1))
    end
    if err and err.code == "cancelled" then return nil, err end
  end
  return true
end

function M.run(list, clock)
  if looping then error("jobs.run: it runs already", 2) end
  wanted, active, stopping, looping = copied(list), {}, false, true
  local ok, result, err = xpcall(loop, debug.traceback, clock or function() return time.now() / 1000 end)
  looping, active = false, {}
  if not ok then error(result, 0) end
  return result, err
end

function M.replace(list)
  wanted = copied(list)
  wake:fire()
end

function M.stop()
  stopping = true
  wake:fire()
end

function M.finish(seconds)
  local ends = time.mono() + seconds * 1000
  for _, st in pairs(states) do
    while st.running do
      local left = (ends - time.mono()) / 1000
      if left <= 0 then return end
      local _, err = st.ended:wait(math.min(left, 86400))
      if err and err.code == "cancelled" then return end
    end
  end
end

function M.list()
  local out = {}
  for i, job in ipairs(active) do
    local rec, st = store.get("job", job.name) or {}, state(job.name)
    out[i] = {
      name = job.name, rule = job.rule.text, missed = job.missed, deadline = job.deadline, next = job.next, running = st.running,
      last = rec.last, started_at = rec.started_at, ended_at = rec.ended_at, ok = rec.ok, error = rec.error, runs = rec.runs,
      skipped = (rec.skipped or 0) + st.skipped,
    }
  end
  return out
end

return M
