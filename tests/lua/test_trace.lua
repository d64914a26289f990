-- Spans: what is recorded and for whom, what a slot holds, and that a process that dies leaves them to the next.
local t = require "t"
local fs = require "fs"
local http = require "http"
local json = require "json"
local process = require "process"
local sys = require "sys"
local task = require "task"
local trace = require "trace"

local CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
local OP = "96a5aefe-2f07-4ced-a367-0cce9a424bec"

-- What is finished, by name, how many, and all; it counts as sent.
local function taken()
  local text, n = trace.take(4096)
  local out, list = {}, json.decode("[" .. text .. "]")
  t.eq(#list, n)
  for _, s in ipairs(list) do
    s.by = {}
    for _, a in ipairs(s.attributes) do s.by[a.key] = a.value.stringValue or tonumber(a.value.intValue) or a.value.boolValue end
    out[s.name] = s
  end
  trace.sent()
  return out, n, list
end

-- Runs fn in a task that carries the traceparent.
local function within(traceparent, fn)
  local ok, err = task.spawn(function()
    task.carry("trace", traceparent)
    fn()
    return true
  end):join()
  t.ok(ok, err and err.traceback)
end

t.test("nothing is recorded before there is a place for it", function()
  within(CLIENT, function()
    t.ok(not trace.recorded())
    t.eq(trace.begin("x"), nil)
    t.eq(trace.past("x", nil, 1, 2), nil)
  end)
  trace.failed "nobody hears"
  t.eq(trace.stats().dropped, 0)
  t.eq(select(2, trace.adopt "/nowhere").code, "state")
end)

local dir = t.tmpdir()
assert(trace.open(dir .. "/mine"))

t.test("spans are children of each other as they were begun, and say for whom", function()
  within(CLIENT, function()
    task.carry("user", "u1")
    task.carry("machine", "m1")
    task.carry("plan", "pro")
    local before = task.carried().trace
    local a = trace.begin("step", "create.make")
    a:set("text", "a \"b\"\n\1 ü \xff")
    a:set("number", 2 ^ 40)
    a:set("truth", false)
    a:set("nothing", nil)
    local b = trace.begin("GET", nil, "client")
    task.spawn(function() trace.begin("child"):finish() end):join()
    b:finish()
    trace.begin("second"):finish()
    a:finish()
    a:finish "it is over" -- and says nothing any more
    t.eq(task.carried().trace, before)
  end)
  local s, n = taken()
  t.eq(n, 4)
  local a, b = s["step create.make"], s.GET
  t.eq(a.traceId, "4bf92f3577b34da6a3ce929d0e0e4736")
  t.ok(#a.parentSpanId == 16 and a.parentSpanId ~= "00f067aa0ba902b7") -- the task's own, which is nobody's here
  t.eq(b.parentSpanId, a.spanId); t.eq(s.second.parentSpanId, a.spanId); t.eq(s.child.parentSpanId, b.spanId)
  t.eq(a.kind, 1); t.eq(b.kind, 3); t.eq(a.status, nil); t.eq(a.events, nil)
  t.eq(a.by.user_id, "u1"); t.eq(a.by.instance_id, "m1"); t.eq(a.by.plan, "pro"); t.eq(s.child.by.user_id, "u1")
  t.eq(a.by.text, 'a "b"\n\1 ?? ?'); t.eq(a.by.number, 2 ^ 40); t.eq(a.by.truth, false); t.eq(a.by.nothing, nil)
end)

t.test("who chooses the traces: the client, their ids, or nobody", function()
  local function recorded(traceparent)
    local got
    within(traceparent, function() got = trace.recorded() end)
    return got
  end
  local off = CLIENT:gsub("01$", "00")
  t.ok(recorded(CLIENT)); t.ok(not recorded(off)); t.ok(not recorded(nil)) -- as it is until it is said
  trace.sampler(1, true)
  t.ok(recorded(CLIENT)); t.ok(not recorded(off)); t.ok(recorded(nil)); t.ok(recorded "no traceparent")
  trace.sampler(0, false)
  t.ok(not recorded(CLIENT)); t.ok(not recorded(nil))
  trace.sampler(1, false)
  t.ok(recorded(off))
  trace.sampler(0.25, true)
  local n = 0
  for _ = 1, 4000 do n = n + (recorded(nil) and 1 or 0) end
  t.ok(n > 800 and n < 1200, n) -- 1000 +- 7 sigma
  trace.sampler(1, true)
end)

t.test("an operation is one span, whoever tells of it, and what it does is below", function()
  for _, parent in ipairs { CLIENT, false } do
    within(nil, function()
      trace.detach(OP, parent or nil)
      trace.begin("step"):finish()
    end)
    within(nil, function()
      trace.detach(OP, parent or nil)
      trace.past("operation", "create", 1000, 3500):finish { code = "timeout", message = "too late" }
    end)
    local s = taken()
    local op = s["operation create"]
    t.eq(op.spanId, "a3670cce9a424bec"); t.eq(s.step.parentSpanId, op.spanId); t.eq(s.step.traceId, op.traceId)
    t.eq(op.traceId, parent and CLIENT:sub(4, 35) or (OP:gsub("-", "")))
    t.eq(op.parentSpanId, parent and CLIENT:sub(37, 52) or nil)
    t.eq(op.startTimeUnixNano, "1000000000"); t.eq(op.endTimeUnixNano, "3500000000")
    t.eq(op.status.code, 2); t.eq(op.status.message, "too late"); t.eq(op.by["error.type"], "timeout")
  end
  within(nil, function() t.raises(function() trace.detach "96a5aefe" end, "UUID") end)
end)

t.test("failures: what raised has its traceback, what was given up says so, the first reason stays", function()
  within(CLIENT, function()
    local _, err = pcall(error, "boom")
    local s = trace.begin "raised"
    s:finish { code = "internal", message = "it failed", traceback = err .. "\nstack traceback:\n\tin function x" }
    task.spawn(function() trace.begin "left" end):join()
    trace.begin("text"):finish "because"
    local open = trace.begin "open"
    trace.failed("first", "line one\nline two")
    trace.failed "second"
    open:finish()
  end)
  collectgarbage()
  collectgarbage()
  local s = taken()
  t.eq(s.raised.status.message, "boom"); t.eq(s.raised.by["error.type"], "internal")
  local e = s.raised.events[1]
  t.eq(e.name, "exception"); t.eq(e.attributes[2].value.stringValue, "boom")
  t.match(e.attributes[3].value.stringValue, "^boom\nstack traceback:")
  t.eq(s.left.status.message, "given up"); t.eq(s.text.status.message, "because"); t.eq(s.open.status.message, "line one")
end)

t.test("requests: who asks and who answers are one trace; a handler that raises says so, an address is a host's", function()
  local server = assert(http.serve {
    host = "127.0.0.1", port = 0, handler = function(req)
      req:of(http.route("GET", "/things/{id}"), "u1", "m1", "pro")
      if req:path() == "/things/bad" then error "boom" end
      trace.begin("inside"):finish()
      req:reply(200, req:header "traceparent" or "none")
    end,
  })
  local _, port = server:addr()
  local function url(path) return ("http://user:pass@127.0.0.1:%d%s?key=secret"):format(port, path) end
  local told
  within(CLIENT, function()
    told = http.request { url = url "/things/1", traced = true }.body
    t.eq(http.request { url = url "/things/2" }.body, "none") -- only whom is ours is told
  end)
  t.ok(server:drain(5))
  local s, n, all = taken()
  t.eq(n, 6)
  t.eq(s["GET /things/{id}"].kind, 2); t.eq(s.GET.kind, 3)
  local by, below = {}, {}
  for _, x in ipairs(all) do by[x.spanId] = x end
  for _, x in ipairs(all) do
    local parent = by[x.parentSpanId]
    below[x.name .. " below " .. (parent and parent.name or "none")] = true
  end
  t.ok(below["GET /things/{id} below GET"], below); t.ok(below["inside below GET /things/{id}"], below)
  t.match(told, "^00%-4bf92f3577b34da6a3ce929d0e0e4736%-%x+%-01$")
  t.eq(s.GET.by["server.address"], "127.0.0.1"); t.eq(s.GET.by["server.port"], port)
  t.eq(s.GET.by["http.response.status_code"], 200)
  for _, x in pairs(s) do t.ok(not json.encode(x):find "secret" and not json.encode(x):find "pass") end
  t.eq(s["GET /things/{id}"].by.plan, "pro"); t.eq(s["GET /things/{id}"].by.user_id, "u1")

  server = assert(http.serve {
    host = "127.0.0.1", port = 0, handler = function() error "boom" end,
  })
  _, port = server:addr()
  within(CLIENT, function()
    t.eq(http.request { url = url "/", traced = true }.status, 500)
    local answer, err = http.request { url = "http://127.0.0.1:1/", traced = true }
    t.eq(answer, nil); t.eq(err.code, "unavailable")
  end)
  t.ok(server:drain(5))
  local text = trace.take(100)
  trace.sent()
  local list = json.decode("[" .. text .. "]")
  t.eq(#list, 3)
  local asked, answered, failed
  for _, x in ipairs(list) do
    if x.kind == 2 then answered = x elseif x.status.message == "500" then asked = x else failed = x end
  end
  t.eq(answered.parentSpanId, asked.spanId); t.eq(answered.status.code, 2); t.match(answered.status.message, "boom$")
  t.match(answered.events[1].attributes[3].value.stringValue, "stack traceback")
  t.eq(failed.status.code, 2)
end)

t.test("a slot holds so much: what is too long is cut between characters, what finds no room is counted", function()
  within(CLIENT, function()
    local s = trace.begin("n", ("x"):rep(200))
    s:set("cut", ("ü"):rep(200))
    for i = 1, 60 do s:set("key" .. i, ("v"):rep(100)) end
    s:finish { code = "internal", message = "m", traceback = ("ü"):rep(5000) }
  end)
  local s = taken()
  local name = "n " .. ("x"):rep(77)
  t.ok(s[name]); t.eq(s[name].by.cut, ("ü"):rep(128)); t.eq(s[name].by.key1, ("v"):rep(100)); t.eq(s[name].by.key60, nil)
  t.ok(s[name].droppedAttributesCount > 40)
  within(CLIENT, function() trace.begin("t"):finish { code = "internal", message = "m", traceback = ("ü"):rep(5000) } end)
  local stack = taken().t.events[1].attributes[3].value.stringValue
  t.ok(#stack > 1000 and #stack < 1700); t.eq(#stack % 2, 0)
end)

t.test("there are so many slots; what finds none is dropped, and they come back when they were sent", function()
  local before = trace.stats()
  within(CLIENT, function()
    for _ = 1, 5000 do
      local s = trace.begin "one"
      if s then s:finish() end
    end
  end)
  local st = trace.stats()
  t.eq(st.finished, 4096); t.eq(st.dropped - before.dropped, 5000 - 4096); t.eq(st.open, 0)
  local first, n = trace.take(512)
  t.eq(n, 512)
  local again, m = trace.take(512)
  t.eq(m, 512); t.eq(again, first) -- the same until it is said what became of them
  trace.sent(12)
  st = trace.stats()
  t.eq(st.refused - before.refused, 12); t.eq(st.sent - before.sent, 500); t.eq(st.finished, 4096 - 512)
  trace.take(100)
  trace.lost()
  t.eq(trace.stats().dropped - before.dropped, 5000 - 4096 + 100)
  t.eq(select(2, taken()), 4096 - 612)
end)

t.test("who waits is told when there are enough, or when the time is over", function()
  local done
  local waiter = task.spawn(function() done = trace.wait(60, 3) end)
  within(CLIENT, function()
    for i = 1, 3 do
      task.sleep(0.001)
      t.eq(done, nil, i)
      trace.begin("w"):finish()
    end
  end)
  waiter:join()
  t.eq(done, true)
  t.eq(trace.wait(60, 3), true) -- there are, already
  taken()
  t.eq(trace.wait(0.01, 3), true)
  local given_up = task.spawn(trace.wait, 60, 3)
  task.sleep(0.001)
  given_up:cancel()
  t.eq(select(2, given_up:join()).code, "cancelled")
end)

-- A process that records two spans, begins a third, and is killed. Of three operations one is forgotten, and one told of already.
local function killed(file)
  local script = t.tmpdir() .. "/dies.lua"
  fs.write(script, ([[
    local task, trace, sys = require "task", require "trace", require "sys"
    trace.sampler(1, true)
    assert(trace.open(%q))
    task.carry("trace", %q)
    trace.begin("first"):finish()
    trace.begin("second"):finish "why"
    local open = trace.begin "third"
    local ids = {}
    for i, last in ipairs { "c", "d", "e" } do ids[i] = "96a5aefe-2f07-4ced-a367-0cce9a424be" .. last end
    local notes = {}
    for i, id in ipairs(ids) do
      task.spawn(function()
        trace.detach(id)
        notes[i] = trace.note(id)
        if i == 2 then trace.past("told", nil, 1, 2):finish() end
        if i == 3 then notes[i]:forget() end
      end):join()
    end
    sys.stdout "begun\n"
    task.sleep(600)
    open:finish()
  ]]):format(file, CLIENT))
  local p = assert(process.spawn { sys.env "CCHOST", script })
  t.eq(p:line(30), "begun")
  return p
end

t.test("a process that dies leaves its spans to the next, what it was at as cut off; one that lives does not", function()
  local file = dir .. "/another"
  local p = killed(file)
  t.eq(select(2, trace.adopt(file)).code, "exists")
  p:kill "KILL"
  p:wait(30)
  local n, notes = trace.adopt(file)
  t.eq(n, 4); t.eq(#notes, 1); t.eq(notes[1], OP)
  t.eq(fs.stat(file), nil)
  local s = taken()
  t.eq(s.first.status, nil); t.eq(s.second.status.message, "why"); t.eq(s.third.status.message, "cut off: the process ended")
  t.ok(s.third.endTimeUnixNano >= s.third.startTimeUnixNano); t.eq(s.third.parentSpanId, s.first.parentSpanId)
end)

t.test("a file that is no longer what it was gives what is sound in it", function()
  for what, bytes in pairs { empty = "", short = "ccspan1\n", other = ("x"):rep(4097 * 2048) } do
    fs.write(dir .. "/" .. what, bytes)
    t.eq(trace.adopt(dir .. "/" .. what), 0, what)
    t.eq(fs.stat(dir .. "/" .. what), nil)
  end
  local file = dir .. "/spoilt"
  local p = killed(file)
  p:kill "KILL"
  p:wait(30)
  local text = assert(fs.read(file, 16 * 2 ^ 20))
  local used = 2048 + 64 -- of the first slot: how much of it is used
  fs.write(file, text:sub(1, used) .. ("\255"):rep(4) .. text:sub(used + 5))
  t.eq(trace.adopt(file), 3)
  t.eq(taken().first, nil)
end)

t.test("at the end the file goes when all was sent", function()
  t.ok(fs.stat(dir .. "/mine"))
  trace.close()
  t.eq(fs.stat(dir .. "/mine"), nil)
  within(CLIENT, function() t.eq(trace.begin "x", nil) end)
end)

return t.done()
