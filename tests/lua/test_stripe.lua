-- Stripe without Stripe: forms, signatures, and which requests are sent again. What Stripe takes is shown in tests/billing.
local t = require "t"
local client = require "stripe.client"
local crypto = require "crypto"
local form = require "stripe.form"
local http = require "http"
local json = require "json"
local signature = require "stripe.signature"
local stripe = require "stripe"
local task = require "task"

local KEY = "sk_test_51Nobody"

-- ---- forms

t.test("forms: names with brackets, sorted, to the byte", function()
  for _, case in ipairs {
    { {}, "" }, { { a = 1 }, "a=1" }, { { b = true, a = false }, "a=false&b=true" },
    { { line_items = { { quantity = 1, price = "price_1" }, { price = "price_2" } }, mode = "subscription" },
      "line_items[0][price]=price_1&line_items[0][quantity]=1&line_items[1][price]=price_2&mode=subscription" },
    { { metadata = { user_id = "3", plan = "pro" } }, "metadata[plan]=pro&metadata[user_id]=3" },
    { { url = "https://x/ok?a=1&b=2#c" }, "url=https%3A%2F%2Fx%2Fok%3Fa%3D1%26b%3D2%23c" },
    { { name = "Jörg & Söhne + \0\r\n%[]" }, "name=J%C3%B6rg%20%26%20S%C3%B6hne%20%2B%20%00%0D%0A%25%5B%5D" },
    { { types = { "a.b", "c_d" } }, "types[0]=a.b&types[1]=c_d" }, { { a = { b = { c = { d = -7 } } } }, "a[b][c][d]=-7" },
    { { a = {}, b = json.array {} }, "" }, { { [ "a b" ] = "" }, "a%20b=" }, { { a = json.array { 1, 2 } }, "a[0]=1&a[1]=2" },
    { { a = 9007199254740992, b = 0, c = 1e15, d = -0 }, "a=9007199254740992&b=0&c=1000000000000000&d=0" },
  } do t.eq(form.encode(case[1]), case[2]) end
end)

t.test("forms: what cannot be said raises", function()
  local cycle = {}
  cycle.a = cycle
  for name, bad in pairs {
    ["whole number"] = { amount = 19.99 }, ["at most 2%^53"] = { amount = 2 ^ 54 }, ["amount: a whole"] = { amount = 0 / 0 },
    ["a%[0%]: a whole"] = { a = { 1 / 0 } }, ["a function"] = { a = print }, ["a userdata"] = { a = json.null },
    ["neither a list"] = { a = { 1, b = 2 } }, ["holes"] = { a = { 1, nil, 3 } }, ["not a name"] = { ["a[b]"] = 1 },
    ["a: not a name"] = { a = { [""] = 1 } }, ["not a list"] = { 1, 2 }, ["too deeply"] = cycle,
    ["a cdata"] = { a = 1LL }, ["neither a list nor"] = { a = { [7] = 1 } },
  } do t.raises(function() form.encode(bad) end, name) end
end)

-- ---- signatures

local NOW, SECRET, OLD, BODY = 1795196520, "whsec_current", "whsec_previous", '{"id":"evt_1","object":"event"}'

local function mac(secret, time, body) return crypto.hex(crypto.hmac_sha256(secret, time .. "." .. body)) end

local good = mac(SECRET, NOW, BODY)
local other = good:gsub(".$", function(c) return c == "0" and "1" or "0" end)

t.test("signatures: a header that is right", function()
  for name, header in pairs {
    ["plain"] = ("t=%d,v1=%s"):format(NOW, good),
    ["an unknown scheme"] = ("t=%d,v0=6ffbb59b,v1=%s,v2=YWJj=="):format(NOW, good),
    ["the second of two"] = ("t=%d,v1=%s,v1=%s"):format(NOW, other, good), ["the order"] = ("v1=%s,t=%d"):format(good, NOW),
    ["spaces"] = ("t=%d, v1=%s"):format(NOW, good), ["the old secret"] = ("t=%d,v1=%s"):format(NOW, mac(OLD, NOW, BODY)),
    ["both"] = ("t=%d,v1=%s,v1=%s"):format(NOW, mac(OLD, NOW, BODY), good),
    ["300 s old"] = ("t=%d,v1=%s"):format(NOW - 300, mac(SECRET, NOW - 300, BODY)),
    ["300 s ahead"] = ("t=%d,v1=%s"):format(NOW + 300, mac(SECRET, NOW + 300, BODY)),
    ["a broken one beside it"] = ("t=%d,v1=xyz,v1=%s"):format(NOW, good),
  } do
    local ok, why = signature.verify(header, BODY, { SECRET, OLD }, NOW)
    t.eq(ok, true, name .. ": " .. tostring(why))
  end
  t.eq(signature.verify(("t=%d,v1=%s"):format(NOW - 900, mac(SECRET, NOW - 900, "")), "", { SECRET }, NOW, 900), true)
end)

t.test("signatures: every header that is not", function()
  local function at(time) return ("t=%s,v1=%s"):format(time, mac(SECRET, time, BODY)) end
  for name, case in pairs {
    ["absent"] = { nil, "no signature" }, ["empty"] = { "", "no signature" }, ["a number"] = { 7, "no signature" },
    ["words"] = { "nonsense", "malformed" }, ["only commas"] = { ",,", "malformed" },
    ["a comma at the end"] = { at(NOW) .. ",", "malformed" },
    ["no value"] = { ("t=%d,v1="):format(NOW), "malformed" }, ["no name"] = { ("t=%d,=%s"):format(NOW, good), "malformed" },
    ["a space inside"] = { ("t=%d,v1=%s x"):format(NOW, good), "malformed" }, ["no time"] = { "v1=" .. good, "no time" },
    ["two times"] = { at(NOW) .. ",t=" .. NOW, "two times" }, ["no unix time"] = { at("yesterday"), "no unix time" },
    ["hex time"] = { at("0x6B009068"), "no unix time" }, ["a fraction"] = { at(NOW .. ".0"), "no unix time" },
    ["negative"] = { at("-1"), "no unix time" }, ["a long time"] = { at(("9"):rep(13)), "no unix time" },
    ["no v1"] = { ("t=%d,v0=%s"):format(NOW, good), "known scheme" },
    ["V1"] = { ("t=%d,V1=%s"):format(NOW, good), "known scheme" },
    ["one bit off"] = { ("t=%d,v1=%s"):format(NOW, other), "for this body" },
    ["short"] = { ("t=%d,v1=%s"):format(NOW, good:sub(1, 63)), "for this body" },
    ["long"] = { ("t=%d,v1=%s0"):format(NOW, good), "for this body" },
    ["in capitals"] = { ("t=%d,v1=%s"):format(NOW, good:upper()), "for this body" },
    ["another secret"] = { ("t=%d,v1=%s"):format(NOW, mac("whsec_other", NOW, BODY)), "for this body" },
    ["no secret at all"] = { ("t=%d,v1=%s"):format(NOW, mac("", NOW, BODY)), "for this body" },
    ["another time"] = { ("t=%d,v1=%s"):format(NOW + 1, good), "for this body" },
    ["another body"] = { ("t=%d,v1=%s"):format(NOW, mac(SECRET, NOW, BODY .. " ")), "for this body" },
    ["too old"] = { at(NOW - 301), "too long ago" }, ["in the future"] = { at(NOW + 301), "in the future" },
    ["at the beginning"] = { at(0), "too long ago" }, ["of next year"] = { at(NOW + 31536000), "in the future" },
    ["a thousand"] = { "t=1" .. (",v1=" .. good):rep(17), "too many" }, ["a book"] = { at(NOW) .. (","):rep(5000), "too long" },
  } do
    local ok, why = signature.verify(case[1], BODY, { SECRET }, NOW)
    t.eq(ok, nil, name)
    t.match(why, case[2])
    t.ok(not why:find(good, 1, true), name)
  end
  t.eq((signature.verify(at(NOW), BODY, { OLD }, NOW)), nil)
  t.raises(function() signature.verify(at(NOW), BODY, {}, NOW) end, "a secret expected")
  t.raises(function() signature.verify(at(NOW), BODY, { SECRET, "" }, NOW) end, "empty")
end)

-- ---- requests

-- A server that gives these answers one after the other, the last of them for ever. -> base, seen requests, close
local function server(...)
  local answers, seen = { ... }, {}
  local s = assert(http.serve { port = 0, handler = function(req)
    seen[#seen + 1] = {
      method = req:method(), path = req:path(), query = req:query(), headers = req:headers(), body = req:body(),
    }
    local a = answers[math.min(#seen, #answers)]
    if a.wait then task.sleep(a.wait) end
    req:reply(a[1], a[2] or '{"id":"ok"}', a[3])
  end })
  local host, port = s:addr()
  return ("http://%s:%d"):format(host, port), seen, function() s:close() end
end

local function caller(url, o)
  local all = { key = KEY, url = url, version = "2026-10-28.endive", first_pause = 0.002, longest_pause = 0.004 }
  for k, v in pairs(o or {}) do all[k] = v end
  return client.new(all)
end

local function refused(status, error, headers)
  return { status, json.encode { error = error or { type = "api_error", message = "no" } }, headers }
end

t.test("a request has the key, the version, and of a POST an Idempotency-Key and a form", function()
  local url, seen, close = server { 200 }
  local call = caller(url)
  t.eq(call("POST", "/v1/customers", { email = "a@b.c", metadata = { user_id = "7" } }, { idempotency = "k-1" }).id, "ok")
  t.eq(call("GET", "/v1/events", { limit = 3, types = { "a.b" } }).id, "ok")
  t.eq(call("POST", "/v1/customers").id, "ok"); t.eq(call("POST", "/v1/customers").id, "ok")
  local post, get = seen[1], seen[2]
  t.eq(post.body, "email=a%40b.c&metadata[user_id]=7")
  t.eq(post.headers["authorization"], "Bearer " .. KEY)
  t.eq(post.headers["stripe-version"], "2026-10-28.endive")
  t.eq(post.headers["content-type"], "application/x-www-form-urlencoded")
  t.eq(post.headers["idempotency-key"], "k-1")
  t.eq(get.query, "limit=3&types[0]=a.b"); t.eq(get.body, ""); t.eq(get.headers["idempotency-key"], nil)
  t.ok(seen[3].headers["idempotency-key"] ~= seen[4].headers["idempotency-key"], "another request, another key")
  close()
end)

-- [answers, how often it is asked, the result's code or nil]
local yes, no = { ["Stripe-Should-Retry"] = "true" }, { ["Stripe-Should-Retry"] = "false" }
local kept = { ["Idempotent-Replayed"] = "true" }
local cases = {
  ["200"] = { { { 200 } }, 1 }, ["500, then 200"] = { { refused(500), { 200 } }, 2 },
  ["503 for ever"] = { { refused(503) }, 4, "unavailable" },
  ["409, then 200"] = { { refused(409, { code = "lock_timeout" }), { 200 } }, 2 },
  ["429, then 200"] = { { refused(429), { 200 } }, 2 },
  ["400"] = { { refused(400) }, 1, "failed" }, ["401"] = { { refused(401) }, 1, "failed" },
  ["402"] = { { refused(402) }, 1, "failed" }, ["403"] = { { refused(403) }, 1, "failed" },
  ["404"] = { { refused(404) }, 1, "not_found" }, ["302"] = { { { 302, "", { Location = "/x" } } }, 1, "failed" },
  ["should retry: 400"] = { { refused(400, nil, yes), { 200 } }, 2 },
  ["should not: 500"] = { { refused(500, nil, no) }, 1, "failed" },
  ["should not: 429"] = { { refused(429, nil, no) }, 1, "failed" },
  ["should is no word: 500"] = { { refused(500, nil, { ["Stripe-Should-Retry"] = "maybe" }), { 200 } }, 2 },
  ["a kept 500"] = { { refused(500, nil, kept) }, 1, "failed" },
  ["a kept 500 that should"] = {
    { refused(500, nil, { ["Idempotent-Replayed"] = "true", ["Stripe-Should-Retry"] = "true" }), { 200 } }, 2,
  },
  ["no JSON, then 200"] = { { { 200, "<html>" }, { 200 } }, 2 }, ["a list"] = { { { 200, "7" } }, 4, "io" },
  ["null"] = { { { 200, "null" } }, 4, "io" },
  ["a proxy's page"] = { { { 502, "<html>Bad gateway</html>", { ["Content-Type"] = "text/html" } }, { 200 } }, 2 },
  ["a long answer"] = { { { 200, '"' .. ("x"):rep(9 * 1024 * 1024) .. '"' } }, 1, "failed" },
}
for name, case in pairs(cases) do
  t.test("sent again or not: " .. name, function()
    local url, seen, close = server(unpack(case[1]))
    local value, err = caller(url)("POST", "/v1/x", { a = 1 }, { idempotency = "the-key" })
    t.eq(#seen, case[2]); t.eq(err and err.code, case[3])
    t.eq(value and value.id, not case[3] and "ok" or nil)
    for _, r in ipairs(seen) do
      t.eq(r.headers["idempotency-key"], "the-key"); t.eq(r.body, "a=1")
    end
    if err then t.eq(err.retryable, case[2] == 4) end
    close()
  end)
end

t.test("a random key stays the same when a POST is sent again", function()
  local url, seen, close = server(refused(500), refused(409), { 200 })
  assert(caller(url)("POST", "/v1/x"))
  t.eq(#seen, 3)
  t.ok(#seen[1].headers["idempotency-key"] == 36)
  t.eq(seen[1].headers["idempotency-key"], seen[2].headers["idempotency-key"])
  t.eq(seen[1].headers["idempotency-key"], seen[3].headers["idempotency-key"])
  close()
end)

t.test("what Stripe says is in the error, and no key is", function()
  local url, _, close = server(refused(400, {
    type = "invalid_request_error", code = "resource_missing", param = "line_items[0][price]", decline_code = 7,
    message = "No such price\r\nfor " .. KEY .. ", pk_live_1, rk_test_**1, whsec_abc\27[0m" .. ("é"):rep(400),
  }, { ["Request-Id"] = "req_1" }))
  local value, err = caller(url)("POST", "/v1/x", { a = 1 })
  t.eq(value, nil); t.eq(err.retryable, false); t.eq(err.http_status, nil)
  t.eq(err.stripe.status, 400); t.eq(err.stripe.type, "invalid_request_error"); t.eq(err.stripe.code, "resource_missing")
  t.eq(err.stripe.param, "line_items[0][price]"); t.eq(err.stripe.decline_code, nil); t.eq(err.stripe.request, "req_1")
  t.match(err.message, "^Stripe: No such price for %(a key%), %(a key%), %(a key%), %(a secret%)")
  t.ok(#err.message < 520); t.ok(not err.message:find("%c")); t.match(tostring(err), "^failed: ")
  t.ok(not json.encode(err):find("51Nobody", 1, true))
  close()
end)

t.test("answers that are made to hurt are errors", function()
  local broken = { '{"error":7}', '{"error":{"message":{},"type":[1],"code":true}}', "[]", "", '{"error":', ("["):rep(1e5) }
  for _, text in ipairs(broken) do
    local url, _, close = server { 400, text }
    local value, err = caller(url)("GET", "/v1/x")
    t.eq(value, nil); t.eq(err.message, "Stripe: it answered with status 400"); t.eq(err.code, "failed")
    close()
  end
end)

t.test("Retry-After is waited for, and when it is longer than there is time, told", function()
  local url, seen, close = server(refused(429, nil, { ["Retry-After"] = "1" }), { 200 })
  local before = require("time").mono()
  assert(caller(url)("GET", "/v1/x"))
  t.ok(require("time").mono() - before >= 1000); t.eq(#seen, 2)
  close()
  url, seen, close = server(refused(429, nil, { ["Retry-After"] = "90" }), { 200 })
  local _, err = caller(url)("GET", "/v1/x")
  t.eq(#seen, 1); t.eq(err.code, "unavailable"); t.eq(err.retryable, true); t.eq(err.retry_after, 90)
  close()
  for _, odd in ipairs { "soon", "-1", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT", ("9"):rep(20) } do
    url, seen, close = server(refused(503, nil, { ["Retry-After"] = odd }), { 200 })
    assert(caller(url)("GET", "/v1/x"))
    t.eq(#seen, 2, odd)
    close()
  end
end)

t.test("one try, and all of them, have an end", function()
  local url, seen, close = server({ 200, nil, wait = 0.5 }, { 200 })
  t.eq(caller(url, { try_seconds = 0.05 })("GET", "/v1/x").id, "ok"); t.eq(#seen, 2)
  close()
  url, seen, close = server { 200, nil, wait = 0.5 }
  local value, err = caller(url, { try_seconds = 0.04 })("GET", "/v1/x", nil, { seconds = 0.1 })
  t.eq(value, nil); t.eq(err.code, "timeout"); t.eq(err.retryable, true); t.ok(#seen >= 2 and #seen <= 3, "tries")
  close()
end)

t.test("nobody there; given up while it waits", function()
  local url, _, close = server { 200 }
  close()
  local value, err = caller(url)("GET", "/v1/x")
  t.eq(value, nil); t.eq(err.code, "unavailable"); t.eq(err.retryable, true); t.match(err.message, "^Stripe cannot be reached: ")
  local seen
  url, seen, close = server(refused(500))
  local slow = caller(url, { first_pause = 60, longest_pause = 60, seconds = 600 })
  local waiting = task.spawn(function() return slow("GET", "/v1/x") end)
  t.wait_until(function() return #seen == 1 end)
  task.sleep(0.02)
  waiting:cancel("shutdown")
  local _, why = waiting:join()
  t.eq(why.code, "cancelled"); t.eq(#seen, 1)
  close()
end)

t.test("keys that cannot be sent are faults of the program", function()
  t.raises(function() client.new { key = "sk_x\r\nX: y", url = "http://x" } end, "a key of Stripe's")
  t.raises(function() client.new { key = "pk_live_1", url = "http://x" } end, "a key of Stripe's")
  for _, bad in ipairs { "", "a b", "a\r\nb", ("k"):rep(256) } do
    t.raises(function() caller("http://127.0.0.1:1")("POST", "/v1/x", {}, { idempotency = bad }) end, "Idempotency%-Key")
  end
end)

-- ---- verbs

-- Configures stripe for a server of these answers.
local function configured(...)
  local url, seen, close = server(...)
  stripe.setup { key = KEY, url = url .. "/v1", first_pause = 0.002 }
  return seen, close
end

t.test("without a key nothing is asked", function()
  stripe.setup {}
  t.eq(stripe.configured(), false)
  local value, err = stripe.customer("cus_1")
  t.eq(value, nil); t.eq(err.code, "unavailable"); t.eq(err.retryable, false)
  stripe.setup { key = KEY }
  t.eq(stripe.configured(), true)
end)

t.test("an id that is none leads nowhere", function()
  local seen, close = configured { 200 }
  for _, bad in ipairs { "", "../charges", "cus_1/x", "cus 1", "cus_1?a=b", "%2e%2e", ("c"):rep(256), 7, json.null } do
    local value, err = stripe.subscription(bad)
    t.eq(value, nil); t.eq(err.code, "not_found")
  end
  t.eq(#seen, 0)
  close()
end)

t.test("a customer: one for each user, whatever Stripe has kept under his key", function()
  local gone = refused(404, { code = "resource_missing" })
  local fault = refused(500, nil, kept)
  local seen, close = configured({ 200, '{"id":"cus_1"}' }, gone, fault, { 200, '{"id":"cus_3"}' },
    { 200, '{"id":"cus_3","email":"a@b.c"}' })
  local customer = assert(stripe.create_customer { user_id = "u-1", email = "a@b.c" })
  t.eq(customer.email, "a@b.c"); t.eq(#seen, 5)
  for n, key in pairs { [1] = "cchost-customer-u-1", [3] = "cchost-customer-u-1-2", [4] = "cchost-customer-u-1-3" } do
    t.eq(seen[n].headers["idempotency-key"], key); t.eq(seen[n].body, "metadata[user_id]=u-1")
  end
  t.eq(seen[5].path, "/v1/customers/cus_3"); t.eq(seen[5].body, "email=a%40b.c")
  close()
  seen, close = configured(fault)
  local value, err = stripe.create_customer { user_id = "u-1", email = "a@b.c" }
  t.eq(value, nil); t.eq(err.code, "failed"); t.eq(#seen, 3)
  close()
  seen, close = configured(refused(400))
  t.eq(stripe.create_customer { user_id = "u-1", email = "a@b.c" }, nil); t.eq(#seen, 1)
  close()
end)

local function events_page(from, to, more)
  local data = json.array {}
  for n = from, to, -1 do data[#data + 1] = { id = "evt_" .. n, created = n } end
  return { 200, json.encode { object = "list", data = data, has_more = more } }
end

t.test("events: all pages, oldest first; of too many the oldest, and that there are more", function()
  local function ask(most)
    local seen, close = configured(events_page(9, 7, true), events_page(6, 4, true), events_page(3, 1, false))
    local list, more = assert(stripe.events { since = 1, before = 10, types = { "a.b", "c.d" }, most = most })
    t.eq(seen[1].query, "created[gte]=1&created[lt]=10&limit=50&types[0]=a.b&types[1]=c.d")
    t.match(seen[2].query, "&starting_after=evt_7&"); t.match(seen[3].query, "&starting_after=evt_4&"); t.eq(#seen, 3)
    close()
    local ids = {}
    for i, e in ipairs(list) do ids[i] = e.created end
    return table.concat(ids, " "), more
  end
  local ids, more = ask()
  t.eq(ids, "1 2 3 4 5 6 7 8 9"); t.eq(more, false)
  ids, more = ask(4)
  t.eq(ids, "1 2 3 4"); t.eq(more, true)
  ids, more = ask(9)
  t.eq(ids, "1 2 3 4 5 6 7 8 9"); t.eq(more, false)
end)

t.test("events: lists that lead nowhere end", function()
  for _, answers in ipairs {
    { { 200, "{}" } }, { { 200, '{"data":7}' } }, { { 200, '{"data":[7],"has_more":true}' } },
    { { 200, '{"data":[{"id":7}],"has_more":true}' } }, { events_page(2, 1, true) }, { events_page(2, 1, true), refused(400) },
  } do
    local seen, close = configured(unpack(answers))
    local list, err = stripe.events { since = 1 }
    t.eq(list, nil); t.eq(err.code, "failed"); t.ok(#seen <= 2)
    close()
  end
  local seen, close = configured(events_page(2, 3, true)) -- none on the page, and yet more
  t.eq(#assert(stripe.events { since = 1 }), 0); t.eq(#seen, 1)
  close()
end)

t.test("usage goes by meter events, or by records, and never as a fraction", function()
  local use = { id = "u1-17", customer = "cus_1", item = "si_1", quantity = 12, at = NOW }
  local seen, close = configured { 200 }
  assert(stripe.report_usage(use))
  t.eq(seen[1].path, "/v1/billing/meter_events"); t.eq(seen[1].headers["idempotency-key"], "cchost-usage-u1-17")
  t.eq(seen[1].body, "event_name=cchost_usage&identifier=u1-17&payload[stripe_customer_id]=cus_1&payload[value]=12"
    .. "&timestamp=" .. NOW)
  close()
  local url
  url, seen, close = server { 200 }
  stripe.setup { key = KEY, url = url, usage = "records" }
  assert(stripe.report_usage(use))
  t.eq(seen[1].path, "/v1/subscription_items/si_1/usage_records"); t.eq(seen[1].headers["idempotency-key"], "cchost-usage-u1-17")
  t.eq(seen[1].body, "action=increment&quantity=12&timestamp=" .. NOW)
  use.quantity = 1.5
  t.raises(function() stripe.usage_record(use) end, "whole number")
  t.raises(function() stripe.meter_event(use) end, "whole number")
  t.raises(function() stripe.usage_record { id = "x" } end, "item expected")
  close()
end)

return t.done()
