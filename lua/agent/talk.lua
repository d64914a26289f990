-- One chat: a project's folder, the process of Claude Code that is at work in it, and who watches.
--
--   local t = talk.of(path)                the one of that folder, beneath the root
--   t:message(content, viewer, session)    begins a turn; session: nil goes on with the last one, "new", or an id to resume
--       -> true | nil, sentence            one turn at a time
--   t:abort()                              ends the turn: Claude Code is asked, then its process is told, then killed
--   t:watch(viewer, turn, n)               a viewer joins; he is told of the newest turn what he has not seen yet
--   t:leave(viewer)
--   talk.save() -> list of plain values    the newest turns, for an agent that takes this one's place
--   talk.restore(list)                     before any other
--
-- One process for each chat, begun by a message and kept for a while after its turn (CLAUDE_KEEP_SECONDS, 60), so that a
-- conversation need not load anew; it ends by the end of its input. Whatever becomes of it, the session goes on by its id, which
-- is kept on disk. A turn goes on when nobody watches. It is hung when it says nothing for CLAUDE_SILENCE_SECONDS (900: a tool
-- may be quiet for ten minutes); then it is ended, and the next message goes on.
--
-- Every message of a turn has `turn` and `n`, so that who was away can say what he has.

local audience = require "agent.audience"
local claude = require "agent.claude"
local files = require "files"
local json = require "json"
local lease = require "lease"
local paths = require "agent.paths"
local process = require "process"
local resumes = require "agent.resumes"
local stream_json = require "agent.stream_json"
local sys = require "sys"
local task = require "task"
local time = require "time"
local utf8 = require "utf8"

local M = {}

local MOST_TALKS, MOST_TOLD, MOST_BYTES = 20, 2000, 2 * 1048576 -- talks: beside those that somebody watches, or that are at work
local MOST_SAVED = 32 * 1048576 -- bytes of all turns that are handed over

local function seconds(name, default)
  local n = tonumber(sys.env(name) or "")
  return n and n >= 0.05 and n <= 86400 and n or default
end

local SILENCE, KEEP = seconds("CLAUDE_SILENCE_SECONDS", 900), seconds("CLAUDE_KEEP_SECONDS", 60)
local GRACE = seconds("CLAUDE_GRACE_SECONDS", 5)

local AGAIN = "Say it again: the conversation goes on."

local Talk = {}
Talk.__index = Talk

-- ---- that the machine is busy, while any turn goes on

local turns, stop = 0, task.signal()

local function keep_busy()
  while turns > 0 do
    lease.hold("claude-turn", "Claude is working", 120)
    stop:wait(40)
  end
  lease.release "claude-turn"
end

local function count_turn(by)
  turns = turns + by
  if turns == 1 and by == 1 then task.spawn(keep_busy) end
  if turns == 0 then stop:fire() end
end

-- ---- what is told

-- Of the newest turn as much is kept as is kept of anything: its end counts more than its beginning.
local function remember(turn, text)
  turn.told[turn.n], turn.bytes = text, turn.bytes + #text
  while turn.n - turn.first >= MOST_TOLD or turn.bytes > MOST_BYTES and turn.first < turn.n do
    turn.bytes = turn.bytes - #turn.told[turn.first]
    turn.told[turn.first], turn.first = nil, turn.first + 1
  end
end

function Talk:tell(message, but)
  local turn = self.newest
  turn.n = turn.n + 1
  message.turn, message.n = turn.id, turn.n
  local text = json.encode(message)
  remember(turn, text)
  self.audience:tell(text, but)
end

function Talk:watch(viewer, id, n)
  self.audience:join(viewer)
  local turn = self.newest
  local from = turn and math.max(turn.first, turn.id == id and (n or 0) + 1 or 1) or 1
  viewer:tell(json.encode {
    type = "state", cwd = self.cwd, working = self.turn ~= nil, session = self.session or json.null,
    turn = turn and turn.id or json.null, lost = turn and turn.first > 1 and from == turn.first and turn.first - 1 or 0,
  })
  for i = from, turn and turn.n or 0 do viewer:tell(turn.told[i]) end
end

function Talk:join(viewer) self.audience:join(viewer) end
function Talk:leave(viewer) self.audience:leave(viewer) end

-- ---- the process

-- What it is told goes through a task of its own: one that does not read must not hold up who listens to it.
local function drain(run)
  while run.outbox[1] and run.process:write(table.remove(run.outbox, 1)) do end
  run.outbox, run.writing = {}, false
end

local function write(run, text)
  run.outbox[#run.outbox + 1] = text
  if run.writing then return end
  run.writing = true
  task.spawn(drain, run)
end

local function argv(program, place, session)
  return {
    program, "-p", "--output-format", "stream-json", "--verbose", "--input-format", "stream-json", "--include-partial-messages",
    "--permission-mode=" .. claude.mode(), session and "--resume=" .. session or nil,
    dir = place, env = claude.environment(),
  }
end

local function failure(code, content) return { type = "error", content = content, code = code } end

-- -> run | nil, message
function Talk:start()
  local program = claude.find()
  if not program then return nil, failure("no_claude", claude.absent) end
  local credentials = claude.begin()
  local folder, err = files.open(self.path)
  if not folder then return nil, failure("failed", "cwd: " .. err.message) end
  local p
  p, err = process.spawn(argv(program, folder.place, self.session))
  folder:close()
  if not p then return nil, failure("failed", "Claude Code cannot be started: " .. err.message) end
  local run = { process = p, credentials = credentials, mapper = stream_json.mapper(), outbox = {} }
  run.mapper.session = self.session
  return run
end

-- Until it is gone: by the end of its input, unless it is to hurry, then by what nothing survives.
local function finish(run, hurry)
  local p = run.process
  if not hurry then
    p:close_input()
    if p:wait(GRACE) then return end
  end
  for _, signal in ipairs { "INT", "TERM", "KILL" } do
    p:kill(signal)
    if p:wait(GRACE) then return end
  end
end

-- One line of its output. -> the message that ends the turn, or nil
function Talk:take(run, line)
  local o = stream_json.object(line)
  if not o then return nil end
  local messages, answer = run.mapper:take(o)
  if answer then write(run, answer) end
  if run.mapper.session ~= self.session then
    self.session = run.mapper.session
    resumes.put(self.cwd, self.session)
  end
  local ending
  for _, message in ipairs(messages) do
    if message.type == "done" or message.type == "error" then
      ending = message
    else
      run.said = true
      self:tell(message)
    end
  end
  return ending
end

local function last_line(text) return json.text(text):match "([^\n]*)%s*$" end

-- It has ended in the middle of a turn.
local function crash(run)
  local exit = run.process:wait(GRACE)
  if not exit then finish(run, true) end
  local why = last_line(run.process:errors())
  if why:find("No conversation found", 1, true) then return failure("resume", why) end
  return failure("crashed", ("Claude Code ended before its turn was over (exit code %s)%s. %s"):format(exit or "?",
    why ~= "" and ": " .. utf8.cut(why, 500) or "", AGAIN))
end

-- Hears it until the turn is over. -> the message that ends it; whether the process lives on
function Talk:listen(run)
  while true do
    local line, err = run.process:line(SILENCE)
    if line then
      local ending = self:take(run, line)
      if ending then return ending, true end
    elseif err.code == "limit" then
      for _, message in ipairs(run.mapper.left_out()) do self:tell(message) end
    elseif err.code == "timeout" then
      finish(run, true)
      return failure("hung", ("Claude Code said nothing for %g s and was stopped. %s"):format(SILENCE, AGAIN))
    else
      return crash(run)
    end
  end
end

-- ---- between turns

function Talk:keep(run)
  while true do
    local line, err = run.process:line(KEEP)
    if line then
      local ending = self:take(run, line)
      if ending and ending.type == "error" then self:tell(ending) end
    elseif err.code ~= "limit" and not run.wanted then
      break
    end
    if run.wanted then return end -- a turn begins
  end
  self.run = nil -- it is nobody's any more: the next turn waits until it has gone
  finish(run)
end

-- The process that waits for the next turn, taken back from who keeps it; nil: there is none. One of another session, or with
-- credentials that are not those of now, goes first.
function Talk:resume(session)
  local keeper = self.keeper
  if not keeper then return nil end
  self.keeper = nil
  local run = self.run
  if run then
    run.wanted = true
    keeper:cancel "a turn"
  end
  keeper:join()
  if run then run.wanted = false end
  if not run or not session and claude.begin() == run.credentials then return run end
  self.run = nil
  finish(run)
end

-- ---- a turn

-- -> the message that ends it
function Talk:perform(content, session)
  local run = self:resume(session)
  if session then self.session = session ~= "new" and session or nil end
  for attempt = 1, 3 do
    local kept, why = run ~= nil, nil
    if not run then run, why = self:start() end
    if not run then return why end
    if self.turn.aborted then
      finish(run, true)
      return failure "interrupted"
    end
    self.run, run.said = run, false
    write(run, stream_json.user(content))
    local ending, lives = self:listen(run)
    if not lives then self.run = nil end
    local lost = ending.code == "resume" and self.session
    if run.said or self.turn.aborted or attempt == 3 or not (lost or kept and ending.code == "crashed") then return ending end
    -- the session is not there any more, or the process had gone between two turns: once more, from the start
    if lost then
      self.session = nil
      resumes.put(self.cwd, nil)
    end
    if self.run then finish(run) end
    run, self.run = nil, nil
  end
end

local hints = { auth = claude.not_signed_in }

local function told_as(ending, aborted)
  if aborted then return { type = "done", content = "", aborted = true } end
  if ending.type == "error" and hints[ending.code] then ending.content = ("%s. %s"):format(ending.content, hints[ending.code]) end
  return ending
end

local function run_turn(self, content, session)
  count_turn(1)
  local ok, ending = xpcall(self.perform, debug.traceback, self, content, session)
  count_turn(-1)
  if not ok then
    require("log").error("chat", "a turn failed", { error = tostring(ending) })
    ending = failure("failed", "the chat failed; say it again")
    self.run = nil
  end
  if ending.type == "done" or ending.code == "auth" then claude.told(ending.type == "done") end
  local aborted = self.turn.aborted
  self.turn = nil
  if self.run then self.keeper = task.spawn(self.keep, self, self.run) end
  self:tell(told_as(ending, aborted))
end

function Talk:message(content, viewer, session)
  if self.turn then return nil, "Claude is still at work: wait for the end of its turn, or abort it" end
  self.newest = { id = time.now(), n = 0, first = 1, told = {}, bytes = 0 }
  self.turn = { aborted = false }
  self:tell({ type = "message", content = content }, viewer)
  task.spawn(run_turn, self, content, session)
  return true
end

function Talk:abort()
  local turn, run = self.turn, self.run
  if not turn or turn.aborted then return end
  turn.aborted = true
  if not run then return end
  run.mapper.interrupted = true
  write(run, stream_json.interrupt("abort-" .. self.newest.id))
  task.spawn(function()
    for _, signal in ipairs { "INT", "TERM", "KILL" } do
      task.sleep(GRACE)
      if self.turn ~= turn then return end
      run.process:kill(signal)
    end
  end)
end

-- ---- all of them

local talks, n = {}, 0
local before = {} -- newest turns that another agent left, by path, until somebody asks for that chat

local function forget_one()
  for path, t in pairs(talks) do
    if not t.turn and not t.run and t.audience.n == 0 then
      talks[path], n = nil, n - 1
      return
    end
  end
end

-- Whether a turn goes on anywhere.
function M.at_work() return turns > 0 end

-- The processes that wait for a next turn end; their sessions go on by their ids. -> false: one is at work [yields]
function M.rest()
  local all = {}
  for _, t in pairs(talks) do all[#all + 1] = t end
  for _, t in ipairs(all) do
    if t.turn then return false end
    t:resume "rest"
  end
  return turns == 0
end

function M.of(path)
  local t = talks[path]
  if t then return t end
  if n >= MOST_TALKS then forget_one() end
  local cwd = paths.full(path)
  t = setmetatable({ path = path, cwd = cwd, session = resumes.get(cwd), audience = audience.new() }, Talk)
  if talks[path] then return talks[path] end -- made meanwhile
  talks[path], n = t, n + 1
  t.newest, before[path] = before[path], nil
  return t
end

-- ---- from one agent to the next

local function saved(path, turn)
  local told = {}
  for i = turn.first, turn.n do told[#told + 1] = turn.told[i] end
  return { path = path, id = turn.id, first = turn.first, told = told }
end

-- The newest first, as many as there is room for. A path that is no UTF-8 has no place in JSON.
function M.save()
  local all, out, bytes = {}, {}, 0
  for path, turn in pairs(before) do all[#all + 1] = { path, turn } end
  for path, t in pairs(talks) do
    if t.newest and json.text(path) == path then all[#all + 1] = { path, t.newest } end
  end
  table.sort(all, function(a, b) return a[2].id > b[2].id end)
  for i, one in ipairs(all) do
    bytes = bytes + one[2].bytes
    if bytes > MOST_SAVED then break end
    out[i] = saved(one[1], one[2])
  end
  return out
end

function M.restore(list)
  for _, one in ipairs(list) do
    local turn = { id = one.id, n = one.first - 1, first = one.first, told = {}, bytes = 0 }
    for _, text in ipairs(one.told) do
      turn.n, turn.bytes = turn.n + 1, turn.bytes + #text
      turn.told[turn.n] = text
    end
    before[one.path] = turn
  end
end

return M
