-- Traces on the wire: OTLP by HTTP, in JSON. Which failures are worth another try, and when, is the specification's.
--
-- otlp.sender(settings, instance, version) -> send
--   send(text, seconds) -> true, refused, why | nil, err     [yields] text: spans (trace.take). err.retryable, err.retry_after

local errors = require "errors"
local host_http = require "http"
local json = require "json"

local M = {}

local LATER = { [429] = true, [502] = true, [503] = true, [504] = true }

-- What is said by settings takes the place of what we say ourselves; OTEL_SERVICE_NAME of all.
local function resource(settings, instance, version)
  local by_name = {
    ["service.version"] = version, ["service.instance.id"] = instance, ["telemetry.sdk.name"] = "cchost",
    ["telemetry.sdk.language"] = "lua", ["telemetry.sdk.version"] = version,
    ["deployment.environment.name"] = settings.ENVIRONMENT,
  }
  for _, pair in ipairs(settings.OTEL_RESOURCE_ATTRIBUTES or {}) do by_name[pair[1]] = pair[2] end
  if settings.OTEL_SERVICE_NAME ~= "cchost" then by_name["service.name"] = settings.OTEL_SERVICE_NAME end
  by_name["service.name"] = by_name["service.name"] or "cchost"
  local list = json.array {}
  for name, value in pairs(by_name) do list[#list + 1] = { key = name, value = { stringValue = value } } end
  table.sort(list, function(a, b) return a.key < b.key end)
  return json.encode { attributes = list }
end

-- The JSON of an answer, as far as it is some. -> table
local function read(body)
  local ok, value = pcall(json.decode, body)
  return ok and type(value) == "table" and value or {}
end

local function failure(answer)
  local said = read(answer.body).message
  local after = answer.headers["retry-after"]
  local why = type(said) == "string" and ": " .. said:sub(1, 200) or ""
  return errors.fail("unavailable", ("status %d%s"):format(answer.status, why), {
    retryable = LATER[answer.status] == true, retry_after = after and after:match("^%d+$") and tonumber(after),
  })
end

function M.sender(settings, instance, version)
  local url = settings.OTEL_EXPORTER_OTLP_ENDPOINT .. "/v1/traces"
  local headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "OTel-OTLP-Exporter-cchost/" .. version }
  for _, pair in ipairs(settings.OTEL_EXPORTER_OTLP_HEADERS or {}) do headers[pair[1]] = pair[2] end
  local before = ('{"resourceSpans":[{"resource":%s,"scopeSpans":[{"scope":%s,"spans":['):format(
    resource(settings, instance, version), json.encode { name = "cchost", version = version })
  local most = settings.OTEL_EXPORTER_OTLP_TIMEOUT / 1000
  return function(text, seconds)
    local answer, err = host_http.request {
      url = url, method = "POST", headers = headers, body = before .. text .. "]}]}]}",
      timeout = math.min(most, seconds), connect_timeout = math.min(most, seconds), max_body = 65536,
    }
    if not answer then
      if err.code ~= "cancelled" then err.retryable = true end
      return nil, err
    end
    if answer.status < 200 or answer.status > 299 then return failure(answer) end
    local partial = read(answer.body).partialSuccess
    if type(partial) ~= "table" then return true, 0 end
    return true, tonumber(partial.rejectedSpans) or 0, partial.errorMessage
  end
end

return M
