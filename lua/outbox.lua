-- Mail that must not be lost, and that nobody waits for: put in the commit that gives cause for it, sent as soon as the mail
-- server takes it, tried again with pauses until it is of no use any more. A crash in between may send it twice, under the
-- same Message-ID.
--
--   outbox.put(tx, {to = address, subject =, text =, hours = how long it is of use})     in an update; nothing without mail
--   outbox.serve()                                                                       [serve's] sends what is there
--
-- The record "outbox" (id: by chance) {to, subject, text, attempts, next_at, ends_at}.

local crypto = require "crypto"
local log = require "log"
local mailer = require "accounts.mailer"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"
local walk = require "walk"

local M = { state = {} } -- {sent_at =, failed_at = RFC 3339, error =}: what this process has seen last

local FIRST, LAST = 10, 1800 -- seconds between two tries
local RAISED = 60            -- and after a fault of cchost

local LOOK_SECONDS = 1

-- What the store could not be told, so that nothing is sent at each look while the disk is full.
local gone = {}  -- [id]: it was sent, or is of no use
local pause = {} -- [id] = no try before that time (ms)

function M.put(tx, message)
  if not mailer.configured() then return end
  tx:put("outbox", crypto.token(12), {
    to = message.to, subject = message.subject, text = message.text, attempts = 0, next_at = steady.after(0),
    ends_at = steady.after((message.hours or 24) * 3600),
  })
end

local function forget(id)
  gone[id] = true
  local ok, err = store.update(function(tx)
    tx:del("outbox", id)
    return true
  end)
  if ok then gone[id], pause[id] = nil, nil end
  return ok, err
end

local function later(id, why)
  pause[id] = steady.now() + FIRST * 1000
  local ok, err = store.update(function(tx)
    local m = tx:get("outbox", id)
    if not m then return true end
    m.attempts, m.error = m.attempts + 1, why
    m.next_at = steady.after(math.min(LAST, FIRST * 2 ^ math.min(m.attempts - 1, 10)))
    tx:put("outbox", id, m)
    return true
  end)
  if ok then pause[id] = nil end
  return ok, err
end

local function send(id, m)
  if gone[id] then return forget(id) end
  if steady.left(m.next_at) > 0 or (pause[id] or 0) > steady.now() then return end
  if steady.left(m.ends_at) <= 0 then
    log.error("outbox", "a mail is of no use any more and was not sent", { subject = m.subject, error = m.error })
    return forget(id)
  end
  if not mailer.configured() then return end
  local ok, err = mailer.send { to = m.to, subject = m.subject, text = m.text, id = id }
  if ok then
    M.state.sent_at, M.state.failed_at, M.state.error = time.rfc3339(time.now()), nil, nil
    return forget(id)
  end
  if err.code == "cancelled" then return end
  M.state.failed_at, M.state.error = time.rfc3339(time.now()), tostring(err)
  log.warn("outbox", "a mail could not be sent", { subject = m.subject, attempt = m.attempts + 1, error = tostring(err) })
  if not err.retryable then return forget(id) end
  later(id, tostring(err))
end

-- -> true when the task is cancelled
local function look()
  for row in walk.kind("outbox", { limit = 100 }) do
    if not task.sleep(0) then return true end -- between two of them there is time to rest (upgrade.lua)
    local m = store.get("outbox", row.id)
    local ok, why = xpcall(function() return m and send(row.id, m) end, debug.traceback)
    if not ok then
      pause[row.id] = steady.now() + RAISED * 1000
      log.error("outbox", "sending a mail raised", { subject = m.subject, traceback = why })
    end
  end
end

function M.serve()
  task.spawn(function()
    repeat
      local ok, ends = xpcall(look, debug.traceback)
      if not ok then log.error("outbox", "looking for mails to send raised", { traceback = ends }) end
    until ok and ends or not task.sleep(LOOK_SECONDS)
  end)
end

return M
