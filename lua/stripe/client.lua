-- One request to Stripe: what is sent, when it is sent again, and what a refusal becomes.
--
--   call = client.new{ key =, url =, version =, ca =, seconds = 60, try_seconds = 25, tries = 4, first_pause =, longest_pause = }
--   call(method, path, params [, o]) -> value | nil, err      [yields]
--       params   goes into the query of a GET, else into a form body; form.lua raises on what cannot be sent
--       o        {idempotency = key, seconds = for all of it with its pauses}
--       value    the decoded answer
--
-- Every POST has an Idempotency-Key, random where none is given: so that what is sent again after a lost answer is not done
-- twice. Only a key that outlives us protects from a crash, too; Stripe keeps it for a day, and refuses it with another body.
--
-- Sent again, with the same key, as Stripe says: if Stripe-Should-Retry says so, and not if it says not; else after faults of
-- the connection, 409 (another request holds the object, or the key), 429, and 5xx. Pauses double from half a second, with
-- jitter, and are not shorter than Retry-After. A kept answer (Idempotent-Replayed) is not asked for again: it stays what it is.
--
-- err.code: "timeout", "unavailable", "io" (the way to Stripe, or Stripe itself: retryable, and perhaps done all the same),
-- "not_found", "failed" (refused, or no answer that we take), "cancelled"; err.retry_after in seconds. None of them makes of
-- a fault between Stripe and us one of whoever asks us: so there is no http_status either, which would become our answer's
-- (app.lua), and a wrong key of ours would sign users out. What Stripe said is in err.stripe = {status, type, code, param,
-- decline_code, request (what their support asks for), replayed}. No text of an error holds a key.

local crypto = require "crypto"
local errors = require "errors"
local form = require "stripe.form"
local http = require "http"
local json = require "json"
local log = require "log"
local task = require "task"
local time = require "time"
local utf8 = require "utf8"

local M = {}

local SECONDS, TRY_SECONDS, TRIES = 60, 25, 4
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8
local MAX_ANSWER, MAX_TEXT, MAX_KEY = 8 * 1024 * 1024, 500, 255

-- ---- what went wrong

-- A text of Stripe's as we may show it: bounded, on one line, without anything that looks like a key.
local function clean(text)
  if type(text) ~= "string" or text == "" then return nil end
  text = text:gsub("%c+", " "):gsub("[srp]k_[%w_*]+", "(a key)"):gsub("whsec_[%w_*+/=]+", "(a secret)")
  return utf8.valid(text) and utf8.cut(text, MAX_TEXT) or nil
end

local function seconds_of(header)
  return header and #header < 8 and header:match("^%d+$") and tonumber(header) or nil
end

-- Does Stripe say that the same may be sent again?
local function may_repeat(answer)
  local said = answer.headers["stripe-should-retry"]
  if said == "true" or said == "false" then return said == "true" end
  if answer.headers["idempotent-replayed"] == "true" then return false end
  return answer.status == 409 or answer.status == 429 or answer.status >= 500
end

-- Of an answer that is no success. -> err
local function refusal(answer)
  local again = may_repeat(answer)
  local body = json.decode(answer.body)
  local said = type(body) == "table" and type(body.error) == "table" and body.error or {}
  local text = clean(said.message) or "it answered with status " .. answer.status
  return errors.new(again and "unavailable" or answer.status == 404 and "not_found" or "failed", "Stripe: " .. text, {
    retryable = again, retry_after = again and seconds_of(answer.headers["retry-after"]) or nil,
    stripe = {
      status = answer.status, type = clean(said.type), code = clean(said.code), param = clean(said.param),
      decline_code = clean(said.decline_code), request = clean(answer.headers["request-id"]),
      replayed = answer.headers["idempotent-replayed"] == "true",
    },
  })
end

-- Of a transfer that failed: a certificate, an answer too long, a connection. -> err
local function fault(err)
  if err.code == "cancelled" then return err end
  return errors.new(err.retryable and err.code or "failed", "Stripe cannot be reached: " .. (clean(err.message) or "?"),
    { retryable = err.retryable })
end

-- -> value | nil, err
local function outcome(answer, err)
  if not answer then return nil, fault(err) end
  if answer.status < 200 or answer.status > 299 then return nil, refusal(answer) end
  local value = json.decode(answer.body)
  if type(value) == "table" and value ~= json.null then return value end
  -- something on the way has cut or made it; with the same key the next try gets what was kept
  return errors.fail("io", "Stripe: the answer is no JSON object", { retryable = true })
end

-- ---- sending

local function headers_of(o, sends, idempotency)
  return {
    ["Authorization"] = "Bearer " .. o.key, ["Stripe-Version"] = o.version, ["Accept"] = "application/json",
    ["User-Agent"] = "cchost", ["Idempotency-Key"] = idempotency,
    ["Content-Type"] = sends and "application/x-www-form-urlencoded" or nil,
  }
end

local function prepare(o, method, path, params, idempotency)
  local text = form.encode(params or {})
  local sends = method == "POST" or method == "DELETE" and text ~= ""
  return {
    method = method, url = o.url .. path .. (not sends and text ~= "" and "?" .. text or ""), body = sends and text or nil,
    headers = headers_of(o, sends, idempotency), max_body = MAX_ANSWER, ca = o.ca,
  }
end

-- The pause after the nth try: doubling, from a half to all of it by chance, and not less than Stripe asks for.
local function pause_after(o, n, err)
  local most = math.min(o.longest_pause or LONGEST_PAUSE, (o.first_pause or FIRST_PAUSE) * 2 ^ (n - 1))
  return math.max(most * (0.5 + crypto.random(1):byte() / 510), err.retry_after or 0)
end

local function send(o, request, seconds)
  local deadline = time.mono() + seconds * 1000
  local n = 0
  while true do
    n = n + 1
    request.timeout = math.max(0.001, math.min(o.try_seconds or TRY_SECONDS, (deadline - time.mono()) / 1000))
    local value, err = outcome(http.request(request))
    if value or not err.retryable or n >= (o.tries or TRIES) then return value, err end
    local pause = pause_after(o, n, err)
    if time.mono() + pause * 1000 >= deadline then return nil, err end -- whoever asked may come back, with retry_after
    log.debug("stripe", "asked again", { request = request.method .. " " .. request.url, try = n + 1, error = tostring(err) })
    local slept, why = task.sleep(pause)
    if not slept then return nil, why end
  end
end

function M.new(o)
  assert(o.key:match("^[sr]k_[%w_]+$"), "a key of Stripe's expected") -- here, so that it never becomes a second header
  return function(method, path, params, how)
    how = how or {}
    local idempotency = method == "POST" and (how.idempotency or crypto.uuid()) or nil
    if idempotency and not (#idempotency <= MAX_KEY and idempotency:match("^[%w._:/-]+$")) then
      error("an Idempotency-Key of at most 255 plain characters expected", 2)
    end
    return send(o, prepare(o, method, path, params, idempotency), how.seconds or o.seconds or SECONDS)
  end
end

return M
