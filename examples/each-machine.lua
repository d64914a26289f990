-- Runs a command on every machine that runs, eight at a time; a line of JSON for each. Ends with 1 when it failed on one.
--
--   cchost examples/each-machine.lua COMMAND [ARGUMENT ...]
--   cchost examples/each-machine.lua sh -c 'df -h / | tail -n 1'

local app = require "script"
local access = require "machines.access"
local instances = require "instances"
local json = require "json"
local task = require "task"

local AT_ONCE, SECONDS = 8, 60
local command = { ... }
if #command == 0 then app.usage("examples/each-machine.lua COMMAND [ARGUMENT ...]") end

app.open { existing = true }

local waiting, after = {}, nil
repeat
  local page = instances.list(instances.operator, after, 100)
  for _, text in ipairs(page.texts) do
    local rec = json.decode(text)
    if rec.status == "RUNNING" then waiting[#waiting + 1] = rec end
  end
  after = page.after
until not after

local total, done, failed = #waiting, 0, 0

local function one(rec)
  local r, err = access.exec(instances.operator, rec.id, command, SECONDS)
  local said = { name = rec.name, id = rec.id, exit = r and r.exit, error = err and err.message }
  if r then said.stdout, said.stderr = json.text(r.stdout), json.text(r.stderr) end
  if not r or r.exit ~= 0 then failed = failed + 1 end
  print(json.encode(said))
end

-- Takes the next that waits, until there is none.
local function work()
  while #waiting > 0 do
    one(table.remove(waiting))
    done = done + 1
    app.bar(done, total, ("%d of %d machines"):format(done, total))
  end
end

local workers = {}
for i = 1, math.min(AT_ONCE, total) do workers[i] = task.spawn(work) end
for _, worker in ipairs(workers) do
  local _, err = worker:join()
  if err then app.must(nil, err) end -- it raised
end
return failed > 0 and 1 or 0
