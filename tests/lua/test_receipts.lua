-- ECDSA P-256 as others have published it (RFC 6979, RFC 7515, Wycheproof), and receipts. Wycheproof's data lie beside the
-- project.
local t = require "t"
local crypto = require "crypto"
local json = require "json"
local keys = require "keys"
local receipts = require "billing.receipts"

local function bytes(hex) return (hex:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)) end

local function unbase64url(text)
  return (assert(crypto.unbase64(text:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#text % 4))))
end

t.test("RFC 6979, A.2.5: the public key, and the signatures of two texts, to the bit", function()
  local key = bytes "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"
  local x, y = crypto.ecdsa_public(key)
  t.eq(crypto.hex(x), "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6")
  t.eq(crypto.hex(y), "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
  for text, want in pairs {
    sample = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
      .. "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    test = "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
      .. "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
  } do
    t.eq(crypto.hex(crypto.ecdsa_sign(key, text)), want)
    t.eq(crypto.ecdsa_verify(x, y, text, bytes(want)), true)
    t.eq(crypto.ecdsa_verify(x, y, text .. "s", bytes(want)), false)
  end
end)

t.test("RFC 7515, A.3: its token is signed, and no other", function()
  local x = unbase64url "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
  local y = unbase64url "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
  local token = "eyJhbGciOiJFUzI1NiJ9."
    .. "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    .. "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
  t.eq(receipts.verify(x, y, token).iss, "joe")
  t.eq(receipts.verify(x, y, token:sub(1, -2) .. "A"), nil)
  t.eq(receipts.verify(y, x, token), nil)
end)

local text = t.fs.read("../shared/specs/wycheproof/json_web_signature_test.json", 8 * 2 ^ 20)
if not text then
  t.skip("Wycheproof's ES256 signatures", "../shared/specs/wycheproof is not here")
else
  t.test("Wycheproof's ES256 signatures", function()
    local valid, invalid = 0, 0
    for _, group in ipairs(json.decode(text).testGroups) do
      local key = group.public or {}
      if key.crv == "P-256" and key.alg == "ES256" then
        for _, case in ipairs(group.tests) do
          local token = type(case.jws) == "string" and case.jws or json.encode(case.jws)
          local ok = receipts.signed(unbase64url(key.x), unbase64url(key.y), token) ~= nil
          t.eq(ok, case.result == "valid", ("%d %s"):format(case.tcId, case.comment))
          if ok then valid = valid + 1 else invalid = invalid + 1 end
        end
      end
    end
    t.ok(valid >= 2 and invalid >= 35, valid .. " " .. invalid)
  end)
end

t.test("keys differ, what is none is refused, and a signature of another length is none", function()
  local a, b = crypto.ecdsa_keygen(), crypto.ecdsa_keygen()
  t.ok(a ~= b and #a == 32)
  t.eq(crypto.ecdsa_public(("\0"):rep(32)), nil)
  t.eq(crypto.ecdsa_public(("\255"):rep(32)), nil)
  t.raises(function() crypto.ecdsa_sign(("\0"):rep(32), "x") end, "no key of P%-256")
  t.raises(function() crypto.ecdsa_sign("short", "x") end, "32 bytes")
  local x, y = crypto.ecdsa_public(a)
  local sig = crypto.ecdsa_sign(a, "x")
  t.eq(crypto.ecdsa_verify(x, y, "x", sig), true)
  t.eq(crypto.ecdsa_verify(x, y, "x", sig .. "\0"), false)
  t.eq(crypto.ecdsa_verify(x, x, "x", sig), false)
  t.eq(crypto.ecdsa_verify(x, y, "x", ("\0"):rep(64)), false)
end)

t.test("a receipt is the words of who has the key, under ES256 alone", function()
  local key = crypto.ecdsa_keygen()
  local x, y = crypto.ecdsa_public(key)
  local token = receipts.sign(key, { month = "2026-11", totals = { charged = 12 } })
  local claims, head = receipts.verify(x, y, token)
  t.eq(claims.totals.charged, 12)
  t.eq(#head.kid, 43)
  local parts = { token:match("^([^.]+)%.([^.]+)%.([^.]+)$") }
  t.eq(receipts.verify(x, y, parts[1] .. "." .. parts[2]:sub(1, -2) .. "." .. parts[3]), nil)
  t.eq(receipts.verify(x, y, receipts.sign(key, {}, { alg = "none" })), nil)
  t.eq(receipts.verify(x, y, receipts.sign(key, {}, { alg = "HS256" })), nil)
  t.eq(receipts.verify(x, y, receipts.sign(key, {}, { alg = "ES256", crit = { "x" } })), nil)
  t.eq(receipts.verify(x, y, "a.b"), nil)
end)

t.test("the key is made once, for its owner alone", function()
  local settings = { DATA_DIR = t.tmpdir() }
  local key = assert(keys.receipt(settings))
  t.eq(keys.receipt(settings), key)
  t.eq(t.fs.stat(settings.DATA_DIR .. "/receipt_key").mode % 512, tonumber("600", 8))
  assert(t.fs.write(settings.DATA_DIR .. "/receipt_key", ("0"):rep(64)))
  local none, err = keys.receipt(settings)
  t.eq(none, nil)
  t.match(err.message, "a key of P%-256")
end)

return t.done()
