-- fill.lua DIR COUNT REQUESTS: a store of COUNT machines owned by 1,000 users, and a file of "path token" lines.
local jwt = require "jwt"
local store = require "store"
local sys = require "sys"
local time = require "time"
local crypto = require "crypto"
local ids = require "ids"

local dir, count, requests = ...
count = tonumber(count)
assert(sys.run { "mkdir", "-p", dir }.exit == 0)
assert(store.open { dir = dir, serve = true })

local signer = jwt.new { { secret = "perf-anchor-secret-0123456789abcdef" } }
local tokens, lines = {}, {}
local exp = math.floor(time.now() / 1000) + 86400
for u = 1, 1000 do
  tokens[u] = signer:sign {
    user_id = u, email = ("user%d@example.org"):format(u), purpose = "session", iat = exp - 86400, exp = exp,
  }
end

local function record(i, id, user)
  return {
    id = id, short = ids.short(id), name = ("box-%06d"):format(i), owner = tostring(user), provider = "mock", image = "host",
    type = "small", status = "STOPPED", desired = "STOPPED", created_at = time.rfc3339(time.now()), version = 1,
  }
end

local done = 0
while done < count do
  assert(store.update(function(tx)
    for i = done + 1, math.min(done + 1000, count) do
      local id, user = crypto.uuid(), i % 1000 + 1
      tx:put("instance", id, record(i, id, user), tostring(user))
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
