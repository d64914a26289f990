-- What the store knows of a job: which of its times has been claimed, by whom, and what came of it. The record "job":
--
--   {id = name, rule = text, since = unix seconds from which this rule counts, last = the due time that was claimed
--    (unix seconds), started_at, deadline_at, ended_at (null: it runs, or its process died in it), ok and error (of the
--    last run that ended), runs = how many were begun,
--    skipped = how often it was due while it ran, runner = token of the process}
--
--   recs | nil, err = claims.register(list, now)     [yields] of {{name =, rule =}...}, by name; what is new counts from now
--   claims.base(rec, now) -> unix                    the time from which a rule's next due time is to be looked for
--   true | false | nil, err = claims.claim(name, due [, {seen = rec, seconds = deadline}])   [yields]
--   claims.runs_elsewhere(rec) -> boolean            [yields]
--   true | nil, err = claims.settle(name, due, err, skipped)   [yields] the run of this process has ended; err: how it failed
--
-- A due time is claimed once, by whoever commits first; one before the last that was claimed is over. A run that fails
-- after one that did not leaves an entry "failed" in the job's log, and the next good one "recovered"; all the others
-- leave none, or a job of every minute would fill the log.

local json = require "json"
local runner = require "runner"
local store = require "store"
local time = require "time"
local utf8 = require "utf8"
local workflow = require "workflow"

local M = {}

local SLACK = 3600      -- what is further ahead was written by a clock that was wrong
local TEXT_MAX = 500    -- bytes of an error that are kept

local function blank(name, since)
  return {
    id = name, rule = json.null, since = since, last = json.null, started_at = json.null, deadline_at = json.null,
    ended_at = json.null, ok = json.null, error = json.null, runs = 0, skipped = 0, runner = json.null,
  }
end

-- A rule that has been edited counts from then on: what it would have meant before is not made up for.
function M.register(list, now)
  now = math.floor(now)
  return store.update(function(tx)
    local recs = {}
    for _, job in ipairs(list) do
      local rec = tx:get("job", job.name) or blank(job.name, now)
      if rec.rule ~= job.rule.text then
        rec.rule, rec.since = job.rule.text, now
        tx:put("job", job.name, rec)
      end
      recs[job.name] = rec
    end
    return recs
  end)
end

function M.base(rec, now)
  local base = rec.since
  if rec.last ~= json.null then base = math.max(base, rec.last) end
  return base > now + SLACK and now or base
end

local function claimed(rec, due, now)
  if rec.last == json.null or rec.last < due then return false end
  return not (rec.last > now + SLACK and due <= now)
end

function M.claim(name, due, options)
  local seen, seconds = options and options.seen, options and options.seconds or SLACK
  return store.update(function(tx)
    local rec, now = tx:get("job", name) or blank(name, due), tx:now()
    if claimed(rec, due, now / 1000) or seen and rec.runs ~= seen.runs then return false end
    rec.last, rec.runs, rec.runner = due, rec.runs + 1, workflow.me
    rec.started_at, rec.deadline_at, rec.ended_at = time.rfc3339(now), time.rfc3339(now + seconds * 1000), json.null
    tx:put("job", name, rec)
    return true
  end)
end

-- A process that died runs nothing; one that is over its deadline is not waited for.
function M.runs_elsewhere(rec)
  if not rec or rec.started_at == json.null or rec.ended_at ~= json.null or rec.runner == workflow.me then return false end
  return time.parse(rec.deadline_at) > time.now() and runner.alive(rec.runner) == true
end

function M.settle(name, due, err, skipped)
  local text = err and utf8.cut(json.text(tostring(err)), TEXT_MAX) or json.null
  return store.update(function(tx)
    local rec = tx:get("job", name)
    if not rec or rec.last ~= due or rec.runner ~= workflow.me then return true end
    local was_ok = rec.ok ~= false
    rec.ended_at, rec.ok, rec.error, rec.skipped = time.rfc3339(tx:now()), not err, text, rec.skipped + skipped
    tx:put("job", name, rec)
    if was_ok ~= rec.ok then
      tx:log("job", name, rec.ok and "recovered" or "failed", { due = due, error = text }, "system")
    end
    return true
  end)
end

return M
