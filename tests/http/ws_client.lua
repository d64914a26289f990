-- For ws_client.test.js: opens WebSockets and says what came of it, as one line of JSON per case.
-- ws_client.lua '[{"url": ..., "send": [...], "recv": N, "cancel": true, "close": CODE, "hold": true, ...}, ...]'
local crypto = require "crypto"
local http = require "http"
local json = require "json"
local sys = require "sys"
local task = require "task"

local function fault(err)
  return {
    code = err.code, message = err.message, status = err.status, body = err.body, close = err.close_code, reason = err.reason,
  }
end

local function received(ws, n)
  local out = json.array {}
  for i = 1, n do
    local data, kind = ws:recv()
    if not data then
      out[i] = fault(kind)
      break
    end
    out[i] = { kind = kind, size = #data }
    if #data < 200 then out[i].text = json.text(data) else out[i].sum = crypto.hex(crypto.sha256(data)) end
  end
  return out
end

local function use(case)
  local ws, err = http.websocket {
    url = case.url, unix = case.unix, headers = case.headers, subprotocol = case.subprotocol, timeout = case.timeout,
    max_message = case.max_message,
  }
  if not ws then return fault(err) end
  if case.hold then return { open = true, held = tostring(ws) } end
  for _, m in ipairs(case.send or {}) do
    local ok, serr = ws:send(m.text or ("x"):rep(m.size), m.kind)
    if not ok then return { sent = fault(serr) } end
  end
  local out = { open = true, got = received(ws, case.recv or 0) }
  if case.close then
    ws:close(case.close, case.reason)
    out.got = received(ws, 1)
  end
  return out
end

for _, case in ipairs(json.decode((...))) do
  local t = task.spawn(use, case)
  if case.cancel then
    task.sleep(case.cancel)
    t:cancel("enough")
  end
  local result, err = t:join()
  sys.stdout(json.encode(result or { raised = err.traceback or err.message }) .. "\n")
end
