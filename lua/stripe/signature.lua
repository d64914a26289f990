-- Whether Stripe said it: the signature of a webhook, over the bytes that came. Pure.
--
--   signature.verify(header, body, secrets, now [, tolerance]) -> true | nil, why
--       header     Stripe-Signature: "t=UNIX,v1=HEX[,v1=HEX...][,v0=...]", or nil
--       body       the raw body, before anything has read it as JSON
--       secrets    a list: the current one, and one that is being replaced; at least one
--       now        unix seconds; tolerance: how far from it `t` may be, in seconds (300)
--       why        a sentence that holds nothing of what came
--
-- Any v1 by any of the secrets is enough: while a secret is rolled Stripe signs with both. Schemes that are not known are
-- skipped. A header that is not wholly understood is refused, and a time in the future, too (Stripe's own libraries take it):
-- who could once make us sign for next year would else have next year to use it.

local crypto = require "crypto"

local M = {}

local TOLERANCE = 300
local MAX_HEADER, MAX_SIGNATURES = 4096, 16

-- "t=1,v1=a,v0=b" -> "1", {"a"} | nil, why
local function parse(header)
  local time, signatures = nil, {}
  for item in (header .. ","):gmatch("([^,]*),") do
    local name, value = item:match("^%s*([%w_]+)=(%S+)%s*$")
    if not name then return nil, "the header is malformed" end
    if name == "t" then
      if time then return nil, "the header has two times" end
      if not value:match("^%d+$") or #value > 12 then return nil, "the header's time is no unix time" end
      time = value
    elseif name == "v1" then
      signatures[#signatures + 1] = value
    end
  end
  if not time then return nil, "the header has no time" end
  if #signatures == 0 then return nil, "the header has no signature of a known scheme" end
  if #signatures > MAX_SIGNATURES then return nil, "the header has too many signatures" end
  return time, signatures
end

-- Looks at all of them, however early one is right.
local function any_is_right(signatures, secrets, signed)
  local right = false
  for _, secret in ipairs(secrets) do
    local want = crypto.hex(crypto.hmac_sha256(secret, signed))
    for _, got in ipairs(signatures) do right = crypto.equal(got, want) or right end
  end
  return right
end

function M.verify(header, body, secrets, now, tolerance)
  assert(#secrets > 0, "a secret expected")
  for _, secret in ipairs(secrets) do assert(type(secret) == "string" and secret ~= "", "a secret is empty") end
  if type(header) ~= "string" or header == "" then return nil, "there is no signature" end
  if #header > MAX_HEADER then return nil, "the header is too long" end
  local time, signatures = parse(header)
  if not time then return nil, signatures end
  if not any_is_right(signatures, secrets, time .. "." .. body) then return nil, "no signature is right for this body" end
  local age = now - tonumber(time)
  if age > (tolerance or TOLERANCE) then return nil, "it was signed too long ago" end
  if -age > (tolerance or TOLERANCE) then return nil, "it was signed in the future" end
  return true
end

return M
