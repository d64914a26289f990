-- Makes accounts from a list, with a plan that is given: a class, a team. Who is there already keeps what he has.
--
--   cchost examples/invite.lua FILE PLAN REASON          FILE: an address a line; "-" is standard input
--   cchost examples/invite.lua class.txt starter "course 101"

local app = require "script"
local instances = require "instances"
local store = require "store"
local users = require "accounts.users"

local file, plan, reason = ...
if not reason then app.usage("examples/invite.lua FILE PLAN REASON") end

local from = file == "-" and io.stdin or app.must(io.open(file))

app.open()

local lines, bad = {}, 0
for line in from:lines() do
  local address, why = users.address(line:match("^%s*(.-)%s*$"))
  if address then
    lines[#lines + 1] = address
  elseif line:find("%S") then
    io.stderr:write(line, ": ", tostring(why), "\n")
    bad = bad + 1
  end
end
if bad > 0 then return 2 end -- nothing was done

local made = 0
for i, address in ipairs(lines) do
  app.bar(i, #lines, ("%d of %d"):format(i, #lines))
  if not users.resolve(address) then
    local user = app.must(store.update(function(tx) return users.create(tx, { email = address }, "operator") end))
    app.must(users.patch(instances.operator, user.id, { plan = plan, reason = reason }))
    made = made + 1
    print(("%s: %s"):format(address, plan))
  end
end
print(("%d of %d accounts are new"):format(made, #lines))
