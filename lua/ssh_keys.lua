-- SSH public keys (RFC 4253, 6.6; RFC 8709), as people paste them: one line "type base64 comment".
--
-- ssh_keys.parse(line) -> {type, text = the line normalised, comment, fingerprint = "SHA256:...", bits} | nil, err
-- The blob itself is read: what it says inside must be what the line says outside, and nothing may follow. Accepted are
-- ed25519, and RSA of 4096 bits and more.

local crypto = require "crypto"
local errors = require "errors"
local utf8 = require "utf8"

local M = {}

local MAX = 16384
local MIN_RSA, MAX_RSA = 4096, 16384

local function refuse(message) return errors.fail("invalid", message, { field = "key" }) end

-- A string of the wire format at `at`: its bytes and where the next begins, or nil.
local function take(blob, at)
  local a, b, c, d = blob:byte(at, at + 3)
  if not d then return nil end
  local n = ((a * 256 + b) * 256 + c) * 256 + d
  if at + 3 + n > #blob then return nil end
  return blob:sub(at + 4, at + 3 + n), at + 4 + n
end

-- How many bits a positive number of the wire format (mpint) has; nil when it is not written as it must be.
local function bits_of(mpint)
  local first, second = mpint:byte(1, 2)
  if not first or first >= 128 then return nil end               -- empty, or negative
  if first == 0 and (not second or second < 128) then return nil end -- a zero byte that need not be there
  local n = (#mpint - 1) * 8
  while first >= 1 do
    n, first = n + 1, first / 2
  end
  return n
end

local read = {}

read["ssh-ed25519"] = function(blob, at)
  local point, rest = take(blob, at)
  if not point or #point ~= 32 or rest ~= #blob + 1 then return refuse("the key is damaged: an ed25519 key has 32 bytes") end
  return 256
end

read["ssh-rsa"] = function(blob, at)
  local e, n, rest
  e, rest = take(blob, at)
  if e then n, rest = take(blob, rest) end
  if not n or rest ~= #blob + 1 then return refuse("the key is damaged: an RSA key has two numbers and nothing behind them") end
  local bits = bits_of(n)
  if not bits_of(e) or bits_of(e) > 64 or e:byte(-1) % 2 == 0 or e == "\1" or not bits or n:byte(-1) % 2 == 0 then
    return refuse("the key is damaged: its numbers are none of an RSA key")
  end
  if bits < MIN_RSA then return refuse(("RSA keys of %d bits and more are accepted; this one has %d"):format(MIN_RSA, bits)) end
  if bits > MAX_RSA then return refuse(("RSA keys of at most %d bits are accepted; this one has %d"):format(MAX_RSA, bits)) end
  return bits
end

local known = {
  { "^ssh%-dss$", "DSA keys are not accepted: they are broken. Make one with: ssh-keygen -t ed25519" },
  { "^ecdsa%-", "ECDSA keys are not accepted; make one with: ssh-keygen -t ed25519" },
  { "^sk%-", "keys of security tokens (sk-) are not accepted; make one with: ssh-keygen -t ed25519" },
  { "%-cert%-v%d+@", "certificates are not accepted; give the key itself" },
}

local function why_not_type(word)
  for _, k in ipairs(known) do
    if word:match(k[1]) then return k[2] end
  end
end

function M.parse(line)
  if #line > MAX then return refuse(("a key of at most %d bytes expected"):format(MAX)) end
  line = line:match("^%s*(.-)%s*$")
  if line == "" then return refuse("a key expected") end
  if line:find("PRIVATE KEY", 1, true) then
    return refuse("this is a private key: keep it to yourself, and give what is in the file that ends in .pub")
  end
  if line:find("[%c]") then return refuse("one line expected, without newlines or control characters") end
  local word, text, comment = line:match("^(%S+) +(%S+) *(.*)$")
  if not word then return refuse('"type base64 comment" expected, as in a file that ends in .pub') end
  local why = why_not_type(word)
  if why then return refuse(why) end
  if not read[word] then
    if line:find("ssh%-", 2) or line:find("ecdsa%-", 2) then return refuse("options before the key are not accepted") end
    local shown = word:sub(1, 40):gsub("[^\32-\126]", "?")
    return refuse(("the type '%s' is not known; ssh-ed25519 and ssh-rsa are accepted"):format(shown))
  end
  local blob = crypto.unbase64(text)
  if not blob then return refuse("the key is damaged: its middle part is not base64") end
  local inner, at = take(blob, 1)
  if inner ~= word then return refuse("the key is damaged: it is of another type inside than outside") end
  local bits, err = read[word](blob, at)
  if not bits then return nil, err end
  if #comment > 256 then return refuse("a comment of at most 256 bytes expected") end
  if not utf8.valid(comment) then return refuse("the comment is not UTF-8 text") end
  return {
    type = word, bits = bits, comment = comment, text = table.concat({ word, text, comment ~= "" and comment or nil }, " "),
    fingerprint = "SHA256:" .. crypto.base64(crypto.sha256(blob)):gsub("=+$", ""),
  }
end

return M
