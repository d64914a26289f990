-- PUT /update: another build of the agent takes this one's place (host/agent/update.c), and no terminal, service or lease ends
-- by it. ?sha256= of the program, which is the body. 202: the change comes at once; GET /healthz tells the build that answers.
-- 409 busy, with Retry-After: something is under way that would be cut. 422: that program cannot go on from here.

local at_work = require "agent.at_work"
local errors = require "errors"
local json = require "json"
local log = require "log"
local machine = require "machine"
local query = require "query"
local services = require "agent.services"
local talk = require "agent.talk"
local task = require "task"
local update = require "update"

local MOST = 64 * 1048576
local PAUSE = 0.05 -- until the answer has gone

local under_way = false

local function busy()
  if talk.at_work() then return "Claude is at work in a chat" end
  if at_work.n > 0 then return "requests are being answered" end
  return update.busy()
end

local function refuse(why) return 409, { error = why .. ": later", code = "busy" }, { ["retry-after"] = "30" } end

local function saved() return json.encode { services = services.save(), talks = talk.save() } end

-- -> the program | nil, err
local function receive(req, want)
  local program, err = update.receive()
  if not program then return nil, err end
  while true do
    local bytes
    bytes, err = req:read(MOST)
    if not bytes then break end
    local ok
    ok, err = program:write(bytes)
    if not ok then break end
  end
  if not err and program:sha256() ~= want then
    err = errors.new("invalid", "the body is not what sha256 says", { status = 422 })
  end
  if not err then return program end
  program:close()
  return nil, err
end

local function change(program)
  task.sleep(PAUSE)
  local why, err, _ = busy(), nil, nil
  if not why then
    log.info("update", "another build takes this one's place")
    _, err = program:go(saved())
  end
  log.error("update", "this build goes on: the other could not take its place", { error = why or tostring(err) })
  program:close()
  update.leave(false)
  under_way = false
end

local function take(req)
  local want = query.value(req:query() or "", "sha256")
  if not want or not want:match "^%x+$" or #want ~= 64 then
    return errors.fail("invalid", "sha256: 64 hexadecimal digits expected")
  end
  local why = busy()
  if why then return refuse(why) end
  local program, err = receive(req, want:lower())
  if not program then return nil, err end
  local ok
  ok, err = program:check(saved())
  if not ok then
    program:close()
    return nil, errors.new("unsupported", err.message, { status = 422 })
  end
  update.leave(true)
  why = busy() or not talk.rest() and "Claude is at work in a chat"
  if why then
    update.leave(false)
    program:close()
    return refuse(why)
  end
  task.spawn(change, program)
  return 202, { status = "updating" }
end

local function put(req)
  if under_way then return refuse "another update is under way" end
  under_way = true
  local ok, status, body, headers = xpcall(take, debug.traceback, req)
  if not ok then
    update.leave(false)
    log.error("update", "an update failed", { error = status })
    status, body = nil, errors.new("internal", "the update failed")
  end
  if status ~= 202 then under_way = false end
  return status, body, headers
end

local before = machine.saved and json.decode(machine.saved)
talk.restore(before and before.talks or {}) -- agents of before did not tell them

return function(add) add("PUT", "/update", put, { light = true }) end
