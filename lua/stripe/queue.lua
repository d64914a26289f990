-- Durable work in matters of Stripe: put in the commit that gives cause for it, done by serve, tried again with pauses, after
-- a crash too; what fails in a way that time does not heal is parked, with an alert, until the operator has it tried again.
--
--   q = queue.new(kind, {run =, tries = 5, days = how long what is done is remembered, what = "an event of Stripe"})
--   q:put(tx, id, rec) -> true, or false when there is one with this id, done or not     in an update
--   q:close(tx, id, rec, note)    likewise, of what needs no work: it is only remembered
--   q:kick()                      somebody has put something: look at once
--   q:serve()                     [serve's]
--   q:retry(id) -> true | nil, err     [yields] of one that is parked
--   queue.all                     [kind] = q
--
-- run(id, rec) [yields] may be called again for what it did already. It returns
--   true, note, also      done; also(tx), if there is one, belongs into the commit that says so
--   false, seconds        not yet: again later, and that is no failure
--   nil, err              failed. What err calls retryable is tried for three days, all else `tries` times
--
-- The record: {status = "pending" | "done" | "parked", lane =, attempts =, next_at = unix ms, since = unix ms, error =, note =,
-- ...}. Of one lane one is worked on at a time, in the order in which they came; without a lane each by itself.
-- Indexes: KIND_pending time/id, KIND_parked id, KIND_done time/id (when it is forgotten).

local errors = require "errors"
local log = require "log"
local steady = require "steady"
local store = require "store"
local task = require "task"

local M = { all = {} }

local Queue = {}
Queue.__index = Queue

local LOOK_SECONDS, AT_ONCE, PAGE = 0.5, 8, 500
local FIRST_PAUSE, LONGEST_PAUSE = 500, 600000 -- ms
local PATIENCE = 3 * 86400000
local DAY, TIDY_SECONDS = 86400000, 600

local function now() return math.floor(steady.now()) end
local function due_key(at, id) return ("%015d/%s"):format(at, id) end

function M.new(kind, o)
  local q = setmetatable({ kind = kind, run = o.run, tries = o.tries or 5, days = o.days or 60, what = o.what,
    busy = {}, lanes = {}, n = 0, signal = task.signal() }, Queue)
  M.all[kind] = q
  return q
end

-- ---- in an update

function Queue:put(tx, id, rec)
  if tx:get(self.kind, id) then return false end
  local at = now()
  rec.status, rec.attempts, rec.next_at, rec.since = "pending", 0, at, at
  tx:put(self.kind, id, rec, rec.user)
  tx:index(self.kind .. "_pending", due_key(at, id), "")
  return true
end

-- Puts `rec`, an entry that is done, under the moment at which it may be forgotten.
local function remember(self, tx, id, rec, note)
  rec.status, rec.note, rec.next_at, rec.done_at = "done", note, nil, now()
  tx:put(self.kind, id, rec, rec.user)
  tx:index(self.kind .. "_done", due_key(rec.done_at + self.days * DAY, id), "")
end

function Queue:close(tx, id, rec, note)
  if tx:get(self.kind, id) then return false end
  rec.attempts, rec.since = 0, now()
  remember(self, tx, id, rec, note)
  return true
end

-- Changes one that is pending. -> true | nil, err
local function change(self, id, fn)
  return store.update(function(tx)
    local rec = tx:get(self.kind, id)
    if not rec or rec.status ~= "pending" then return true end
    tx:unindex(self.kind .. "_pending", due_key(rec.next_at, id))
    return fn(tx, rec)
  end)
end

local function again(self, id, at, fn)
  return change(self, id, function(tx, rec)
    rec.next_at = at
    fn(rec)
    tx:put(self.kind, id, rec)
    tx:index(self.kind .. "_pending", due_key(at, id), "")
    return true
  end)
end

-- ---- what a try came to

local function done(self, id, note, also)
  return change(self, id, function(tx, rec)
    if also then also(tx, rec) end
    rec.error = nil
    remember(self, tx, id, rec, note)
    return true
  end)
end

local function park(self, id, rec, text)
  log.error("stripe", ("%s is parked: see `cchost stripe`, and `cchost stripe retry %s` when what is wrong is mended")
    :format(self.what, id), { id = id, kind = self.kind, type = rec.type, user = rec.user, error = text })
  return change(self, id, function(tx, now_is)
    now_is.status, now_is.error, now_is.next_at = "parked", text, nil
    now_is.attempts = now_is.attempts + 1
    tx:put(self.kind, id, now_is)
    tx:index(self.kind .. "_parked", id, "")
    tx:log(self.kind, id, "parked", { error = text }, "stripe")
    return true
  end)
end

local function failed(self, id, rec, err)
  local text = tostring(err)
  local tries = rec.attempts + 1
  local hopeless = not err.retryable and tries >= self.tries or now() - rec.since > PATIENCE
  if hopeless then return park(self, id, rec, text) end
  log.warn("stripe", self.what .. " is tried again",
    { id = id, kind = self.kind, type = rec.type, attempt = tries, error = text })
  local pause = math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ math.min(tries - 1, 12))
  return again(self, id, now() + math.max(pause, (err.retry_after or 0) * 1000), function(r)
    r.attempts, r.error = tries, text
  end)
end

-- An error value of whatever a run has raised: ours, and no time heals it.
local function raised(self, id, why)
  log.error("stripe", "work on " .. self.what .. " raised", { id = id, kind = self.kind, traceback = tostring(why) })
  return errors.new("internal", tostring(why):match("^[^\n]*"))
end

local function try(self, id)
  local rec = store.get(self.kind, id)
  if not rec or rec.status ~= "pending" then return end
  local ok, result, a, also = xpcall(self.run, debug.traceback, id, rec)
  if not ok then result, a = nil, raised(self, id, result) end
  if result == nil and type(a) == "table" and a.code == "cancelled" then return end -- we end; the next process goes on
  local kept, err
  if result then
    kept, err = done(self, id, a, also)
  elseif result == false then
    kept, err = again(self, id, now() + a * 1000, function() end)
  else
    kept, err = failed(self, id, rec, a)
  end
  if not kept then log.warn("stripe", "what came of work is not kept; it is done again", { id = id, error = tostring(err) }) end
end

-- ---- looking

local function start(self, id, lane)
  self.busy[id], self.n = true, self.n + 1
  if lane then self.lanes[lane] = true end
  task.spawn(function()
    local ok, why = xpcall(try, debug.traceback, self, id)
    if not ok then log.error("stripe", "a queue raised", { id = id, traceback = why }) end
    if not ok then task.sleep(LOOK_SECONDS) end
    self.busy[id], self.n = nil, self.n - 1
    if lane then self.lanes[lane] = nil end
    self.signal:fire()
  end)
end

local function look(self)
  local t = now()
  local passed = {} -- lanes of which an earlier one waits
  for _, row in ipairs(store.scan(self.kind .. "_pending", { limit = PAGE }) or {}) do
    if self.n >= AT_ONCE or tonumber(row.key:sub(1, 15)) > t then return end
    local id = row.key:sub(17)
    local rec = not self.busy[id] and store.get(self.kind, id)
    local lane = rec and rec.lane
    if rec and not (lane and (self.lanes[lane] or passed[lane])) then start(self, id, lane) end
    if lane then passed[lane] = true end
  end
end

local function tidy(self)
  local t = now()
  local rows = store.scan(self.kind .. "_done", { limit = PAGE }) or {}
  local old = {}
  for _, row in ipairs(rows) do
    if tonumber(row.key:sub(1, 15)) <= t then old[#old + 1] = row.key end
  end
  if #old == 0 then return end
  store.update(function(tx)
    for _, key in ipairs(old) do
      tx:unindex(self.kind .. "_done", key)
      tx:del(self.kind, key:sub(17))
    end
    return true
  end)
end

local function forever(fn, wait)
  task.spawn(function()
    local err
    repeat
      local ok, why = xpcall(fn, debug.traceback)
      if not ok then log.error("stripe", "looking for work raised", { traceback = why }) end
      err = wait()
    until err and err.code == "cancelled"
  end)
end

function Queue:kick() self.signal:fire() end

function Queue:serve()
  forever(function() look(self) end, function() return (select(2, self.signal:wait(LOOK_SECONDS))) end)
  forever(function() tidy(self) end, function() return (select(2, task.sleep(TIDY_SECONDS))) end)
end

-- ---- the operator

function Queue:retry(id)
  return store.update(function(tx)
    local rec = tx:get(self.kind, id)
    if not rec then return errors.fail("not_found", "there is none: " .. id) end
    if rec.status ~= "parked" then return errors.fail("state", ("it is %s, not parked"):format(rec.status)) end
    tx:unindex(self.kind .. "_parked", id)
    local at = now()
    rec.status, rec.attempts, rec.since, rec.next_at = "pending", 0, at, at
    tx:put(self.kind, id, rec)
    tx:index(self.kind .. "_pending", due_key(at, id), "")
    tx:log(self.kind, id, "retried", nil, "operator")
    return true
  end)
end

return M
