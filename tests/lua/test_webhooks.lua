-- The pure parts of webhooks: signatures, URLs, filters, what a receiver asks for.
local filter = require "webhooks.filter"
local retry_after = require "webhooks.retry_after"
local send = require "webhooks.send"
local t = require "t"
local urls = require "webhooks.url"

t.test("the signature of Standard Webhooks' own example", function()
  local secret, id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
  t.eq(send.signature({ secret }, id, 1614265330, '{"test": 2432232314}'), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
  t.match(send.signature({ "whsec_AAAA", "whsec_BBBB" }, "a", 1, "b"), "^v1,%S+= v1,%S+=$")
end)

t.test("https, and http to loopback in development or where a setting says so", function()
  local dev, production, any = { development = true }, {}, { http = true }
  for _, text in ipairs {
    "https://example.org", "https://example.org/", "https://a-b.example.org:8443/x/y?z=%20&a[]=1", "https://[2001:db8::1]/",
  } do
    t.eq(urls.fault(text, production), nil, text)
  end
  for _, text in ipairs { "http://127.0.0.1:9000/x", "http://localhost/", "http://[::1]:80/" } do
    t.eq(urls.fault(text, dev), nil, text); t.eq(urls.fault(text, any), nil, text)
    t.match(urls.fault(text, production), "https expected")
  end
  for _, text in ipairs { "http://127.0.0.1.example.org/", "http://localhost.example.org/", "http://10.0.0.1/" } do
    t.match(urls.fault(text, dev), "https expected"); t.eq(urls.fault(text, any), nil, text)
  end
  t.eq(urls.host("https://[2001:db8::1]:8443/secret?x"), "[2001:db8::1]")
  t.eq(urls.host("https://example.org/secret"), "example.org")
end)

t.test("filters", function()
  t.ok(filter.matches(filter.set {}, { kind = "instance", type = "stopped" }))
  local set = filter.set { "user", "instance.stopped", "volume." }
  local wanted = { ["user/created"] = true, ["instance/stopped"] = true, ["instance/running"] = false, ["volume/x"] = true }
  for text, want in pairs(wanted) do
    local kind, type = text:match("^(.-)/(.*)$")
    t.eq(filter.matches(set, { kind = kind, type = type }), want, text)
  end
end)

t.test("Retry-After: seconds or a date, a day at most", function()
  local now = 784111777000 -- Sun, 06 Nov 1994 08:49:37 GMT
  for text, want in pairs {
    ["0"] = 0, ["120"] = 120, ["999999999"] = 86400,
    ["Sun, 06 Nov 1994 08:50:37 GMT"] = 60, ["Sun, 06 Nov 1994 08:00:00 GMT"] = 0, ["Sun, 06 Nov 2094 08:00:00 GMT"] = 86400,
  } do
    t.eq(retry_after.seconds(text, now), want, text)
  end
  for _, text in ipairs { "", "-1", "1.5", "soon", "Sun, 06 Foo 1994 08:50:37 GMT", "99999999999999999999" } do
    t.eq(retry_after.seconds(text, now), nil, text)
  end
  t.eq(retry_after.seconds(nil, now), nil)
end)

t.test("a pause of more than a day is waited for: with its jitter one may be longer than any wait", function()
  local courier = require "webhooks.courier"
  local steady, store, task = require "steady", require "store", require "task"
  assert(store.open { dir = t.tmpdir(), serve = true })
  assert(store.update(function(tx)
    tx:put("webhook", "h", { id = "h", url = "https://example.org/", events = {}, all = true, enabled = true, version = 1 })
    tx:put("webhook_state", "h", { cursor = 0, epoch = 0, number = 0, event = 1, attempts = 9, next_at = steady.after(100000) })
  end))
  courier.serve()
  task.sleep(0)
  local figures = courier.figures()
  assert(store.update(function(tx)
    tx:log("webhook", "h", "deleted", { webhook = "h" }, "test")
    tx:del("webhook", "h")
  end))
  t.wait_until(function() return courier.behind() == 0 end)
  store.close()
  t.eq(figures.retrying, 1)
end)

-- Bug: what was changed in the moment between its last delivery and its end was seen by nobody until the next event of its owner.
t.test("a replay that comes as a webhook is about to be level is gone on with at once", function()
  local attempt, courier, store = require "webhooks.attempt", require "webhooks.courier", require "store"
  local real, told = attempt.event, {}
  assert(store.open { dir = t.tmpdir(), serve = true })
  courier.serve()
  local function change(fn)
    assert(store.update(function(tx)
      fn(tx)
      return true
    end))
  end
  local function cursor(tx, to, epochs)
    local state = tx:get("webhook_state", "g")
    state.cursor, state.epoch = to, state.epoch + epochs
    tx:put("webhook_state", "g", state)
  end
  local from = store.stats().log_seq
  function attempt.event(_, state, _, e)
    told[#told + 1] = e.seq
    change(function(tx) cursor(tx, e.seq, 0) end)
    if #told == 2 then
      change(function(tx)
        cursor(tx, from, 1)
        tx:log("webhook", "g", "replayed", { webhook = "g" }, "test")
      end)
      t.wait_until(function() return courier.behind() == 0 end, "the courier has read of it")
    end
    return state.epoch ~= nil
  end
  change(function(tx)
    local hook = { id = "g", url = "https://example.org/", events = { "instance" }, all = true, enabled = true, version = 1 }
    tx:put("webhook", "g", hook)
    tx:put("webhook_state", "g", { cursor = from, epoch = 0, number = 0 })
    for n = 1, 2 do
      tx:put("instance", "m" .. n, {})
      tx:log("instance", "m" .. n, "stopped", {}, "test")
    end
    tx:log("webhook", "g", "created", { webhook = "g" }, "test")
  end)
  t.wait_until(function() return #told == 4 end, "both are told once more")
  t.eq(table.concat(told, " "), ("%d %d %d %d"):format(from + 1, from + 2, from + 1, from + 2))
  attempt.event = real
  change(function(tx)
    tx:log("webhook", "g", "deleted", { webhook = "g" }, "test")
    tx:del("webhook", "g")
  end)
  t.wait_until(function() return courier.behind() == 0 end)
  store.close()
end)

t.test("a place in the log by its time, though an update that began earlier may have come later", function()
  local seek, store, time = require "webhooks.seek", require "store", require "time"
  assert(store.open { dir = t.tmpdir(), serve = true })
  local base = 1700000000000
  for i, ms in ipairs { 1000, 1000, 4000, 2000, 3000, 3000, 5000 } do
    time.virtual(base + ms)
    assert(store.update(function(tx)
      tx:put("thing", ("%d"):format(i), {})
      tx:log("thing", ("%d"):format(i), "made", {}, "test")
    end))
  end
  for ms, after in pairs { [0] = 0, [1000] = 0, [1001] = 2, [3001] = 2, [4000] = 2, [4001] = 6, [5000] = 6, [5001] = 7 } do
    t.eq(seek.cursor { since = time.rfc3339(base + ms) }, after, ("%d"):format(ms))
  end
  t.eq(seek.cursor { after = 7 }, 7)
  t.eq(select(2, seek.cursor { after = 8 }).field, "after")
  store.close()
end)

t.test("a time before all that is in the log does not read the whole log", function()
  local seek, store, time = require "webhooks.seek", require "store", require "time"
  assert(store.open { dir = t.tmpdir(), serve = true })
  assert(store.update(function(tx)
    tx:put("thing", "1", {})
    for _ = 1, 1000 do tx:log("thing", "1", "made", {}, "test") end
  end))
  local read, most = store.log, 0
  store.log = function(o) -- luacheck: ignore
    local entries, err = read(o)
    most = math.max(most, #entries)
    return entries, err
  end
  local after = seek.cursor { since = time.rfc3339(0) }
  store.log = read -- luacheck: ignore
  t.eq(after, 0)
  t.ok(most <= 200, ("%d entries at once"):format(most))
  store.close()
end)

return t.done()
