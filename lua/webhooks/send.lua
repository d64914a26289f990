-- One delivery to a webhook, in the form of Standard Webhooks, so that existing libraries verify it:
--
--   webhook-id: the same at every try, and of no other entry or webhook
--   webhook-timestamp: of the try, in seconds
--   webhook-signature: "v1," and the base64 of HMAC-SHA256(secret, "ID.TIMESTAMP.BODY"), one of each secret that is good now
--
--   send.id(hook, entry) -> the id       send.post(hook, id, body) -> outcome [yields]
-- outcome: {ok = bool, status =, ms =, body = what of the answer is kept, error = sentence or nil, code = of an error of ours,
--   retry_after = seconds or nil, gone = it never wants any again}

local crypto = require "crypto"
local hooks = require "webhooks.hooks"
local http = require "http"
local json = require "json"
local log = require "log"
local retry_after = require "webhooks.retry_after"
local time = require "time"

local M = {}

M.settings = { timeout = 15, allow = {}, ca = nil }

local KEPT = 1024 -- bytes of an answer

-- The hash tells entries apart that have the same sequence in two lives of a store that was restored.
function M.id(hook, e) return ("msg_%s_%d_%s"):format(hook.id, e.seq, e.hash:sub(1, 8)) end

local function key_of(secret) return crypto.unbase64(secret:match("^whsec_(.+)$")) end

function M.signature(secrets, id, timestamp, body)
  local text, out = ("%s.%d.%s"):format(id, timestamp, body), {}
  for i, secret in ipairs(secrets) do out[i] = "v1," .. crypto.base64(crypto.hmac_sha256(key_of(secret), text)) end
  return table.concat(out, " ")
end

local function outcome(answer, err, ms)
  if not answer then return { ok = false, ms = ms, code = err.code, error = err.message } end
  local status = answer.status
  local out = { ok = status >= 200 and status < 300, status = status, ms = ms, body = json.text(answer.body) }
  if out.ok then return out end
  out.gone = status == 410
  out.retry_after = retry_after.seconds(answer.headers["retry-after"], time.now())
  local redirect = status >= 300 and status < 400
  out.error = ("it answered %d%s"):format(status, redirect and "; redirects are not followed" or "")
  return out
end

function M.post(hook, id, body)
  local secrets, err = hooks.secrets(hook)
  if not secrets then
    log.error("webhooks", "the secret of a webhook cannot be read", { webhook = hook.id, error = tostring(err) })
    return { ok = false, ms = 0, code = err.code, error = "its secret cannot be read" }
  end
  local timestamp, begun = math.floor(time.now() / 1000), time.mono()
  local s = M.settings
  local answer, why = http.request {
    url = hook.url, method = "POST", body = body, timeout = s.timeout, connect_timeout = math.min(5, s.timeout),
    max_body = KEPT, cut = true, public = s.allow, ca = s.ca,
    headers = {
      ["Content-Type"] = "application/json", ["User-Agent"] = "cchost-webhooks", ["webhook-id"] = id,
      ["webhook-timestamp"] = ("%d"):format(timestamp), ["webhook-signature"] = M.signature(secrets, id, timestamp, body),
    },
  }
  return outcome(answer, why, math.floor(time.mono() - begun))
end

return M
