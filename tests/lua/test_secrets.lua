-- Sealing: published vectors of the cipher, what was changed does not open, keys change.
local t = require "t"
local crypto = require "crypto"
local secrets = require "secrets"

local function bytes(hex) return (hex:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)) end

-- Cases 13, 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega): AES-256, nonces of 96 bits.
local vectors = {
  { key = ("00"):rep(32), nonce = ("00"):rep(12), text = "", context = "", cipher = "",
    tag = "530f8afbc74536b9a963b4f1c4cb738b" },
  { key = ("00"):rep(32), nonce = ("00"):rep(12), text = ("00"):rep(16), context = "",
    cipher = "cea7403d4d606b6e074ec5d3baf39d18", tag = "d0d1c8a799996bf0265b98b5d48ab919" },
  { key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", nonce = "cafebabefacedbaddecaf888",
    text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" ..
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    context = "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    cipher = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" ..
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    tag = "76fc6ece0f4e1768cddf8853bb2d551b" },
}

t.test("boxes of the published vectors open", function()
  for i, v in ipairs(vectors) do
    local box = "\1" .. bytes(v.nonce .. v.cipher .. v.tag)
    t.eq(crypto.unseal(bytes(v.key), box, bytes(v.context)), bytes(v.text), "vector " .. i)
  end
end)

local key = crypto.random(32)

t.test("what was sealed opens, and no box is made twice", function()
  for _, text in ipairs { "", "x", ("secret "):rep(1000), "\0\255" } do
    local a, b = crypto.seal(key, text, "place"), crypto.seal(key, text, "place")
    t.ok(a ~= b)
    t.eq(#a, #text + 29)
    t.eq(crypto.unseal(key, a, "place"), text)
  end
end)

t.test("every changed byte is found, every cut, another key and another place", function()
  local box = crypto.seal(key, "secret", "place")
  for i = 1, #box do
    for _, by in ipairs { 1, 128 } do
      local b = box:byte(i)
      local changed = box:sub(1, i - 1) .. string.char((b + by) % 256) .. box:sub(i + 1)
      local text, err = crypto.unseal(key, changed, "place")
      t.eq(text, nil, i)
      t.ok(err.code == "denied" or err.code == "invalid")
    end
  end
  for n = 0, #box - 1 do t.eq(crypto.unseal(key, box:sub(1, n), "place"), nil, n) end
  t.eq(crypto.unseal(crypto.random(32), box, "place"), nil)
  t.eq(crypto.unseal(key, box, "another place"), nil)
  t.ok(not pcall(crypto.seal, "short", "x", ""))
end)

t.test("base64 is strict", function()
  for _, text in ipairs { "", "f", "fo", "foo", "foob", "\0\255\16" } do t.eq(crypto.unbase64(crypto.base64(text)), text) end
  t.eq(crypto.base64("foob"), "Zm9vYg==")
  for _, bad in ipairs { "Zg", "Zg=", "Zh==", "Zg==\n", " Zg==", "Zg==Zg==", "Z===", "====", "Zm-v", "Zm9v\0" } do
    t.eq(crypto.unbase64(bad), nil, bad)
  end
end)

t.test("a keyring opens what older keys sealed, and seals with the current one", function()
  local old, new = crypto.random(32), crypto.random(32)
  local before = secrets.open { current = old }
  local sealed = before:seal("text", "c")
  local both = secrets.open { current = new, previous = { old } }
  t.eq(both:unseal(sealed, "c"), "text")
  t.eq(both:is_current(sealed), false)
  local again = both:seal("text", "c")
  t.eq(both:is_current(again), true)
  local only = secrets.open { current = new }
  t.eq(only:unseal(again, "c"), "text")
  local text, err = only:unseal(sealed, "c")
  t.eq(text, nil)
  t.match(err.message, "which is not here")
  t.eq(select(2, only:unseal("nonsense", "c")).code, "invalid")
  t.eq(select(2, only:unseal(again, "d")).code, "denied")
end)

t.test("a mask shows a third at most", function()
  t.eq(secrets.mask("beginning" .. ("x"):rep(30) .. "last"), "beginnin…last")
  for n = 0, 100 do
    local shown = secrets.mask(("a"):rep(n)):gsub("[^a]", "")
    t.ok(#shown * 3 <= n, n)
  end
end)

t.test("a master key is 32 bytes, in one of two forms", function()
  t.eq(#secrets.parse_key(("0a"):rep(32)), 32)
  t.eq(secrets.parse_key(crypto.base64(("k"):rep(32))), ("k"):rep(32))
  local short, long = crypto.base64(("k"):rep(31)), crypto.base64(("k"):rep(33))
  for _, bad in ipairs { "", "secret", ("0a"):rep(31), ("0g"):rep(32), short, long } do
    local key32, why = secrets.parse_key(bad)
    t.eq(key32, nil)
    t.match(why, "32 bytes")
  end
end)

return t.done()
