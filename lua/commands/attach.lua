-- cchost attach ID: a terminal on a machine, through the server's proxy (GET /instances/ID/terminal, ttyd's protocol).

local command = require "command"
local crypto = require "crypto"
local escape = require "escape"
local http = require "http"
local json = require "json"
local remote = require "remote"
local resuming = require "resuming"
local script = require "script"
local sys = require "sys"
local task = require "task"
local tty = require "tty"

local M = {}

M.help = [[
usage: cchost attach ID [--session=NAME] [--url=URL] [--token-file=FILE] [--ca=FILE]

Opens a terminal on a machine, through its server. ID is the machine's id, its short form, or its name. When the
connection is lost it comes back by itself, for two minutes, and goes on where it was.

Typed at the beginning of a line:
  ~.   leaves; what runs on the machine goes on when its terminal is zellij's or tmux's
  ~~   is one ~

When standard input is no terminal it is typed as it comes, without these two, and Ctrl-D at its end until the shell
has ended, too.

  --session=NAME     the terminal of that name, which others may look at, too; it stays when you leave. Else a new one,
                     which ends when you leave, or a day after you were lost
  --url=URL          where the server is: http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH; else CCHOST_URL, else
                     the address that serve has on this host
  --token-file=FILE  a file with an API token or a session of yours; else CCHOST_TOKEN, else the operator's key
                     (API_KEY, or DATA_DIR/api_key for a server on this host)
  --ca=FILE          authorities that the server's certificate may come from, instead of the system's

Exit codes: 0 the shell ended well or you left, 1 it did not or the connection failed, 2 usage.
]]

local OPEN_SECONDS = 60 -- a machine that is starting is waited for

-- What others have written, without what could steer a terminal.
local function plain(text) return (text:gsub("%c", "?"):gsub("\194[\128-\159]", "?")) end

local function say(format, ...) io.stderr:write("cchost: ", plain(format:format(...)), "\n") end

-- ---- opening

local function segment(text)
  return (text:gsub("[^%w._-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- What the server has said, as a sentence.
local function said(err)
  local body = err.body and json.decode(err.body)
  return type(body) == "table" and type(body.error) == "string" and plain(body.error) or "status " .. err.status
end

local refusals = {
  [401] = "not let in: %s (--token-file=, CCHOST_TOKEN, API_KEY or DATA_DIR/api_key is who you are)",
  [403] = "not allowed: %s",
  [404] = "%s: %s",
  [409] = "cannot attach: %s; start it first",
}

local function refused(id, server, err)
  if not err.status then command.fail("cannot reach %s: %s", server.name, err.message) end
  local form = refusals[err.status]
  if err.status == 404 then command.fail(form, id, said(err)) end
  if form then command.fail(form, said(err)) end
  if err.status >= 500 then command.fail("the machine cannot be reached: %s", said(err)) end
  command.fail("the server refused: %s", said(err))
end

-- -> fn(query) -> ws | nil, err; the server
local function opener(id, options, settings)
  local server, err = remote.server(settings, options.url)
  if not server then command.usage("%s", err.message) end
  local headers
  headers, err = remote.credential(settings, server, options["token-file"])
  if not headers then command.fail("%s", err.message) end
  return function(query)
    return http.websocket {
      url = server.base .. "/instances/" .. segment(id) .. "/terminal?" .. query, unix = server.unix, headers = headers,
      ca = options.ca, subprotocol = "tty", timeout = OPEN_SECONDS,
    }
  end, server
end

-- ---- the session

local function size()
  local columns, rows = tty.size()
  return { columns = columns or 80, rows = rows or 24 }
end

-- Ctrl-D, again and again: one that comes while a shell sets its terminal up is lost, and another program may be in front
-- of the shell.
local function type_end(s)
  while s.terminal:type("\4") do task.sleep(1) end
end

-- Passes on what is typed until it ends, or until the person leaves.
local function pass_input(s)
  local typed = s.raw and escape.new() or function(bytes) return bytes, false end
  while true do
    local bytes, err = tty.read()
    if not bytes then
      s.fault = err.message
      return s.terminal:close("standard input failed")
    end
    if bytes == "" then
      if s.raw then return s.terminal:close("the terminal has gone") end
      return type_end(s)
    end
    local out, leave = typed(bytes)
    if out ~= "" and not s.terminal:type(out) then return end
    if leave then
      s.left = true
      return s.terminal:close("left")
    end
  end
end

local reasons = {
  [1006] = "the connection was lost",
  [1011] = "the shell has ended badly, or the machine went away",
}

-- Says how it ended. -> exit code
local function farewell(s, id, ended)
  local back = "come back with: cchost attach " .. id .. (s.named and " --session=" .. s.named or "")
  if s.left then
    say("left; %s", back)
    return 0
  end
  if s.terminal.unread then return 0 end
  local fault = s.fault or s.terminal.fault
  if fault then
    say("%s", fault)
    return 1
  end
  if s.terminal.exit and s.terminal.exit ~= 0 then
    say("%s; %s", reasons[1011], back)
    return 1
  end
  if ended.close_code == 1000 then
    if s.raw then say("the shell has ended") end
    return 0
  end
  local told = ended.reason or ""
  local words = told ~= "" and told ~= "the machine went away" and plain(told) or nil
  local why = ended.status and said(ended) or not ended.close_code and ended.message or words or reasons[ended.close_code]
    or "closed with code " .. ended.close_code
  say("%s; %s", why, back)
  return 1
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost attach ID [--session=NAME] [--url=URL] [--token-file=FILE] [--ca=FILE]",
    options = { session = "text", url = "text", ["token-file"] = "text", ca = "text" }, words = { 1, 1 },
  })
  local id, named = words[1], options.session
  if named and not (#named <= 64 and named:match("^[%w_][%w._-]*$")) then
    command.usage("--session: 1 to 64 letters, digits, '.', '_' or '-' expected, no '.' or '-' first")
  end
  local open, server = opener(id, options, settings)
  local s = { raw = sys.isatty(0), named = named }
  s.terminal = resuming.new {
    open = open, size = size, output = sys.stdout, session = named or "attach-" .. crypto.token(6),
    client = crypto.token(16), keep = not named and 86400 or nil,
    say = function(sentence) io.stderr:write(s.raw and "\r\n" or "", "cchost: ", sentence, s.raw and "\r\n" or "\n") end,
  }
  local ok, err = s.terminal:start()
  if not ok then refused(id, server, err) end
  if s.raw then script.must(tty.raw()) end
  sys.signal("WINCH", function() s.terminal:resize() end)
  task.spawn(pass_input, s)
  local ended = s.terminal:run()
  tty.restore()
  return farewell(s, id, ended)
end

return M
