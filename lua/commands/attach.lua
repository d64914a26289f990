-- cchost attach ID: a terminal on a machine, through the server's proxy (GET /instances/ID/terminal, ttyd's protocol).

local command = require "command"
local escape = require "escape"
local http = require "http"
local json = require "json"
local remote = require "remote"
local script = require "script"
local sys = require "sys"
local task = require "task"
local tty = require "tty"

local M = {}

M.help = [[
usage: cchost attach ID [--url=URL] [--token-file=FILE] [--ca=FILE]

Opens a terminal on a machine, through its server. ID is the machine's id, its short form, or its name.

Typed at the beginning of a line:
  ~.   leaves; what runs on the machine goes on when its terminal is zellij's or tmux's
  ~~   is one ~

When standard input is no terminal it is typed as it comes, without these two, and Ctrl-D at its end until the shell
has ended, too.

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

local function open(id, options, settings)
  local server, err = remote.server(settings, options.url)
  if not server then command.usage("%s", err.message) end
  local headers
  headers, err = remote.credential(settings, server, options["token-file"])
  if not headers then command.fail("%s", err.message) end
  local ws
  ws, err = http.websocket {
    url = server.base .. "/instances/" .. segment(id) .. "/terminal", unix = server.unix, headers = headers, ca = options.ca,
    subprotocol = "tty", timeout = OPEN_SECONDS,
  }
  if not ws then refused(id, server, err) end
  return ws
end

-- ---- the session

-- One task sends at a time; others wait for their turn.
local function sender(ws)
  local busy, free = false, task.signal()
  return function(message)
    while busy do free:wait(3600) end
    busy = true
    local ok, err = ws:send(message, "binary")
    busy = false
    free:fire()
    return ok, err
  end
end

local function size()
  local columns, rows = tty.size()
  return { columns = columns or 80, rows = rows or 24 }
end

local function hello()
  local text = size()
  text.AuthToken = ""
  return json.encode(text)
end

-- Ctrl-D, again and again: one that comes while a shell sets its terminal up is lost, and another program may be in front
-- of the shell.
local function type_end(s)
  while s.send("0\4") do task.sleep(1) end
end

-- Passes on what is typed until it ends, or until the person leaves.
local function pass_input(s)
  local typed = s.raw and escape.new() or function(bytes) return bytes, false end
  while true do
    local bytes, err = tty.read()
    if not bytes then
      s.fault = err.message
      return s.ws:close(1000, "standard input failed")
    end
    if bytes == "" then
      if s.raw then return s.ws:close(1000, "the terminal has gone") end
      return type_end(s)
    end
    local out, leave = typed(bytes)
    if out ~= "" and not s.send("0" .. out) then return end
    if leave then
      s.left = true
      return s.ws:close(1000, "left")
    end
  end
end

-- Prints what comes until the connection ends. -> how it ended (an error value)
local function pass_output(s)
  while true do
    local data, kind = s.ws:recv()
    if not data then return kind end
    if data:sub(1, 1) == "0" then
      local ok, err = sys.stdout(data:sub(2))
      if not ok then
        s.unread, s.fault = err.code == "cancelled", err.message
        s.ws:close(1000, "nobody reads")
      end
    end
  end
end

local reasons = {
  [1006] = "the connection was lost",
  [1011] = "the shell has ended badly, or the machine went away",
}

-- Says how it ended. -> exit code
local function farewell(s, id, ended)
  local back = "come back with: cchost attach " .. id
  if s.left then
    say("left; %s", back)
    return 0
  end
  if s.unread then return 0 end
  if s.fault then
    say("%s", s.fault)
    return 1
  end
  if ended.close_code == 1000 then
    if s.raw then say("the shell has ended") end
    return 0
  end
  local why = reasons[ended.close_code] or (ended.reason ~= "" and ended.reason or "closed with code " .. ended.close_code)
  say("%s; %s", why, back)
  return 1
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost attach ID [--url=URL] [--token-file=FILE] [--ca=FILE]",
    options = { url = "text", ["token-file"] = "text", ca = "text" }, words = { 1, 1 },
  })
  local id = words[1]
  local ws = open(id, options, settings)
  local s = { ws = ws, send = sender(ws), raw = sys.isatty(0) }
  if s.raw then script.must(tty.raw()) end
  sys.signal("WINCH", function() s.send("1" .. json.encode(size())) end)
  s.send(hello())
  task.spawn(pass_input, s)
  local ended = pass_output(s)
  tty.restore()
  return farewell(s, id, ended)
end

return M
