-- fill_log.lua DIR COUNT: a store of COUNT machines with five log entries each, written as the rules of machines do.
local fields = require "machines.fields"
local fs = require "fs"
local record = require "machines.record"
local store = require "store"
local task = require "task"

local dir, count = ...
assert(fs.mkdir(dir, tonumber("700", 8)))
assert(store.open { dir = dir, serve = true })
assert(require("migrations").run())

local function edit(id, type, fn)
  assert(store.update(function(tx)
    local old = record.get(tx, id)
    local rec = record.edit(old)
    fn(rec)
    record.save(tx, old, rec, type, "bench")
    return true
  end))
end

local function machine()
  local rec = fields.new_record({}, "operator", { provider = "mock", type = "small" })
  assert(store.update(function(tx) record.save(tx, nil, rec, "created", "bench") return true end))
  edit(rec.id, "running", function(r) record.enter(r, "RUNNING") end)
  for n = 1, 3 do edit(rec.id, "changed", function(r) r.labels = { n = tostring(n) } end) end
end

local left, workers = tonumber(count), {}
for w = 1, 64 do
  workers[w] = task.spawn(function()
    while left > 0 do
      left = left - 1
      machine()
    end
    return true
  end)
end
for _, w in ipairs(workers) do assert(w:join()) end
