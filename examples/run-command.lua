-- Makes a machine, runs a command on it, shows what it said, and deletes the machine again.
--
--   cchost examples/run-command.lua [--keep] COMMAND [ARGUMENT ...]
--   cchost examples/run-command.lua uname -a
--
-- Works on the store of DATA_DIR (./data), beside a running `cchost serve` or without one.

local app = require "script"
local access = require "machines.access"
local instances = require "instances"

local args = { ... }
local keep = args[1] == "--keep"
if keep then table.remove(args, 1) end
if #args == 0 then app.usage("examples/run-command.lua [--keep] COMMAND [ARGUMENT ...]") end

app.open()

local machine = app.must(instances.create(instances.operator, { labels = { made_by = "run-command" } }))
app.progress("machine %s is being made", machine.name)
app.must(instances.operation(instances.operator, machine.operation, 60))

local result, why = access.exec(instances.operator, machine.id, args)

if keep then
  print("kept: " .. machine.name)
else
  app.must(instances.move(instances.operator, machine.id, "delete"))
  app.progress("machine %s is deleted", machine.name)
end

app.must(result, why)
app.progress("%s ended with exit code %d", args[1], result.exit)
io.stdout:write(result.stdout)
io.stderr:write(result.stderr)
return result.exit
