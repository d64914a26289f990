-- fill.lua DIR COUNT REQUESTS: a store of COUNT machines owned by 1,000 users, and a file of "path token" lines.
local credentials = require "accounts.credentials"
local expiring = require "accounts.expiring"
local store = require "store"
local sys = require "sys"
local time = require "time"
local crypto = require "crypto"
local ids = require "ids"
local users = require "accounts.users"

local dir, count, requests = ...
count = tonumber(count)
assert(sys.run { "mkdir", "-p", dir }.exit == 0)
assert(store.open { dir = dir, serve = true })

credentials.setup { "perf-anchor-secret-0123456789abcdef" }
local tokens, owners, lines = {}, {}, {}
local ends = time.now() + 86400000
for u = 1, 1000 do
  assert(store.update(function(tx)
    local user = assert(users.create(tx, { email = ("user%d@example.org"):format(u) }))
    local session = { id = crypto.token(16), user = user.id, created_at = user.created_at, expires_at = time.rfc3339(ends) }
    expiring.put(tx, "session", session.id, session, user.id)
    owners[u] = user.id
    local claims = { user_id = user.id, email = user.email, purpose = "session", jti = session.id }
    tokens[u] = credentials.sign(claims, ends - 86400000, ends)
    return true
  end))
end

local function record(i, id, user)
  return {
    id = id, short = ids.short(id), name = ("box-%06d"):format(i), owner = owners[user], provider = "mock", image = "host",
    type = "small", status = "STOPPED", desired = "STOPPED", created_at = time.rfc3339(time.now()), version = 1,
  }
end

local done = 0
while done < count do
  assert(store.update(function(tx)
    for i = done + 1, math.min(done + 1000, count) do
      local id, user = crypto.uuid(), i % 1000 + 1
      tx:put("instance", id, record(i, id, user), owners[user])
      tx:index("instance_live", id, "")
      tx:log("instance", id, "created", { name = i }, "bench")
      if i % 5 == 0 then lines[#lines + 1] = ("/instances/%s %s"):format(id, tokens[user]) end
    end
    return true
  end))
  done = done + 1000
end

-- in random order, or neighbours would share pages
for i = #lines, 2, -1 do
  local r = crypto.random(4)
  local j = (r:byte(1) + r:byte(2) * 256 + r:byte(3) * 65536) % i + 1
  lines[i], lines[j] = lines[j], lines[i]
end
local f = assert(io.open(requests, "w"))
f:write(table.concat(lines, "\n"), "\n")
f:close()
