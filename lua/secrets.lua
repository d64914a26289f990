-- Sealing texts under keys that change: a keyring over crypto.seal.
--
--   ring = secrets.open{current = key32, previous = {key32, ...}}
--   sealed = ring:seal(text, context)            "v1.KEYID.BASE64"; context: what it is for, said again to open it
--   text | nil, err = ring:unseal(sealed, context)   "denied": no such key here, another context, or changed; "invalid"
--   ring:is_current(sealed)                      sealed under the current key
--   mac, key = ring:mac(text, context[, key])    32 bytes; `key`: the id of the one that it was made with; nil: it is not here
--   secrets.mask(text)                           what may be shown: at most a third of it
--   key32 | nil, why = secrets.parse_key(text)   64 hexadecimal digits, or base64 of 32 bytes

local crypto = require "crypto"
local errors = require "errors"

local M = {}

local Ring = {}
Ring.__index = Ring

local function id_of(key) return crypto.hex(crypto.sha256("cchost key id" .. key)):sub(1, 8) end

function M.open(keys)
  local ring = setmetatable({ by_id = {}, current = id_of(keys.current) }, Ring)
  for _, key in ipairs(keys.previous or {}) do ring.by_id[id_of(key)] = key end
  ring.by_id[ring.current] = keys.current
  return ring
end

function Ring:seal(text, context)
  return ("v1.%s.%s"):format(self.current, crypto.base64(crypto.seal(self.by_id[self.current], text, context)))
end

local function parts(sealed)
  local id, text = sealed:match("^v1%.(%x%x%x%x%x%x%x%x)%.(.+)$")
  return id, text and crypto.unbase64(text)
end

function Ring:unseal(sealed, context)
  local id, box = parts(sealed)
  if not box then return errors.fail("invalid", "this is no sealed secret") end
  local key = self.by_id[id]
  if not key then return errors.fail("denied", ("the secret is sealed under key %s, which is not here"):format(id)) end
  return crypto.unseal(key, box, context)
end

function Ring:is_current(sealed) return (parts(sealed)) == self.current end

-- With a key of its own, made of the master key for that alone.
function Ring:mac(text, context, key)
  local master = self.by_id[key or self.current]
  if not master then return nil end
  return crypto.hmac_sha256(crypto.hmac_sha256(master, "cchost mac " .. context), text), key or self.current
end

-- The first eight and the last four characters of what is long enough to lose little by it; else as many dots.
function M.mask(text)
  if #text < 36 then return ("•"):rep(8) end
  return text:sub(1, 8) .. "…" .. text:sub(-4)
end

function M.parse_key(text)
  if #text == 64 and text:match("^%x+$") then
    return (text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end))
  end
  local bytes = #text == 44 and crypto.unbase64(text)
  if bytes and #bytes == 32 then return bytes end
  return nil, "64 hexadecimal digits, or base64 of 32 bytes, expected"
end

return M
