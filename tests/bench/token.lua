-- token.lua: a session token of the benchmark's key, on stdout.
local jwt = require "jwt"
local time = require "time"
local now = math.floor(time.now() / 1000)
io.write(jwt.new({ { secret = "perf-anchor-secret-0123456789abcdef" } }):sign {
  user_id = 1, email = "user1@example.org", purpose = "session", iat = now, exp = now + 86400,
})
