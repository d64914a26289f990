-- Lists machines with their status, age, type and the disk that they use.
--
--   cchost examples/list-machines.lua

local app = require "script"
local fs = require "fs"
local instances = require "instances"
local json = require "json"
local time = require "time"

app.open { existing = true }

local function age(rec)
  local s = math.floor((time.now() - time.parse(rec.created_at)) / 1000)
  if s < 3600 then return ("%d min"):format(s / 60) end
  if s < 86400 then return ("%.1f h"):format(s / 3600) end
  return ("%.1f d"):format(s / 86400)
end

local function disk(rec)
  if rec.provider ~= "local" then return "-" end
  local bytes = fs.usage(("%s/local/machines/%s"):format(app.settings.DATA_DIR, rec.short))
  return bytes and ("%.1f MiB"):format(bytes / 2 ^ 20) or "-"
end

local n, after = 0, nil
print(("%-24s %-10s %-8s %10s %12s"):format("NAME", "STATUS", "TYPE", "AGE", "DISK"))
repeat
  local page = instances.list(instances.operator, after, 100)
  for _, text in ipairs(page.texts) do
    local rec = json.decode(text)
    n = n + 1
    app.progress("%d machines", n)
    print(("%-24s %-10s %-8s %10s %12s"):format(rec.name, rec.status, rec.type, age(rec), disk(rec)))
  end
  after = page.after
until not after
if n == 0 then print("there are no machines") end
