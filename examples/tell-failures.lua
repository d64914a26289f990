-- Follows the log and posts what failed to an address (a chat's webhook, say), from now on until it is ended.
--
--   cchost examples/tell-failures.lua URL [COUNT]          COUNT: ends after so many
--
-- It goes on where it was when it is started again: the last sequence that was told stands in DATA_DIR/told.

local app = require "script"
local fs = require "fs"
local http = require "http"
local json = require "json"
local store = require "store"
local task = require "task"
local time = require "time"

local url, most = ...
if not (url or ""):match("^https?://") then app.usage("examples/tell-failures.lua URL [COUNT]") end
local left = tonumber(most or math.huge)

app.open { existing = true }
local kept = app.settings.DATA_DIR .. "/told"
local after = tonumber(fs.read(kept, 32) or "") or app.must(store.stats()).log_seq

-- Until it was taken: nothing is lost when the other side is away.
local function tell(e)
  local data = json.decode(e.data) or {}
  local text = ("%s %s %s failed: %s"):format(time.rfc3339(e.at), e.kind, e.id, data.reason or data.error or "no reason told")
  local body = json.encode { text = text, seq = e.seq }
  local pause = 1
  while true do
    local headers = { ["Content-Type"] = "application/json" }
    local r, err = http.request { url = url, method = "POST", headers = headers, body = body, timeout = 30 }
    if r and r.status < 300 then break end
    io.stderr:write("not taken: ", err and err.message or "status " .. r.status, "\n")
    app.must(task.sleep(pause))
    pause = math.min(pause * 2, 300)
  end
  app.must(fs.write(kept, tostring(e.seq)))
end

while left > 0 do
  local page = app.must(store.log { after = after, limit = 500 })
  for _, e in ipairs(page) do
    after = e.seq
    if e.type == "failed" and left > 0 then
      tell(e)
      left = left - 1
    end
  end
  if #page == 0 then store.wait(after, 3600) end
end
