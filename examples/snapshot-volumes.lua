-- A snapshot of every volume whose machine does not run, and the oldest of ours go: for cron, each night.
--
--   cchost examples/snapshot-volumes.lua [KEEP]            KEEP: so many of ours stay (7)
--
-- Snapshots of others' making are left alone: ours are called nightly-DATE.

local app = require "script"
local instances = require "instances"
local json = require "json"
local time = require "time"
local volumes = require "volumes"

local keep = tonumber((...) or 7)
if not keep or keep < 1 then app.usage("examples/snapshot-volumes.lua [KEEP]") end

app.open { existing = true }
local operator = instances.operator
local today = "nightly-" .. time.rfc3339(time.now()):sub(1, 10)

local function ours(rec)
  local names = {}
  for _, s in ipairs(rec.snapshots or {}) do
    if s.name:match("^nightly%-") then names[#names + 1] = s.name end
  end
  table.sort(names)
  return names
end

-- What goes wrong with one is said, and the others have their turn.
local function one(rec)
  local done, err = volumes.snapshot(operator, rec.id, today, 3600)
  if not done and err.code ~= "exists" then return print(("%s: no snapshot: %s"):format(rec.name, err.message)) end
  print(("%s: %s"):format(rec.name, today))
  local names = ours(app.must(volumes.get(operator, rec.id)))
  for i = 1, #names - keep do
    local gone, why = volumes.drop_snapshot(operator, rec.id, names[i], 3600)
    print(("%s: %s %s"):format(rec.name, names[i], gone and "is gone" or "stays: " .. why.message))
  end
end

local n, after = 0, nil
repeat
  local page = volumes.list(operator, after, 100)
  for _, text in ipairs(page.texts) do
    one(json.decode(text))
    n = n + 1
    app.progress("%d volumes", n)
  end
  after = page.after
until not after
