-- Stops every running machine that nobody has typed on since a given time.
--
--   cchost examples/stop-idle.lua [--dry-run] SINCE
--   cchost examples/stop-idle.lua 2h                      unused for two hours
--   cchost examples/stop-idle.lua 2026-11-20T12:00:00Z    unused since then

local app = require "script"
local access = require "machines.access"
local instances = require "instances"
local json = require "json"
local time = require "time"

local args = { ... }
local dry = args[1] == "--dry-run"
if dry then table.remove(args, 1) end

local unit = { s = 1000, m = 60000, h = 3600000, d = 86400000 }

local function parse_since(text)
  local n, u = (text or ""):match("^(%d+)([smhd])$")
  if n then return time.now() - tonumber(n) * unit[u] end
  return time.parse(text or "")
end

local since = parse_since(args[1])
if not since then app.usage("examples/stop-idle.lua [--dry-run] SINCE   (2h, 30m, or 2026-11-20T12:00:00Z)") end

app.open { existing = true }

-- The newest of what the record and the machine itself know.
local function last_used(rec)
  local at = time.parse(rec.last_activity_at)
  local activity = access.activity(instances.operator, rec.id)
  return math.max(at, activity and activity.last_input_at or 0)
end

local stopped, looked, after = 0, 0, nil
repeat
  local page = instances.list(instances.operator, after, 100)
  for _, text in ipairs(page.texts) do
    local rec = json.decode(text)
    looked = looked + 1
    app.progress("%d looked at, %d stopped", looked, stopped)
    if rec.status == "RUNNING" then
      local used = last_used(rec)
      if used < since then
        print(("%s: unused since %s%s"):format(rec.name, time.rfc3339(used), dry and " (would be stopped)" or ""))
        if not dry then app.must(instances.move(instances.operator, rec.id, "stop")) end
        stopped = stopped + 1
      end
    end
  end
  after = page.after
until not after
if looked == 0 then return print("there are no machines") end
print(("%d of %d machines %s"):format(stopped, looked, dry and "would be stopped" or "stopped"))
