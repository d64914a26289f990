-- luacheck: globals wrk request done
-- For wrk: asks for the "path token" lines of the file in REQUESTS, one after the other.
local paths = {}
for line in io.lines(os.getenv("REQUESTS")) do
  local path, token = line:match("^(%S+) (%S+)$")
  paths[#paths + 1] = wrk.format("GET", path, { Authorization = "Bearer " .. token, Host = "bench" })
end
local i = 0
function request()
  i = i % #paths + 1
  return paths[i]
end
function done(summary, latency)
  io.write(("result %d %d %d %.1f %.1f\n"):format(summary.requests, summary.duration,
    summary.errors.status + summary.errors.read + summary.errors.connect, latency:percentile(50), latency:percentile(99)))
end
