-- Addresses that belong to one alone: against a model, by chance; and those of machines, with their records.
local t = require "t"
local addresses = require "addresses"
local machines = require "machines.addresses"
local store = require "store"
local task = require "task"

assert(store.open { dir = t.tmpdir(), serve = true })

local function update(fn)
  local a, b = store.update(fn)
  if a == nil and b then return nil, b end
  return a
end
local function take(pool, key) return update(function(tx) return addresses.take(tx, pool, key) end) end
local function give_back(pool, key) return update(function(tx) return addresses.give_back(tx, pool, key) or false end) end

t.test("networks: the part of an address, and what overlaps", function()
  for text, want in pairs { ["10.1.2.3/24"] = "10.1.2.0/24", ["10.65.255.9/10"] = "10.64.0.0/10", ["1.2.3.4/32"] = "1.2.3.4/32",
    ["255.255.255.255/0"] = "0.0.0.0/0", ["192.168.7.9/31"] = "192.168.7.8/31" } do
    t.eq(addresses.network(text), want)
  end
  for _, bad in ipairs { "10.1.2.3", "10.1.2.256/24", "10.1.2.3/33", "x", "" } do t.eq(addresses.network(bad), nil, bad) end
  t.eq(addresses.overlap("10.0.0.0/8", "10.9.0.0/16"), true)
  t.eq(addresses.overlap("10.9.1.0/24", "10.9.2.0/24"), false)
end)

t.test("the lowest that is free, again and again, and an end to them", function()
  local pool = { name = "small", network = "10.9.0.0/28", size = 32, first = 2, last = 9 }
  for i = 2, 9 do t.eq(take(pool, "k" .. i), ("10.9.0.%d/28"):format(i)) end
  t.eq(take(pool, "k5"), "10.9.0.5/28", "who has one keeps it")
  local none, err = take(pool, "one more")
  t.eq(none, nil)
  t.eq(err.code, "unavailable")
  t.match(err.message, "all addresses of small %(10%.9%.0%.0/28%) are taken")
  t.eq(give_back(pool, "k7"), "10.9.0.7/28")
  t.eq(give_back(pool, "k4"), "10.9.0.4/28")
  t.eq(give_back(pool, "k4"), false)
  t.eq(take(pool, "new"), "10.9.0.4/28")
  t.eq(take(pool, "newer"), "10.9.0.7/28")
end)

t.test("the 251st owner has a network of his own: nothing is counted modulo anything", function()
  local pool, seen = { name = "many", network = "10.64.0.0/10", size = 24 }, {}
  update(function(tx)
    for i = 0, 999 do
      local network = assert(addresses.take(tx, pool, "user" .. i))
      t.eq(seen[network], nil, network)
      seen[network] = true
    end
    return true
  end)
  t.ok(seen["10.64.0.0/24"] and seen["10.64.250.0/24"] and seen["10.67.231.0/24"])
  local all = update(function(tx)
    for i = 0, 999 do addresses.give_back(tx, pool, "user" .. i) end
    return addresses.is_empty(tx, pool)
  end)
  t.eq(all, true)
  t.eq(#store.list("address", { prefix = "many/" }), 0)
end)

-- A number below n, of a row that is the same each time.
local seed = 7
local function below(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n
end

t.test("by chance, beside a model: none twice, always the lowest, all given back", function()
  local pool = { name = "chance", network = "172.16.0.0/20", size = 32, first = 4 }
  local has, owner, n_had = {}, {}, 0
  for _ = 1, 4000 do
    local key = "key" .. below(300)
    if has[key] and below(2) == 0 then
      t.eq(give_back(pool, key), has[key])
      has[key], owner[has[key]] = nil, nil
    elseif not has[key] then
      local want
      for i = 4, 400 do
        local a = ("172.16.%d.%d/20"):format(i / 256, i % 256)
        if not owner[a] then want = a break end
      end
      local got = take(pool, key)
      t.eq(got, want)
      has[key], owner[got] = got, key
      n_had = n_had + 1
    end
  end
  t.ok(n_had > 1000)
  for key, address in pairs(has) do t.eq(give_back(pool, key), address) end
  t.eq(#store.list("address", { prefix = "chance/" }), 0)
  t.eq(store.get("address_pool", "chance"), nil)
end)

t.test("many at once: as many addresses", function()
  local pool, got, n = { name = "at-once", network = "10.8.0.0/16", size = 24 }, {}, 0
  for i = 1, 100 do
    task.spawn(function()
      local a = assert(take(pool, "k" .. i))
      t.eq(got[a], nil)
      got[a], n = true, n + 1
    end)
  end
  t.wait_until(function() return n == 100 end, "all have one")
  t.ok(got["10.8.99.0/24"])
end)

t.test("machines: a network for each owner, given back with his last one", function()
  local providers = require "providers"
  local get = providers.get
  providers.get = function(name) -- luacheck: ignore 122
    return { capabilities = function() return { addresses = name == "wants" } end }
  end
  local function rec(owner, id) return { owner = owner, id = id } end
  local function made(r, ...)
    local places = { ... }
    update(function(tx) return machines.take(tx, r, places) end)
    return r.address
  end
  local wants, not_wants = { provider = "wants" }, { provider = "other" }
  local a, b, c = rec("ann", "a"), rec("ann", "b"), rec("bob", "c")
  t.eq(made(rec("ann", "x"), not_wants), nil)
  t.eq(made(a, wants), "10.64.0.4/24")
  t.eq(made(b, not_wants, wants), "10.64.0.5/24", "one of its fallbacks wants it")
  t.eq(made(c, wants), "10.64.1.4/24")
  t.eq(addresses.overlap(addresses.network(a.address), addresses.network(c.address)), false)
  local function release(r) update(function(tx) machines.release(tx, r) return true end) end
  release(a)
  release(a)
  t.eq(made(rec("ann", "d"), wants), "10.64.0.4/24")
  for _, id in ipairs { "b", "d" } do release(rec("ann", id)) end
  t.eq(made(rec("eve", "e"), wants), "10.64.0.4/24", "ann's network is free again")
  release(c)
  release(rec("eve", "e"))
  t.eq(#store.list("address", { prefix = "own" }), 0)
  providers.get = get -- luacheck: ignore 122
end)

return t.done()
