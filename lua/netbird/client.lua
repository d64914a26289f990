-- One request to Netbird's management API: its token, JSON both ways, what is sent again, and what a refusal becomes.
--
--   request = client.new{ token =, url =, a_minute = 120, seconds = 60, try_seconds = 25, tries = 4, first_pause =,
--                         longest_pause =, clock = }      clock: as in rate.lua
--   request(method, path [, body [, how]]) -> value | nil, err      [yields]
--       value   the decoded answer, a table            how     {seconds = for all of it, share = of the minute (rate.lua)}
--
-- Sent again: what changes nothing by being done twice (GET, PUT, DELETE) after faults of the connection, 429 and 5xx; a POST
-- after 429 alone, for a lost answer may be that of something made: whoever asks looks by name before he makes it (objects.lua).
-- Pauses double from half a second, with jitter, and are not shorter than Retry-After.
--
-- err.code: "not_found" (404), "exists" (409), "linked" (400: a group that something refers to), "denied" (401, 403: our
-- token), "invalid" (other 4xx), "unavailable", "timeout", "io" (retryable), "failed" (no answer that we take), "cancelled";
-- err.status is Netbird's. It has no http_status: a wrong token of ours is no fault of whoever asks us. No text of an error
-- holds the token.

local crypto = require "crypto"
local errors = require "errors"
local http = require "http"
local json = require "json"
local log = require "log"
local rate = require "netbird.rate"
local utf8 = require "utf8"

local M = {}

local A_MINUTE, SECONDS, TRY_SECONDS, TRIES = 120, 60, 25, 4
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8
local MAX_ANSWER, MAX_TEXT = 32 * 1024 * 1024, 300 -- lists have no pages

-- A text of theirs as we may show it: bounded, on one line, without anything that looks like a token or a key.
local function clean(text)
  if type(text) ~= "string" or text == "" then return nil end
  text = text:gsub("%c+", " "):gsub("nbp_%w+", "(a token)"):gsub("%x%x%x%x%x%x%x%x%-%x+%-%x+%-%x+%-%x+", "(an id)")
  return utf8.valid(text) and utf8.cut(text, MAX_TEXT) or nil
end

local codes = { [401] = "denied", [403] = "denied", [404] = "not_found", [409] = "exists", [429] = "unavailable" }

local function code_of(status, text)
  if status == 400 and text:find("linked", 1, true) then return "linked" end
  return codes[status] or status >= 500 and "unavailable" or status >= 400 and "invalid" or "failed"
end

local function seconds_of(header)
  return header and #header < 8 and header:match("^%d+$") and tonumber(header) or nil
end

local function refusal(answer)
  local body = json.decode(answer.body)
  local said = type(body) == "table" and clean(body.message)
  local text = said or "it answered with status " .. answer.status
  if answer.status == 401 then text = "it does not take NETBIRD_API_TOKEN (" .. text .. ")" end
  local again = answer.status == 429 or answer.status >= 500
  return errors.new(code_of(answer.status, text), "Netbird: " .. text, {
    status = answer.status, retryable = again, retry_after = again and seconds_of(answer.headers["retry-after"]) or nil,
  })
end

local function fault(err)
  if err.code == "cancelled" then return err end
  return errors.new(err.retryable and err.code or "failed", "Netbird cannot be reached: " .. (clean(err.message) or "?"),
    { retryable = err.retryable })
end

local function outcome(answer, err)
  if not answer then return nil, fault(err) end
  if answer.status < 200 or answer.status > 299 then return nil, refusal(answer) end
  if answer.body == "" then return {} end
  local value = json.decode(answer.body)
  if value == json.null then return json.array {} end -- a list of nothing, as Go has it
  if type(value) == "table" then return value end
  return errors.fail("io", "Netbird: the answer is no JSON", { retryable = true })
end

local function pause_after(o, n, err)
  local most = math.min(o.longest_pause or LONGEST_PAUSE, (o.first_pause or FIRST_PAUSE) * 2 ^ (n - 1))
  return math.max(most * (0.5 + crypto.random(1):byte() / 510), err.retry_after or 0)
end

local function may_repeat(method, err) return err.retryable and (method ~= "POST" or err.status == 429) end

local function send(o, turns, request, how)
  local clock = turns.clock
  local deadline = clock.now() + (how.seconds or o.seconds or SECONDS) * 1000
  local function left() return (deadline - clock.now()) / 1000 end
  local n = 0
  while true do
    n = n + 1
    local ok, err = turns:take(math.max(0, left()), how.share)
    if not ok then return nil, err end
    request.timeout = math.max(0.001, math.min(o.try_seconds or TRY_SECONDS, left()))
    local value
    value, err = outcome(http.request(request))
    if value or not may_repeat(request.method, err) or n >= (o.tries or TRIES) then return value, err end
    local pause = pause_after(o, n, err)
    if pause >= left() then return nil, err end -- whoever asked may come back, with retry_after
    log.debug("netbird", "asked again", { request = request.method .. " " .. request.url, try = n + 1, error = tostring(err) })
    ok, err = clock.sleep(pause)
    if not ok then return nil, err end
  end
end

function M.new(o)
  assert(o.token:match("^[%w._~+/=-]+$"), "a token of Netbird's expected") -- here, so that it never becomes a second header
  local turns = rate.new(o.a_minute or A_MINUTE, o.clock)
  local url = o.url:gsub("/+$", "")
  return function(method, path, body, how)
    return send(o, turns, {
      method = method, url = url .. path, body = body and json.encode(body), max_body = MAX_ANSWER, ca = o.ca,
      headers = {
        ["Authorization"] = "Token " .. o.token, ["Accept"] = "application/json", ["User-Agent"] = "cchost",
        ["Content-Type"] = body and "application/json" or nil,
      },
    }, how or {})
  end
end

return M
