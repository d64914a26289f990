-- Routes of Claude: the chat, what Claude Code has kept of a project's sessions, and whether it is signed in.
--
-- GET /chat?cwd=&turn=&n=   WebSocket. From the client {"type":"message","content":TEXT,"cwd":FOLDER,"session":"new"|ID} and
-- {"type":"abort"}; docs/chat.md has what comes back. With `cwd` in the address a client watches that chat from the start; what
-- is no folder there ends it with 1008 and the reason, as a browser shows its page no status.

local claude = require "agent.claude"
local audience = require "agent.audience"
local errors = require "errors"
local files = require "files"
local fs = require "fs"
local json = require "json"
local machine = require "machine"
local paths = require "agent.paths"
local query = require "query"
local resumes = require "agent.resumes"
local sys = require "sys"
local talk = require "agent.talk"
local task = require "task"
local transcripts = require "agent.transcripts"

local MOST_TEXT, MOST_MESSAGE = 262144, 1048576
local EXPECTED = "expected {type:'message', content:'...'}"

-- A folder beneath the root, by its path, absolute or from the root. -> its path beneath the root | nil, err
local function folder(text)
  local path, err = paths.inside(text or "")
  if not path then return nil, errors.new(err.code, "cwd: " .. err.message) end
  path = ("/" .. path .. "/"):gsub("/%.?/", "/"):gsub("/%./", "/"):gsub("/+", "/"):sub(2, -2) -- one name for each
  local f
  f, err = files.open(path)
  if not f then return nil, errors.new(err.code, "cwd: " .. err.message) end
  local kind = f.type
  f:close()
  if kind ~= "directory" then return errors.fail("not_found", "cwd: it is no folder") end
  return path
end

-- ---- the chat

local function is_message(m)
  return m.type == "message" and type(m.content) == "string" and m.content:find "%S" and (m.cwd == nil or type(m.cwd) == "string")
    and (m.session == nil or m.session == "new" or resumes.valid(m.session))
end

local function refuse(viewer, sentence, code)
  viewer:tell(json.encode { type = "error", content = sentence, code = code or "invalid" })
end

-- What one client says. `at`: the chat that he is in, or nil. -> the chat that he is in now
local function take(viewer, at, text)
  local m, err = json.decode(text)
  if m == nil and err then return refuse(viewer, "invalid JSON") or at end
  if type(m) ~= "table" or m == json.null then return refuse(viewer, EXPECTED) or at end
  if m.type == "abort" then
    if at then at:abort() end
    return at
  end
  if not is_message(m) then return refuse(viewer, EXPECTED) or at end
  if #m.content > MOST_TEXT then return refuse(viewer, "content: at most 256 KiB expected") or at end
  local cwd, why = folder(m.cwd or at and at.path)
  if not cwd then return refuse(viewer, why.message) or at end
  local t = talk.of(cwd)
  if t ~= at then
    if at then at:leave(viewer) end
    t:join(viewer)
  end
  local ok, busy = t:message(m.content, viewer, m.session)
  if not ok then refuse(viewer, busy, "busy") end
  return t
end

-- What a client has already: a whole number; anything else is nothing.
local function whole(text) return text and #text <= 15 and text:find "^%d+$" and tonumber(text) or nil end

local function chat(req)
  local text = req:query()
  local cwd = query.value(text, "cwd")
  local turn, n = whole(query.value(text, "turn")), whole(query.value(text, "n"))
  local why
  if cwd then cwd, why = folder(cwd) end
  local ws = req:websocket { max_message = MOST_MESSAGE }
  if not ws then return end
  if why then
    ws:close(1008, why.message)
    ws:recv() -- until he has heard it
    return
  end
  local viewer, at = audience.viewer(ws), nil
  if cwd then
    at = talk.of(cwd)
    at:watch(viewer, turn, n)
  end
  while viewer.open do
    local said = ws:recv()
    if not said then break end
    at = take(viewer, at, said)
  end
  if at then at:leave(viewer) end
  viewer:close()
end

-- ---- what is asked

local function conversations(_, project)
  local cwd, err = folder(query.decode((project:gsub("+", "%%2B"))))
  if not cwd then return nil, err end
  local list, lerr = transcripts.list(claude.home, paths.full(cwd))
  if not list then return nil, lerr end
  return 200, list
end

-- Only of a machine: an agent that somebody tries at home must not change how his own Claude Code behaves.
local function settle()
  local wish = sys.env "CLAUDE_SETTINGS"
  local info = fs.stat(machine.root, true)
  if wish == "manage" or wish ~= "leave" and machine.root == "/claude-data" and info and info.type == "directory" then
    claude.settle()
  end
end

return function(add)
  add("GET", "/chat", chat, { light = true })
  add("GET", "/sessions/{project}/conversations", conversations)
  add("GET", "/auth/status", function() return 200, claude.status() end)
  task.spawn(settle)
end
