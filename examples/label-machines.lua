-- Gives a label to every machine of an owner, or takes it away: policies read labels.
--
--   cchost examples/label-machines.lua [--dry-run] OWNER NAME=VALUE
--   cchost examples/label-machines.lua ann@example.org night=off
--   cchost examples/label-machines.lua all idle=          without a value it is taken away

local app = require "script"
local instances = require "instances"
local json = require "json"
local users = require "accounts.users"

local args = { ... }
local dry = args[1] == "--dry-run"
if dry then table.remove(args, 1) end
local name, value = (args[2] or ""):match("^([%w._-]+)=(.*)$")
if not name then app.usage("examples/label-machines.lua [--dry-run] OWNER|all NAME=VALUE") end

app.open { existing = true }
local owner = args[1] ~= "all" and app.must(users.find(args[1])).id or nil

-- Whether it was changed.
local function label(rec)
  if owner and rec.owner ~= owner or (rec.labels[name] or "") == value then return false end
  rec.labels[name] = value ~= "" and value or nil
  if not dry then app.must(instances.patch(instances.operator, rec.id, { labels = rec.labels })) end
  print(("%s%s"):format(rec.name, dry and " (would be labelled)" or ""))
  return true
end

local n, after = 0, nil
repeat
  local page = instances.list(instances.operator, after, 100)
  for _, text in ipairs(page.texts) do
    if label(json.decode(text)) then n = n + 1 end
  end
  after = page.after
until not after
print(("%d machines %s"):format(n, dry and "would be labelled" or "labelled"))
