-- The list of types of events: what it names, what it refuses, and that a type that is not in it is noticed.
local t = require "t"
local changes = require "machines.changes"
local event_types = require "event_types"
local log = require "log"
local store = require "store"
local workflow = require "workflow"
require "routes"

assert(store.open { dir = t.tmpdir(), serve = true })
changes.follow()

t.test("a machine's types are those of its statuses, of its operations, and its own", function()
  for _, type in ipairs { "running", "failed", "deleted", "create_asked", "create_running", "resize_failed", "unhealthy" } do
    t.ok(event_types.known("instance", type), type)
    t.match(event_types.says("instance", type), "%w")
  end
  for _, type in ipairs { "error", "resize_done", "create", "runing", "" } do
    t.ok(not event_types.known("instance", type), type)
  end
end)

t.test("the end of every workflow that has a name of its own is there, by that name", function()
  local n = 0
  for _, kind in ipairs(event_types.kinds()) do
    for op, event in pairs(workflow.of(kind)) do
      if event then
        t.ok(event_types.own(kind)[event], ("%s of %s"):format(event, op))
        n = n + 1
      end
    end
  end
  t.ok(n >= 10)
end)

t.test("a word that names nothing is told what may have been meant", function()
  for _, word in ipairs { "instance", "instance.stopped", "ledger.return", "user.webhook_created" } do
    t.eq(event_types.fault(word), nil, word)
  end
  t.eq(event_types.fault "instance.stoped", "there is no type 'stoped' of the kind instance; did you mean 'stopped'?")
  t.eq(event_types.fault "instanse", "there is no kind of events 'instanse'; did you mean 'instance'?")
  t.match(event_types.fault "xx.stopped", "one of instance, job, ledger, .* expected$")
  t.match(event_types.fault "instance.q", "`cchost log %-%-types` lists them$")
end)

-- Bug: the log, asked for a misspelt type or kind, answered with nothing, as if nothing had happened.
t.test("a filter of the log that no entry can fit is a fault of its field", function()
  local function fault(kind, type)
    local field, why = event_types.filter_fault(kind, type)
    return field and field .. ": " .. why
  end
  for _, f in ipairs { {}, { "instance" }, { nil, "stopped" }, { "ledger", "return" }, { nil, "volume_create_undone" } } do
    t.eq(fault(f[1], f[2]), nil, tostring(f[2]))
  end
  t.eq(fault("instanse", "stopped"), "kind: there is no kind of events 'instanse'; did you mean 'instance'?")
  t.eq(fault("instance", "trial"), "type: there is no type 'trial' of the kind instance; `cchost log --types` lists them")
  t.eq(fault(nil, "faild"), "type: there is no type of events 'faild'; did you mean 'failed'?")
  t.eq(fault(nil, "never"), "type: there is no type of events 'never'; `cchost log --types` lists them")
end)

t.test("an entry of a type that is not declared is told once, and all the same to who follows", function()
  local told, heard = {}, {}
  local was = log.error
  log.error = function(_, _, about) told[#told + 1] = about.kind .. "." .. about.type end -- luacheck: ignore 122
  changes.on("instance", function(_, type) heard[#heard + 1] = type end)
  for _, type in ipairs { "running", "danced", "danced", "stopped" } do
    assert(store.update(function(tx)
      tx:put("instance", "a", { id = "a", last = type }, "operator")
      tx:log("instance", "a", type, nil, "system")
      return true
    end))
  end
  t.wait_until(function() return #heard == 4 end, "all are heard")
  log.error = was -- luacheck: ignore 122
  t.eq(table.concat(heard, " "), "running danced danced stopped")
  t.eq(table.concat(told, " "), "instance.danced")
end)

return t.done()
