-- Idempotency-Key: a POST that is sent again with the same key and body has one effect and one answer, for 24 hours.
--
-- A request with a key holds a ticket while it runs; others with the same key wait for it. What it does claims the key
-- in the very commit that has the effect; the answer is kept when it is known. After a crash in between, the repeat
-- finds the claim and waits for the operation that it names instead of asking again.
--
--   ticket, answer, err = idempotency.begin(who, key, fingerprint)     exactly one of the three; who: USER[/more]
--   ticket:begin_effect(outside)        before anything is done
--   ticket.secret = true                the answer holds a secret: it is kept sealed
--   ticket:claim(tx, rec, op, status)   in the update; without `op` (or with a status) the answer is the record itself
--   ticket:answered(tx, status, body, headers)   in the update: the answer, where it is known already; body is its text
--   ticket.claimed                      {machine =, operation =} of an earlier life, or nil
--   ticket:finish(status, body, headers)   [yields] keeps the answer, lets the next one in; a second call does nothing
--
-- Record "idempotency": {fingerprint, at, machine, operation, answer = {status, body, headers}}.

local crypto = require "crypto"
local errors = require "errors"
local json = require "json"
local log = require "log"
local store = require "store"
local task = require "task"
local time = require "time"
local vault = require "vault"

local M = {}

M.HOURS = 24

local WAIT_SECONDS = 60

local Ticket = {}
Ticket.__index = Ticket

local inside = {} -- [record id] = {signal =, fingerprint =}

-- Same key, another request.
local function mismatch()
  return errors.new("key_reused", "Idempotency-Key: this key was used for another request; use a new one",
    { field = "Idempotency-Key" })
end

local function live(id)
  local value = store.get("idempotency", id)
  if value and time.now() - time.parse(value.at) < M.HOURS * 3600000 then return value end
end

-- Until nobody with this key is inside. -> true | nil, err
local function wait_turn(id, fingerprint)
  local ends = time.mono() + WAIT_SECONDS * 1000
  while inside[id] do
    if inside[id].fingerprint ~= fingerprint then return nil, mismatch() end
    local left = (ends - time.mono()) / 1000
    if left <= 0 then
      return errors.fail("conflict", "the first request with this Idempotency-Key is still under way", { retry_after = 5 })
    end
    local _, err = inside[id].signal:wait(left)
    if err and err.code == "cancelled" then return nil, err end
  end
  return true
end

-- A kept answer, as begin gives it; one that was sealed is opened.
local function opened(id, answer)
  if not answer.sealed then return nil, answer end
  local body, err = vault.unseal(answer.sealed, "idempotency/" .. id)
  if not body then return nil, nil, err end
  return nil, { status = answer.status, headers = answer.headers, body = body }
end

function M.begin(who, key, fingerprint)
  if #key < 1 or #key > 255 or key:find("[^\33-\126]") then
    local what = "Idempotency-Key: 1 to 255 visible ASCII characters expected"
    return nil, nil, errors.new("invalid", what, { field = "Idempotency-Key" })
  end
  local id = crypto.hex(crypto.sha256(who .. "\0" .. key))
  local ok, err = wait_turn(id, fingerprint)
  if not ok then return nil, nil, err end
  local value = live(id)
  if value and value.fingerprint ~= fingerprint then return nil, nil, mismatch() end
  if value and value.answer then return opened(id, value.answer) end
  inside[id] = { signal = task.signal(), fingerprint = fingerprint }
  return setmetatable({ id = id, who = who:match("^[^/]+"), fingerprint = fingerprint, claimed = value }, Ticket)
end

-- Before the handler runs. `outside`: its effect is in no commit, so the key is claimed ahead of it; a repeat after a
-- crash is told that nobody knows whether it took place. -> true | nil, err
function Ticket:begin_effect(outside)
  if self.claimed and not self.claimed.operation then
    return errors.fail("conflict", "the first request with this Idempotency-Key was cut off; whether it took effect is not known")
  end
  if not outside then return true end
  self.ahead = true
  return store.update(function(tx)
    self:claim(tx)
    return true
  end)
end

function Ticket:claim(tx, rec, op, status)
  local value = { fingerprint = self.fingerprint, at = time.rfc3339(time.now()), machine = rec and rec.id, operation = op }
  if rec and (status or not op) then
    local headers = { ETag = ('"%d"'):format(rec.version), Location = op and "/operations/" .. op or nil }
    value.answer = { status = status or 200, body = json.encode(rec), headers = headers }
  end
  self.kept = value.answer and value.answer.body
  tx:put("idempotency", self.id, value, self.who)
end

-- Answers that say nothing about the request itself are not kept: the repeat shall try again (or, where the effect may
-- have taken place, be told that nobody knows).
local function lasting(status) return status < 500 and status ~= 401 and status ~= 429 end

-- An answer as it is kept.
local function kept(self, answer)
  if not self.secret then return answer end
  return { status = answer.status, headers = answer.headers, sealed = vault.seal(answer.body, "idempotency/" .. self.id) }
end

function Ticket:answered(tx, status, body, headers)
  local answer = kept(self, { status = status, body = body, headers = headers })
  self.kept = body
  tx:put("idempotency", self.id, { fingerprint = self.fingerprint, at = time.rfc3339(time.now()), answer = answer }, self.who)
end

local function keep(self, answer)
  local _, err = store.update(function(tx)
    local value = tx:get("idempotency", self.id)
    if not value or value.fingerprint ~= self.fingerprint then
      value = { fingerprint = self.fingerprint, at = time.rfc3339(time.now()) }
    end
    value.answer = kept(self, answer)
    tx:put("idempotency", self.id, value, self.who)
    return true
  end)
  if err then log.warn("idempotency", "an answer could not be kept", { error = tostring(err) }) end
end

-- What was claimed ahead has not begun after all.
local function forget(self)
  store.update(function(tx)
    tx:del("idempotency", self.id)
    return true
  end)
end

local function settle(self, status, body, headers)
  if status and lasting(status) and self.kept ~= body then
    keep(self, { status = status, body = body or "", headers = headers })
  elseif self.ahead and headers and headers["Retry-After"] then
    forget(self) -- it was turned away before it began
  end
end

function Ticket:finish(status, body, headers)
  if self.over then return end
  self.over = true
  local ok, why = xpcall(settle, debug.traceback, self, status, body, headers)
  local turn = inside[self.id]
  inside[self.id] = nil -- also where that has raised: the next one must not wait for nobody
  turn.signal:fire()
  if not ok then error(why, 0) end
end

return M
