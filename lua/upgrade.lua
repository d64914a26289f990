-- Another build of this program takes the place of this one, and nobody who speaks with us is dropped.
--
-- The new process is our child. It has the lock of who serves and our listening sockets, opens the store beside us, compiles the
-- policies, opens the providers, and only then says that it is prepared; until then nothing has changed. Then our duties rest
-- (task.hold; a long one has places to rest at: task.sleep(0)), what they keep in memory is written, our workflows end after the
-- try that is under way, and one commit says whose the store is now. The new one listens on the same sockets and says that it is
-- ready. Requests that are under way end with us; streams and terminals are told to come again, and come to it. A child that
-- fails, says nothing in time, or is of an older schema is ended, and everything here goes on.
--
-- Child and parent speak in lines, its standard output and input: {"at":"migrates"}, {"at":"prepared"}, {"at":"ready"},
-- {"at":"failed","error":TEXT}, each with what it is; "go" and "work" (there may be some) the other way. Where records must be
-- brought up to date first, we stop answering before "go", as we cannot read them afterwards: callers wait meanwhile.
--
--   upgrade.run(it) -> "done" | "abandoned" | "lost"      [yields] it is what serve gives: {settings, server, listen = fn(fds)},
--                      whose server is another when the first had to stop. "lost": neither of the two can serve
--   upgrade.stop(it)     this process shall end: whoever takes its place ends with it
--   upgrade.parent() -> parent | nil       the new one's side of it (commands/serve.lua)
--   upgrade.begin()      [yields] of a process that takes nobody's place: an upgrade that its end cut short is on record so
--   upgrade_wish.lua: who asks for one

local canary = require "policy.canary"
local cli = require "cli"
local denials = require "policy.denials"
local errors = require "errors"
local events = require "events"
local idle = require "idle"
local json = require "json"
local log = require "log"
local migrations = require "migrations"
local process = require "process"
local runner = require "runner"
local samples = require "policy.samples"
local service = require "service"
local store = require "store"
local sys = require "sys"
local task = require "task"
local time = require "time"
local tty = require "tty"
local utf8 = require "utf8"
local wishes = require "upgrade_wish"
local workflow = require "workflow"

local M = {}

local REST = 60     -- seconds until our duties rest
local REST_TOLD = 3 -- until what does not is told
local NOTIFY = 5    -- in which systemd takes a word

-- What another program said, or an error, as it can be kept and shown.
local function text_of(x)
  local text = type(x) == "table" and x.message or x
  text = type(text) == "string" and text or "something that is no text"
  if not utf8.valid(text) then text = text:gsub("[\128-\255]", "?") end
  return utf8.cut(text:gsub("%c", " "), 500)
end

-- ---- what is on record

-- state: preparing, handed (the store is the new one's), done, abandoned; last: the record of the one before
local function record(change, entry)
  local ok, err = store.update(function(tx)
    local now = tx:get("server", "upgrade") or {}
    change(now)
    tx:put("server", "upgrade", now)
    if entry then
      tx:log("server", "upgrade", entry, { from = now.from, to = now.to, error = now.error, id = now.id }, "operator")
    end
    return true
  end)
  if not ok then log.error("upgrade", "it cannot be recorded", { error = tostring(err) }) end
  return ok, err
end

function M.state() return store.get("server", "upgrade") end

-- ---- the new process, seen by the old one

local Child = {}
Child.__index = Child

local function start(wish, server, seconds)
  local sockets, err = server:copy_fds()
  if not sockets then return nil, err end
  local argv, env = service.arguments(), sys.environ()
  local name, value = service.env(#sockets)
  argv[1], env[name], argv.env = wish.program, value, env
  argv.stderr, argv.fds = "inherit", { store.serve_fd(), unpack(sockets) }
  local p
  p, err = process.spawn(argv)
  if not p then
    for _, fd in ipairs(sockets) do service.close(fd) end
    return nil, err
  end
  return setmetatable({ p = p, sockets = sockets, seconds = seconds }, Child)
end

-- A message of cchost's, by the process that was started. -> message | nil, err
function Child:checked(message)
  if message.pid ~= self.p:pid() then
    return errors.fail("invalid", ("what answers is the process %s, and not %d, which was started: a script must exec it")
      :format(text_of(tostring(message.pid)), self.p:pid()))
  elseif type(message.token) ~= "string" or type(message.version) ~= "string" then
    return errors.fail("invalid", "the new process is none of cchost's: it does not say who it is")
  end
  return message
end

-- The next thing that it says. -> message | nil, err
function Child:hear()
  local line, err = self.p:line(self.seconds)
  if not line and err.code == "timeout" then
    return errors.fail("timeout", ("the new process said nothing for %d s"):format(self.seconds))
  elseif not line then
    local code = self.p:wait(5)
    if not code then return errors.fail("unavailable", "the new process closed its output, and had said nothing") end
    return errors.fail("unavailable", ("the new process ended with code %d; its log says why"):format(code))
  end
  local ok, message = pcall(json.decode, line)
  if not ok or type(message) ~= "table" or not message.at then
    return errors.fail("invalid", ('the new process is none of cchost\'s: it said "%s"'):format(text_of(line:sub(1, 60))))
  end
  if message.at == "failed" then return errors.fail("unavailable", text_of(message.error)) end
  return self:checked(message)
end

function Child:say(word) return self.p:write(word .. "\n") end

function Child:close_sockets()
  for _, fd in ipairs(self.sockets) do service.close(fd) end
  self.sockets = {}
end

function Child:finish()
  self.p:kill("KILL")
  self.p:wait(5)
  self:close_sockets()
end

-- ---- the hand-over

-- -> true | nil, err: they are at something that does not end
local function rest(it)
  task.hold()
  local ends, tell = time.mono() + REST * 1000, time.mono() + REST_TOLD * 1000
  while true do
    local n, at = task.duties()
    if n == 0 then return true end
    if it.ending then return errors.fail("cancelled", "the server ends") end
    if time.mono() > tell then
      log.warn("upgrade", "what the server does by itself does not rest yet", { duties = n, traceback = at })
      tell = math.huge
    end
    if time.mono() > ends then
      return errors.fail("timeout", ("what the server does by itself did not rest within %d s"):format(REST))
    end
    local ok, err = task.sleep(0.01)
    if not ok then return nil, err end
  end
end

local function save()
  idle.finish()
  samples.save()
  canary.save()
  denials.finish()
end

-- Records that the store is the new one's, and tells it. -> true | nil, err: it is not ready
local function hand(it, child, message)
  if message.at == "migrates" then
    child.drained = true
    events.finish()
    it.server:drain(it.settings.DRAIN_SECONDS, true)
    runner.finish(it.settings.DRAIN_SECONDS)
  end
  local ok, err = record(function(now)
    now.state, now.to, now.handed_at = "handed", { version = message.version, pid = message.pid, token = message.token },
      time.rfc3339(time.now())
  end)
  if not ok then return nil, err end
  ok, err = child:say("go")
  if not ok then return nil, err end
  message, err = child:hear()
  if message and message.at == "ready" then return true end
  return nil, err or errors.new("invalid", "the new process is none of cchost's: it was told to serve, and did not")
end

-- fn() that tells the new one of work, whoever calls it and however many at once: it never waits, and words are not doubled.
local function teller(child)
  local telling, more = false, false
  return function()
    more = true
    if telling then return end
    telling = true
    task.work(function()
      while more do
        more = false
        child:say("work")
      end
      telling = false
    end)
  end
end

-- Who is not told takes our end for the service's, and ends the new process with it.
local function tell_systemd(pid)
  if not sys.env("NOTIFY_SOCKET") then return end
  local ends = time.mono() + NOTIFY * 1000
  while not service.notify(("MAINPID=%d"):format(pid)) do
    if time.mono() > ends or not task.sleep(0.1) then
      log.error("upgrade", "the service's manager could not be told which process serves now", { pid = pid })
      return
    end
  end
end

-- It serves. What is under way here ends here; what that begins is the new one's to do.
local function let_go(it, child, to)
  tell_systemd(to.pid)
  it.server:leave_files()
  child:close_sockets()
  workflow.me = to.token
  local tell_work = teller(child)
  runner.leave(tell_work)
  events.finish()
  local ends = time.mono() + it.settings.DRAIN_SECONDS * 1000
  task.spawn(function()
    runner.finish(it.settings.DRAIN_SECONDS)
    runner.give_up_lock()
    tell_work()
  end)
  local drained, err = it.server:drain(it.settings.DRAIN_SECONDS, true)
  if not drained then
    log.warn("upgrade", "requests were cut", { error = tostring(err) })
    it.server:close()
  end
  runner.finish(math.max(0, (ends - time.mono()) / 1000))
end

-- Everything as it was. -> true | nil, err: it cannot be
local function take_back(it, child)
  child.p:kill("KILL")
  child.p:wait(5)
  local schema = store.get("meta", "schema")
  if schema and schema.version ~= migrations.latest() then
    child:close_sockets()
    return errors.fail("unsupported", "the new process has brought the records up to date, so this one cannot go on")
  end
  if child.drained then
    local server, err = it.listen(child.sockets)
    if not server then return nil, err end
    it.server, child.sockets = server, {}
    events.resume()
  end
  child:close_sockets()
  store.serve_note()
  runner.stay()
  task.release()
  if child.saved then task.duty(denials.serve) end
  runner.resume()
  return true
end

-- All until it serves. -> true | nil, err
local function hand_over(it, child)
  local message, err = child:hear()
  if not message then return nil, err end
  if message.at ~= "prepared" and message.at ~= "migrates" then
    return errors.fail("invalid", "the new process is none of cchost's: it is not prepared")
  end
  child.is = message
  local began = time.mono()
  log.info("upgrade", "the new process is prepared", { at = message.at, pid = message.pid, version = message.version })
  local ok
  ok, err = rest(it) -- workflows go on meanwhile
  if not ok then return nil, err end
  runner.stop()
  log.info("upgrade", "what goes on by itself rests", { ms = math.floor(time.mono() - began + 0.5) })
  child.saved = true
  save()
  return hand(it, child, message)
end

-- -> "done" | "abandoned", err | "lost", err
local function attempt(it, wish)
  if it.ending then -- since it began: there was no child yet that could be told
    return "abandoned", errors.new("cancelled", "the server was told to end")
  end
  local child, err = start(wish, it.server, it.settings.UPGRADE_SECONDS)
  if not child then return "abandoned", err end
  it.child = child
  local ok, ready, why = xpcall(hand_over, debug.traceback, it, child)
  if ok and ready then
    child.serves = true
    child.p:leave() -- whatever becomes of us from here on
    log.info("upgrade", "the new process serves; what is under way here ends here", { pid = child.is.pid })
    ok, why = xpcall(let_go, debug.traceback, it, child, child.is)
    if not ok then log.error("upgrade", "what was under way was cut", { traceback = why }) end
    return "done"
  end
  if not ok then
    log.error("upgrade", "it raised", { traceback = ready })
    why = errors.new("internal", "a fault of cchost, which the log tells")
  end
  it.child = nil
  if it.ending then why = errors.new("cancelled", "the server was told to end") end
  local back, lost = take_back(it, child)
  if not back then return "lost", lost end
  return "abandoned", why
end

function M.run(it)
  local wish = wishes.take(it.settings)
  local from = { version = cli.version, pid = sys.pid() }
  log.info("upgrade", "a new process is started", { program = wish.program })
  record(function(now)
    local last = {}
    for name, value in pairs(now) do now[name], last[name] = nil, value end
    last.last = nil
    now.last = next(last) and last
    now.id, now.state, now.program, now.from, now.started_at = wish.id, "preparing", wish.program, from, time.rfc3339(time.now())
  end)
  local state, err = attempt(it, wish)
  if state == "done" then return state end
  log.error("upgrade", state == "lost" and "neither process can serve" or "given up; this process serves on",
    { program = wish.program, error = text_of(err) })
  record(function(now)
    now.state, now.error, now.ended_at = "abandoned", text_of(err), time.rfc3339(time.now())
  end, "upgrade_abandoned")
  return state
end

-- One that serves ends by itself; before that it may not even begin to.
function M.stop(it)
  it.ending = true
  if it.child then it.child.p:kill(it.child.serves and "TERM" or "KILL") end
end

function M.begin()
  local is = M.state()
  if not is or is.state == "done" or is.state == "abandoned" then return end
  record(function(now)
    now.state, now.error, now.ended_at = "abandoned", "the server ended meanwhile", time.rfc3339(time.now())
  end, "upgrade_abandoned")
end

-- ---- the new process, seen by itself

local Parent = {}
Parent.__index = Parent

local input = ""

-- -> the next line | nil: the parent has ended
local function read_line()
  while not input:find("\n", 1, true) do
    local more = tty.read()
    if not more or more == "" then return nil end
    input = input .. more
  end
  local line
  line, input = input:match("^([^\n]*)\n(.*)$")
  return line
end

-- What this process is told, when it takes the place of another. -> parent | nil
function M.parent()
  local given = service.inherited()
  return given and setmetatable(given, Parent)
end

local function tell(message)
  message.version, message.pid, message.token = cli.version, sys.pid(), workflow.me
  sys.stdout(json.encode(message) .. "\n")
end

function Parent:failed(text) tell { at = "failed", error = text } end

-- Tells what we are at, and waits until the store is ours; once. -> true | nil, err: there is no parent any more
function Parent:wait(at)
  if self.gone then return true end
  tell { at = at }
  if read_line() ~= "go" then return errors.fail("cancelled", "the process that serves did not hand over") end
  self.gone = true
  return true
end

-- We serve. on_work is called whenever it has left something to do.
function Parent:ready(on_work)
  store.serve_note()
  record(function(now) now.state, now.ended_at = "done", time.rfc3339(time.now()) end, "upgraded")
  tell { at = "ready" }
  task.spawn(function()
    while read_line() do on_work() end
    on_work() -- it has ended
  end)
end

return M
