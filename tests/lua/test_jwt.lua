-- Tokens: what is made is good, and nothing else is.
local t = require "t"
local crypto = require "crypto"
local json = require "json"
local jwt = require "jwt"
local time = require "time"

local secret = "a secret of enough bytes, 32 or so"
local v = jwt.new { { secret = secret } }
local now = math.floor(time.now() / 1000)

local function b64(s)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  local bits = s:gsub(".", function(c)
    local out, b = {}, c:byte()
    for i = 7, 0, -1 do out[#out + 1] = math.floor(b / 2 ^ i) % 2 end
    return table.concat(out)
  end)
  bits = bits .. ("0"):rep((6 - #bits % 6) % 6)
  return (bits:gsub("%d%d%d%d%d%d", function(six)
    local n = tonumber(six, 2)
    return alphabet:sub(n + 1, n + 1)
  end))
end

-- A token of any head and body, rightly signed unless told otherwise.
local function forge(head, body, key)
  local text = b64(head) .. "." .. b64(body)
  return text .. "." .. b64(crypto.hmac_sha256(key or secret, text))
end

local good_head = '{"alg":"HS256","typ":"JWT"}'
local function body(fields) return json.encode(fields) end

t.test("a token that we sign is good, twice (the second time from the cache)", function()
  local token = v:sign { user_id = 7, email = "a@b.c", purpose = "session", exp = now + 60, iat = now, jti = "j1" }
  for _ = 1, 2 do
    local user, purpose, jti, email = v:verify(token)
    t.eq(user, "7"); t.eq(purpose, "session"); t.eq(jti, "j1"); t.eq(email, "a@b.c")
  end
end)

t.test("a token made by hand is the same as ours", function()
  t.eq(v:verify(forge(good_head, body { user_id = "u", exp = now + 60 })), "u")
end)

t.test("a bearer header holds a token, and only that", function()
  local token = v:sign { user_id = 7, purpose = "session", exp = now + 60, jti = "j1" }
  local user, purpose, jti = v:bearer("Bearer " .. token)
  t.eq(user, "7"); t.eq(purpose, "session"); t.eq(jti, "j1")
  t.eq(v:bearer("bearer " .. token), "7")
  for _, text in ipairs { "", "Bearer", "Bearer ", token, "Basic " .. token, "Bearer  " .. token, "Bearer " .. token .. " " } do
    t.eq(v:bearer(text), nil, text)
  end
end)

t.test("the cache forgets nothing of the times", function()
  local short = jwt.new { { secret = secret }, cache = 64 }
  local token = short:sign { user_id = "u", exp = now + 1 }
  t.eq(short:verify(token), "u")
  t.wait_until(function() return not short:verify(token) end, "the token to expire")
end)

t.test("forgeries are refused, all with the same words", function()
  local ok_body = body { user_id = "u", exp = now + 60 }
  local ours = v:sign { user_id = "u", exp = now + 60 }
  local cases = {
    ["empty"] = "", ["no dots"] = "abc", ["one dot"] = "a.b", ["three dots"] = ours .. ".x", ["garbage"] = "a.b.c",
    ["alg none, no signature"] = b64('{"alg":"none"}') .. "." .. b64(ok_body) .. ".",
    ["alg none, signed"] = forge('{"alg":"none"}', ok_body), ["alg None"] = forge('{"alg":"None"}', ok_body),
    ["alg hs256"] = forge('{"alg":"hs256"}', ok_body), ["alg HS512"] = forge('{"alg":"HS512"}', ok_body),
    ["alg RS256"] = forge('{"alg":"RS256"}', ok_body), ["alg a list"] = forge('{"alg":["HS256"]}', ok_body),
    ["no alg"] = forge('{"typ":"JWT"}', ok_body), ["two algs"] = forge('{"alg":"none","alg":"HS256"}', ok_body),
    ["crit"] = forge('{"alg":"HS256","crit":["x"],"x":1}', ok_body), ["head a list"] = forge('["HS256"]', ok_body),
    ["kid unknown"] = forge('{"alg":"HS256","kid":"other"}', ok_body),
    ["kid a number"] = forge('{"alg":"HS256","kid":1}', ok_body),
    ["other key"] = forge(good_head, ok_body, "another secret of enough bytes"), ["empty key"] = forge(good_head, ok_body, ""),
    ["expired"] = forge(good_head, body { user_id = "u", exp = now - 1 }), ["exp now"] = forge(good_head, body { exp = now - 0 }),
    ["no exp"] = forge(good_head, body { user_id = "u" }), ["exp a string"] = forge(good_head, '{"exp":"9999999999"}'),
    ["exp a fraction"] = forge(good_head, '{"exp":9999999999.5}'), ["exp null"] = forge(good_head, '{"exp":null}'),
    ["exp negative"] = forge(good_head, '{"exp":-1}'), ["exp huge"] = forge(good_head, '{"exp":99999999999999999999}'),
    ["two exps"] = forge(good_head, '{"exp":1,"exp":9999999999}'),
    ["iat ahead"] = forge(good_head, body { exp = now + 600, iat = now + 120 }),
    ["nbf ahead"] = forge(good_head, body { exp = now + 600, nbf = now + 120 }), ["body a list"] = forge(good_head, "[1]"),
    ["body no JSON"] = forge(good_head, "x"), ["user_id a list"] = forge(good_head, '{"exp":9999999999,"user_id":[1]}'),
    ["user_id with NUL"] = forge(good_head, '{"exp":9999999999,"user_id":"a\\u0000b"}'), ["padding"] = ours .. "=",
    ["space"] = " " .. ours, ["newline"] = ours .. "\n", ["standard base64"] = ours:gsub("[-_]", "+") .. "+",
    ["signature cut"] = ours:sub(1, -2), ["signature longer"] = ours .. "AAAA", ["no signature"] = ours:match("^(.*%.)"),
    ["too long"] = forge(good_head, body { user_id = "u", exp = now + 60, x = ("x"):rep(3000) }),
  }
  for name, token in pairs(cases) do
    local user, err = v:verify(token)
    t.eq(user, nil, name)
    t.eq(err.message, "invalid token", name)
  end
end)

t.test("every flipped bit of a good token is refused", function()
  local ours = v:sign { user_id = "u", exp = now + 600 }
  local tried = 0
  for i = 1, #ours do
    for bit = 0, 7 do
      local b = ours:byte(i)
      local flipped = bit == 7 and (b + 128) % 256 or (math.floor(b / 2 ^ bit) % 2 == 1 and b - 2 ^ bit or b + 2 ^ bit)
      local token = ours:sub(1, i - 1) .. string.char(flipped) .. ours:sub(i + 1)
      t.eq(v:verify(token), nil, token)
      tried = tried + 1
    end
  end
  t.ok(tried > 500)
end)

t.test("two keys are valid at once, by kid", function()
  local old = jwt.new { { secret = secret, kid = "1" } }
  local new = jwt.new { { secret = "the next secret, of 32 bytes too", kid = "2" }, { secret = secret, kid = "1" } }
  t.eq(new:verify(old:sign { user_id = "u", exp = now + 60 }), "u")
  t.eq(new:verify(new:sign { user_id = "w", exp = now + 60 }), "w")
  t.eq(old:verify(new:sign { user_id = "w", exp = now + 60 }), nil)
end)

return t.done()
