-- What access.lua and the leases' policy decide, kept with its input: what they let pass at the machine, what they refuse in
-- the account's log, once a minute however often it is asked for.
local moved = require "moved"
moved.begin(1767225600000) -- 2026-01-01T00:00:00Z

local t = require "t"
local decisions = require "idle.decisions"
local denials = require "policy.denials"
local errors = require "errors"
local instances = require "instances"
local json = require "json"
local leases = require "machines.leases"
local policy = require "policy"
local sessions = require "accounts.sessions"
local store = require "store"
local task = require "task"
local time = require "time"
require "expiry"
require "idle"

moved.open()
policy.live()

-- The data of an object's entries "denied", oldest first.
local function denied(kind, id)
  local out = {}
  for _, e in ipairs(store.history(kind, id, {})) do
    if e.type == "denied" then
      local data = json.decode(e.data)
      data.by = e.by
      table.insert(out, 1, data)
    end
  end
  return out
end

local function explained(id, name)
  for _, row in ipairs(assert(decisions.list(id, { limit = 100 }))) do
    if row.name == name then
      local d = assert(decisions.at(id, row.from, row.kind))
      return d, row
    end
  end
end

local ann = moved.account("ann", "free")
local actor = { user = ann.id }
local m = moved.made(actor, { type = "small" })

t.test("that a machine could be made is kept at it, with its input, and explained", function()
  local d, row = explained(m.id, "access.create")
  t.eq(row.kind, "access"); t.eq(row.event, "created"); t.eq(row.verdict, "allow"); t.eq(row.generation, 1)
  t.eq(d.note, nil); t.eq(d.file, "access.lua"); t.match(d.source, 'return "allow", "within the plan"')
  t.eq(d.inputs.machines, 0); t.eq(d.inputs.most, 1); t.eq(d.inputs.owner, ann.id)
  t.eq(d.text, "would have been refused with machines 1 instead of 0")
  t.eq(explained(m.id, "placement.place").note, nil)
end)

t.test("and that it could be started", function()
  assert(instances.move(actor, m.id, "stop"))
  assert(instances.move(actor, m.id, "start"))
  local d, row = explained(m.id, "access.wake")
  t.eq(row.kind, "access"); t.eq(row.event, "starting"); t.eq(row.verdict, "allow")
  t.eq(d.note, nil); t.eq(d.inputs.running, 0); t.match(d.text, "would have been refused with running 1 instead of 0")
end)

t.test("decisions of one entry are pages of their own, and of one kind alone where that is asked", function()
  local all, seen, after = assert(decisions.list(m.id, { limit = 100 })), {}, nil
  repeat
    local rows, more = assert(decisions.list(m.id, { limit = 1, after = after }))
    for _, row in ipairs(rows) do seen[#seen + 1] = row.name end
    after = more
  until not after
  t.eq(#seen, #all)
  for i, row in ipairs(all) do t.eq(seen[i], row.name) end
  t.eq(table.concat(seen, " "), "access.wake access.create placement.place")
  t.eq(#assert(decisions.list(m.id, { limit = 100, kind = "access" })), 2)
end)

t.test("a refusal is kept in the account's log: what, why, which line, by what it was told", function()
  local no, err = instances.create(actor, { type = "small" })
  t.eq(no, nil); t.eq(err.code, "quota")
  local list = denied("user", ann.id)
  t.eq(#list, 1)
  local d = list[1]
  t.eq(d.what, "create"); t.eq(d.machine, nil); t.eq(d.reason, err.message); t.eq(d.by, ann.id); t.eq(d.left_out, nil)
  t.match(d.place, "^policies/access.lua:%d+$")
  t.eq(d.decision.name, "access.create"); t.eq(d.decision.verdict, "deny"); t.eq(d.decision.generation, 1)
  t.eq(d.decision.input.machines, 1); t.eq(d.decision.input.most, 1)
  local line = tonumber(d.place:match("%d+$"))
  local n, text = 0, nil
  for l in (policy.live().sources["access.lua"] .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if n == line then text = l end
  end
  t.match(text, "all that you may have; delete one first")
end)

t.test("who hammers has one entry a minute, and the next one counts what was left out", function()
  for _ = 1, 20 do instances.create(actor, { type = "small" }) end
  t.eq(#denied("user", ann.id), 1)
  time.advance(60000)
  instances.create(actor, { type = "small" })
  local list = denied("user", ann.id)
  t.eq(#list, 2); t.eq(list[2].left_out, 20)
  -- another reason is another matter
  assert(instances.move(actor, m.id, "stop"))
  local other = moved.made({ admin = true, user = ann.id }, { type = "small", hours = 10 })
  assert(instances.move({ admin = true }, other.id, "stop"))
  time.advance(11 * 3600000)
  local no, err = instances.move(actor, other.id, "start")
  t.eq(no, nil); t.match(err.message, "extend it first")
  list = denied("user", ann.id)
  t.eq(#list, 3); t.eq(list[3].what, "start"); t.eq(list[3].machine, other.id); t.eq(list[3].decision.name, "expiry.decide")
  t.eq(list[3].reason, list[3].decision.reason); t.eq(list[3].left_out, nil)
end)

t.test("the last of those left out is told of when the minute is over, though nobody asks again", function()
  denials.serve()
  for _ = 1, 3 do instances.create(actor, { type = "large" }) end
  local before = #denied("user", ann.id)
  time.advance(61000)
  t.wait_until(function() return #denied("user", ann.id) == before + 1 end, "the rest")
  local list = denied("user", ann.id)
  t.eq(list[#list].left_out, 1) -- three: one told at once, this one, and one between
  time.advance(200000)
  t.eq(#denied("user", ann.id), before + 1)
  denials.finish()
end)

-- Bug: finish cancelled what was just being written: it was lost, and the task never ended.
t.test("an end while the rest is being written loses nothing", function()
  denials.serve()
  for _ = 1, 3 do instances.create(actor, { type = "large" }) end
  local before, real, held = #denied("user", ann.id), store.update, false
  store.update = function(fn)
    held = true
    for _ = 1, 20 do task.sleep(0) end
    return real(fn)
  end
  time.advance(66000)
  t.wait_until(function() return held end, "an entry that is being written")
  denials.finish()
  store.update = real
  t.eq(#denied("user", ann.id), before + 1)
end)

t.test("reasons that are ever new do not fill the log either", function()
  local bob = moved.account("bob", "free")
  local before = store.stats().log_seq
  for i = 1, 200 do
    local err = denials.mark(errors.new("denied", "x"), "start", { id = "x", owner = bob.id },
      { { name = "access.wake", kind = "access", verdict = "deny", reason = "no " .. i, generation = 1 } })
    denials.note(err, bob.id)
  end
  t.eq(#denied("user", bob.id), 11)
  t.eq(store.stats().log_seq - before, 11)
  denials.note(errors.new("denied", "not by a policy"), bob.id)
  denials.finish()
  local list = denied("user", bob.id)
  t.eq(#list, 12); t.eq(list[12].left_out, 188)
end)

t.test("leases: granted at the machine, refused in the log", function()
  assert(instances.move(actor, m.id, "start"))
  assert(leases.take(actor, m.id, { reason = "make", ttl = 90000 }))
  local d, row = explained(m.id, "idle.lease")
  t.eq(row.kind, "lease"); t.eq(row.event, "lease_taken"); t.eq(row.verdict, 4 * 3600)
  t.eq(d.note, nil); t.eq(d.inputs.ttl, 90000); t.eq(d.inputs.reason, "make"); t.eq(d.file, "idle.lua")
  t.match(d.text, "^would have been granted for another time with ")
  local hold = store.get("lease_hold", m.id)
  assert(store.update(function(tx)
    hold.since = time.rfc3339(time.now() - 25 * 3600000)
    tx:put("lease_hold", m.id, hold, ann.id)
    return true
  end))
  local no, err = leases.take(actor, m.id, { reason = "more", ttl = 60 })
  t.eq(no, nil); t.eq(err.code, "denied")
  local list = denied("user", ann.id)
  d = list[#list]
  t.eq(d.what, "lease"); t.eq(d.machine, m.id); t.eq(d.decision.name, "idle.lease"); t.eq(d.decision.input.reason, "more")
  t.match(d.place, "^policies/idle.lua:%d+$")
end)

t.test("who may not sign up stands in the operator's log, without his address", function()
  sessions.signup = "closed"
  t.eq(sessions.invited("eve@example.org"), false)
  t.wait_until(function() return #denied("policy", "denied") == 1 end, "kept")
  t.eq(sessions.invited("mallory@example.org"), false)
  t.eq(sessions.invited(ann.email), true)
  local d = denied("policy", "denied")[1]
  t.eq(d.what, "signup"); t.eq(d.by, "nobody"); t.eq(d.decision.input.domain, "example.org"); t.eq(d.decision.input.email, "")
  t.match(d.place, "^policies/access.lua:%d+$"); t.match(d.reason, "no new accounts")
  t.eq(json.encode(d):find("eve", 1, true), nil)
  t.eq(#denied("policy", "denied"), 1)
  sessions.signup = "open"
end)

denials.finish()
moved.finish()
return t.done()
