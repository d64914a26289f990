-- Netbird without Netbird: how many requests a minute, which are sent again, what errors say, names. What it takes is shown in
-- tests/netbird.
local time = require "time"
time.virtual(1700000000000)

local t = require "t"
local client = require "netbird.client"
local errors = require "errors"
local fs = require "fs"
local names = require "netbird.names"
local objects = require "netbird.objects"
local rate = require "netbird.rate"
local task = require "task"

-- Time moves on when the others have had their turn.
function t.turn()
  for _ = 1, 3 do assert(fs.stat("/")) end
  time.advance(1000)
end

assert(require("store").open { dir = t.tmpdir(), serve = true })

local OWNER = "01234567-89ab-4cde-8f01-23456789abcd"

-- A clock that moves when somebody sleeps, and only then.
local function clock()
  local c = { at = 0 }
  function c.now() return c.at end
  function c.sleep(seconds) c.at = c.at + seconds * 1000 return true end
  return c
end

-- The most of these times within any minute.
local function most_in_a_minute(sent)
  local most, first = 0, 1
  for i, at in ipairs(sent) do
    while sent[first] <= at - 60000 do first = first + 1 end
    most = math.max(most, i - first + 1)
  end
  return most
end

t.test("never more than 120 requests within any minute, and no fewer than may be", function()
  local c, sent = clock(), {}
  local turns = rate.new(120, c)
  for i = 1, 1000 do
    assert(turns:take(3600))
    sent[i] = c.at
  end
  t.eq(most_in_a_minute(sent), 120)
  t.eq(c.at, 8 * 60500)
  for i = 1001, 3000 do
    c.at = c.at + (i * 7919 % 1300)
    assert(turns:take(3600))
    sent[i] = c.at
  end
  t.eq(most_in_a_minute(sent), 120)
end)

t.test("who cannot wait so long is told when to come back, and takes no turn", function()
  local c = clock()
  local turns = rate.new(120, c)
  for _ = 1, 120 do assert(turns:take(0)) end
  c.at = 10000
  local ok, err = turns:take(20)
  t.eq(ok, nil)
  t.eq(err.code, "unavailable")
  t.eq(err.retryable, true)
  t.eq(err.retry_after, 51)
  assert(turns:take(60))
  t.eq(c.at, 60500)
end)

t.test("what can wait leaves half of the minute for what cannot", function()
  local c = clock()
  local turns, sent = rate.new(120, c), 0
  while turns:take(0, 0.5) do sent = sent + 1 end
  t.eq(sent, 60)
  for _ = 1, 60 do t.eq(turns:take(0), true) end
  t.eq((turns:take(0)), nil)
end)

t.test("many at once on the host's clock: first come, first served, 120 a minute", function()
  local turns, sent, order = rate.new(120), {}, {}
  for i = 1, 300 do
    task.spawn(function()
      assert(turns:take(600))
      sent[#sent + 1], order[#order + 1] = time.mono(), i
    end)
  end
  t.wait_until(function() return #sent == 300 end, "all are sent")
  t.eq(most_in_a_minute(sent), 120)
  for i = 2, 300 do t.ok(order[i] > order[i - 1]) end
end)

-- ---- which are sent again

-- A request over a transport that answers as told. -> request, the methods that it has seen, the clock
local http = require "http"
local real = http.request

local function over(...)
  local answers, seen, c = { ... }, {}, clock()
  http.request = function(r) -- luacheck: ignore 122
    seen[#seen + 1] = r
    local a = answers[math.min(#seen, #answers)]
    if a.err then return errors.fail(a.err, "no way", { retryable = a.err ~= "denied" }) end
    return { status = a[1], body = a[2] or "{}", headers = a[3] or {} }
  end
  return client.new { token = "nbp_secret0123", url = "https://nb.example.org/", clock = c }, seen, c
end

local function done() http.request = real end -- luacheck: ignore 122

t.test("GET, PUT and DELETE are sent again after faults; POST after 429 alone", function()
  for _, case in ipairs {
    { "GET", { 503 }, 2 }, { "DELETE", { 500 }, 2 }, { "PUT", { err = "io" }, 2 },
    { "GET", { 429, nil, { ["retry-after"] = "3" } }, 2 }, { "POST", { 429 }, 2 }, { "POST", { 503 }, 1 },
    { "POST", { err = "timeout" }, 1 }, { "GET", { 404 }, 1 }, { "GET", { 401 }, 1 }, { "POST", { 422 }, 1 },
    { "GET", { err = "denied" }, 1 },
  } do
    local request, seen, c = over(case[2], { 200, '{"id":"x"}' })
    local value = request(case[1], "/api/groups", case[1] ~= "GET" and { name = "x" } or nil)
    t.eq(#seen, case[3], ("%s %s"):format(case[1], case[2][1] or case[2].err))
    t.eq(value ~= nil, case[3] == 2)
    if case[2][3] then t.ok(c.at >= 3000, "Retry-After") end
    t.eq(seen[1].headers.Authorization, "Token nbp_secret0123")
    t.eq(seen[1].url, "https://nb.example.org/api/groups")
    done()
  end
end)

t.test("an end to it: the deadline, and four tries", function()
  local request, seen = over { 503 }
  t.eq((request("GET", "/api/groups")), nil)
  t.eq(#seen, 4)
  request, seen = over { 429, nil, { ["retry-after"] = "120" } }
  local _, err = request("GET", "/api/groups", nil, { seconds = 30 })
  t.eq(#seen, 1)
  t.eq(err.retry_after, 120)
  done()
end)

t.test("what a refusal becomes, and that no text of one holds a secret", function()
  for status, code in pairs { [400] = "invalid", [401] = "denied", [403] = "denied", [404] = "not_found", [409] = "exists",
    [412] = "invalid", [422] = "invalid", [302] = "failed" } do
    local request = over { status, '{"message":"key A1B2C3D4-0000-1111-2222-333344445555 of nbp_secret0123\\n is bad","code":1}' }
    local value, err = request("POST", "/api/x", {})
    t.eq(value, nil)
    t.eq(err.code, code, tostring(status))
    t.eq(err.status, status)
    t.eq(err.http_status, nil)
    t.match(err.message, "Netbird: .*key %(an id%) of %(a token%)")
  end
  local _, err = over { 400, '{"message":"group has been linked to policy: p","code":400}' }("DELETE", "/api/groups/x")
  t.eq(err.code, "linked")
  _, err = over { 200, "<html>" }("POST", "/api/x", {})
  t.eq(err.code, "io")
  t.eq(#over { 200, "null" }("GET", "/api/groups"), 0, "a list of nothing")
  t.raises(function() client.new { token = "a\r\nX: y", url = "http://x" } end, "a token")
  done()
end)

-- ---- names

t.test("names: told apart from everybody else's", function()
  local n = names.of("cchost", { owner = OWNER, short = "23456789abcd" })
  t.eq(n.peer, "cc-23456789abcd")
  for kind, name in pairs { group = n.group, policy = n.control_policy, key = n.device_key } do
    t.eq(names.parse("cchost", kind, name).owner, OWNER)
  end
  for kind, name in pairs { key = n.key, route = n.route } do t.eq(names.parse("cchost", kind, name).short, "23456789abcd") end
  t.ok(#names.of("cchost7890123456", { owner = OWNER, short = "23456789abcd" }).route <= 40, "as long as an identifier may be")
  for _, name in ipairs { "cchost-control", "cchost-users", "cchost-user-", "cchost-user-ann", "xcchost-user-" .. OWNER,
    "user-" .. OWNER, "cchost-user-" .. OWNER .. "x", n.control_group, "cchost2-user-" .. OWNER, "", "All" } do
    t.eq(names.parse("cchost", "group", name), nil, name)
  end
  t.eq(names.parse("cchost", "key", "cchost-machine-xyz"), nil)
  t.eq(names.peer("cc-23456789abcd"), "23456789abcd")
  for _, name in ipairs { "cc-ann", "box", "cc-23456789abcdef" } do t.eq(names.peer(name), nil) end
end)

-- ---- objects

t.test("one at a time for an owner, and one that fails lets the next in", function()
  local o, order = objects.new(function() end), {}
  for i = 1, 3 do
    task.spawn(function()
      pcall(o.alone, o, "ann", function()
        order[#order + 1] = i
        task.sleep(0)
        order[#order + 1] = -i
        if i == 2 then error("a fault") end
        return true
      end)
    end)
  end
  t.wait_until(function() return #order == 6 end, "all have been in")
  for i = 1, 6, 2 do t.eq(order[i + 1], -order[i], table.concat(order, " ")) end
end)

t.test("a policy whose groups were gone is made again with those that are there", function()
  local made, n = {}, 0
  local o = objects.new(function(method, path, body)
    if path:match("^/api/groups%?") then
      n = n + 1
      return { { id = "g" .. n, name = "mine" } }
    end
    if method == "GET" then return made end
    local rule = body.rules[1]
    local sources = {}
    for _, id in ipairs(rule.sources) do if id == "g2" then sources[1] = { id = id } end end -- g1 is not there any more
    made = { { id = "p", name = body.name, enabled = true, rules = { {
      enabled = true, action = "accept", protocol = "all", bidirectional = true, sources = sources, destinations = sources } } } }
    return made[1]
  end)
  t.eq(assert(o:policy { name = "p", from = { "mine" }, to = { "mine" }, bidirectional = true }).id, "p")
  t.eq(made[1].rules[1].sources[1].id, "g2")
end)

-- ---- the key's way to a machine

t.test("a provider that boots no system has the machine told by exec, once it runs, and waits until it has joined", function()
  local providers, steps, vault = require "providers", require "netbird.steps", require "vault"
  local store, sys = require "store", require "sys"
  vault.setup { current = ("k"):rep(32) }
  local rec = { id = OWNER, short = "23456789abcd", owner = "operator", provider = "p" }
  local api = { manager = "https://nb.example.org", names = function(r) return names.of("cchost", r) end, objects = {} }
  local peers, told, answer = {}, {}, { exit = 0, stdout = "", stderr = "" }
  function api.objects:peers(name, group)
    t.eq(name .. " " .. group, "cc-23456789abcd g")
    return peers
  end
  local caps, get = { exec = true }, providers.get
  providers.get = function() -- luacheck: ignore 122
    return {
      capabilities = function() return caps end,
      exec = function(_, name, o)
        told[#told + 1] = { name = name, cmd = table.concat(o.cmd, " "), text = o.stdin }
        if answer.exit == 0 then peers = { { id = "p1", ip = "100.90.0.7/16" } } end
        return answer
      end,
    }
  end
  local join = steps.effects(api)["netbird.join"]
  local function try(seconds)
    return join({ rec = rec, op = { attempts = 1 }, seconds = seconds or 5 }, { peer = "cc-23456789abcd", group = "g" })
  end
  assert(store.update(function(tx)
    vault.put(tx, "machine/" .. OWNER .. "/netbird_key", "A1B2'; rm -rf /", "operator")
    return true
  end))
  answer = { exit = 1, stdout = "", stderr = "the network was not joined: netbird up failed\n" }
  local _, err = try()
  t.eq(err.message, "the network was not joined: netbird up failed")
  t.eq(err.retryable, true)
  answer.exit = 0
  local peer = assert(try())
  t.eq(peer.peer .. " " .. peer.address, "p1 100.90.0.7")
  t.eq(#told, 2)
  t.eq(told[2].name .. " " .. told[2].cmd, "cc-23456789abcd sh", "the key is no argument")
  for _, line in ipairs { "key='A1B2'\\''; rm -rf /'", "manager='https://nb.example.org'", "name='cc-23456789abcd'" } do
    t.ok(told[2].text:find("\n" .. line .. "\n", 1, true), line)
  end
  t.eq(#told[2].text > #sys.carried("netbird-join.sh"), true)
  assert(try())
  t.eq(#told, 2, "who has joined is not told again")
  -- where cloud-init tells it, nothing is executed
  caps, peers = { exec = true, user_data = true }, {}
  local done_at
  task.spawn(function()
    _, err = try(20)
    done_at = time.mono()
  end)
  t.wait_until(function() return done_at end, "it has waited")
  t.eq(err.message, "the machine has not joined the network yet")
  t.eq(err.retryable, true)
  t.eq(#told, 2)
  t.eq(steps.script(api, { id = "another", short = "ba9876543210", owner = "operator" }), nil)
  providers.get = get -- luacheck: ignore 122
end)

return t.done()
