-- /metrics: the figures of the process, for Prometheus. An admin's, by the operator's key or a token with the scope metrics;
-- also at METRICS_ADDR, where there is one, for whoever comes there.

local app = require "app"
local metrics = require "observe.metrics"

local OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
local TEXT = "text/plain; version=0.0.4; charset=utf-8"

-- -> status, text, headers
local function answer(http)
  local open = (http:header("accept") or ""):find("application/openmetrics-text", 1, true) ~= nil
  return 200, metrics.text(open), { ["Content-Type"] = open and OPEN or TEXT, ["Cache-Control"] = "no-store" }
end

app.get("/metrics", {
  scope = "metrics", admin = true, query = {},
  does = "The figures of the server, for Prometheus", gives = { [200] = "text/plain" },
  more = "With `Accept: application/openmetrics-text` in that form.",
}, function(req) return answer(req.http) end)

local M = {}

-- The handler of a listener that has nothing else.
function M.alone(http)
  local status, body, headers = 404, "no such page here\n", { ["Content-Type"] = "text/plain; charset=utf-8" }
  if http:path() == "/metrics" and (http:method() == "GET" or http:method() == "HEAD") then
    status, body, headers = answer(http)
  end
  http:reply(status, body, headers)
end

return M
