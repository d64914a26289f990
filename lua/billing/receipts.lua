-- Receipts: what an account used in a month and what it came to, signed, so that its owner can keep it and show it to anybody.
-- JWS in its compact form (RFC 7515), ES256; examples/verify-receipt.js verifies one without us.
--
--   receipts.setup(key)                       the private key, 32 bytes (keys.receipt)
--   receipts.of(owner, from, to, now) -> text of a JWS
--   receipts.jwk() -> the public key (RFC 7517); its kid is its thumbprint (RFC 7638), which a receipt's head names
--   receipts.sign(key, claims [, head]) -> text      receipts.verify(x, y, text) -> claims, head | nil
--   receipts.signed(x, y, text) -> head, body | nil
--
-- Claims: {account, month, from, to, issued_at, running (whether the month goes on), currency,
--   intervals = {{machine, from, to (unix ms), state, type, rate, paid_by}, ...}, totals = {running_ms, charged, waived,
--   invoice, balance}, ledger = {entries =, seq =, hash =}}. Amounts and rates are micro-units. A "charged" interval cost
-- its part of floor(rate * time since the epoch): totals.charged is their sum, and anybody can add it up. totals.invoice has the
-- fees and the blocks, too. The hash is that of the newest entry of the account's ledger in the log's chain (store/SCHEMA.md):
-- with it nobody can change, later and unseen, what was before.

local crypto = require "crypto"
local invoice = require "billing.invoice"
local json = require "json"
local ledger = require "billing.ledger"
local months = require "billing.months"
local store = require "store"
local time = require "time"
local usage = require "billing.usage"

local M = {}

local private

function M.setup(key) private = key end

-- ---- JOSE

local function base64url(bytes) return (crypto.base64(bytes):gsub("+", "-"):gsub("/", "_"):gsub("=", "")) end

local function unbase64url(text)
  if text:find("[^%w_-]") then return nil end
  return crypto.unbase64(text:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#text % 4))
end

local function jwk_of(key)
  local x, y = crypto.ecdsa_public(key)
  x, y = base64url(x), base64url(y)
  local thumb = ('{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}'):format(x, y)
  return { kty = "EC", crv = "P-256", x = x, y = y, use = "sig", alg = "ES256", kid = base64url(crypto.sha256(thumb)) }
end

function M.jwk() return jwk_of(private) end

function M.sign(key, claims, head)
  head = head or { alg = "ES256", typ = "receipt+jws", kid = jwk_of(key).kid }
  local text = base64url(json.encode(head)) .. "." .. base64url(json.encode(claims))
  return text .. "." .. base64url(crypto.ecdsa_sign(key, text))
end

local function object(text)
  local bytes = unbase64url(text)
  local value = bytes and json.decode(bytes)
  return type(value) == "table" and value or nil
end

-- Whether these are the words of who has the key: ES256 and nothing else, whatever the head says. -> head, body as it is | nil
function M.signed(x, y, text)
  local head, body, sig = text:match("^([^.]*)%.([^.]*)%.([^.]*)$")
  local said = head and object(head)
  local bytes = said and said.alg == "ES256" and not said.crit and unbase64url(sig)
  if bytes and crypto.ecdsa_verify(x, y, head .. "." .. body, bytes) then return said, body end
end

function M.verify(x, y, text)
  local head, body = M.signed(x, y, text)
  if head then return object(body), head end
end

-- ---- what one says

function M.of(owner, from, to, now)
  now = math.floor(now)
  local intervals = json.array {}
  local totals = usage.totals(owner, from, math.min(to, now), function(id, s)
    intervals[#intervals + 1] = json.array { id, s.from, s.to, s.state, s.type, s.rate, s.how }
  end)
  local inv = invoice.of(owner, from, to, now)
  local acct, head = ledger.get(owner), assert(store.history("ledger", owner, { limit = 1 }))[1]
  return M.sign(private, {
    account = owner, month = months.name(from), from = time.rfc3339(from), to = time.rfc3339(to), running = inv.running,
    issued_at = time.rfc3339(time.now()), currency = inv.currency, intervals = intervals,
    totals = {
      running_ms = totals.running_ms, charged = totals.charged, waived = totals.waived, invoice = inv.charged,
      balance = inv.closing,
    },
    ledger = head and { entries = acct.entries, seq = head.seq, hash = head.hash } or json.null,
  })
end

return M
