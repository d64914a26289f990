-- A terminal that is kept (docs/terminal.md), from the client's side: opened again when the connection is lost, its output goes
-- on at the next byte, and what was typed and not taken is sent again.
--
--   c = resuming.new{open = fn(query) -> ws | nil, err, size = fn() -> {columns =, rows =},
--                    output = fn(bytes) -> true | nil, err, say = fn(sentence), session =, client =, keep = seconds or nil}
--   c:start() -> true | nil, err          the first connection
--   c:run() -> how it ended (err of ws:recv, or of `open`)   [yields]
--   c:type(bytes) -> true | nil           waits while too much is not taken
--   c:resize()   c:close(reason)
-- An agent that keeps no sessions is spoken to as ttyd is: c.plain; then a loss is the end.

local json = require "json"
local task = require "task"

local M = {}
M.__index = M

local PIECE, ROOM = 4096, 262144
local TRIES, FIRST, MOST = 60, 0.2, 2 -- two minutes
local final = { [1000] = true, [1008] = true, [1013] = true, [4001] = true }

function M.new(o)
  local c = setmetatable(o, M)
  c.pending, c.base, c.sent = "", 0, 0
  c.wake, c.free, c.room = task.signal(), task.signal(), task.signal()
  return c
end

-- One task sends at a time; others wait for their turn.
function M:send(message)
  while self.busy do self.free:wait(3600) end
  self.busy = true
  local ok, err = self.ws:send(message, "binary")
  self.busy = false
  self.free:fire()
  return ok, err
end

local function query_of(c)
  local q = { "session=" .. c.session, "client=" .. c.client }
  if c.keep then q[#q + 1] = ("keep=%d"):format(c.keep) end
  if c.since then
    q[#q + 1] = ("from=%d&since=%d&typed=%d&wake=false"):format(c.at, c.since, c.base) -- who stopped it meanwhile meant it
  end
  return table.concat(q, "&")
end

function M:hello()
  local text = self.size()
  text.AuthToken = ""
  return self:send(json.encode(text))
end

local function connect(c)
  local ws, err = c.open(query_of(c))
  if not ws then return nil, err end
  c.ws = ws
  c:hello()
  return true
end

-- ---- what is typed

local function taken(c, typed)
  local n = math.max(0, math.min(typed - c.base, #c.pending))
  c.pending, c.base, c.sent = c.pending:sub(n + 1), typed, math.max(0, c.sent - n)
  c.room:fire()
end

local function pump(c)
  while not c.over do
    if c.ready and c.sent < #c.pending then
      local piece = c.pending:sub(c.sent + 1, c.sent + PIECE)
      c.sent = c.sent + #piece
      if not c:send("0" .. piece) then c.ready = false end
      if c.plain then taken(c, c.base + #piece) end
    else
      c.wake:wait(3600)
    end
  end
end

function M:type(bytes)
  while #self.pending > ROOM and not self.over do self.room:wait(3600) end
  if self.over then return nil end
  self.pending = self.pending .. bytes
  self.wake:fire()
  return true
end

function M:resize()
  if self.ready then self:send("1" .. json.encode(self.size())) end
end

-- ---- what comes

local function begin(c, m)
  if c.since and c.since ~= m.since then -- another shell: what was typed was not meant for it
    c.pending, c.base = "", m.typed
    c.say("the terminal had ended; this is a new one")
  end
  c.since, c.at, c.tries = m.since, m.seq, 0
  if not c.ready then
    c.sent = 0
    taken(c, m.typed)
  end
  c.ready = true
  c.wake:fire()
  if m.redraw then return c.output(m.redraw) end
  return true
end

local function on_output(c, bytes, greeted)
  if c.ready and not c.plain then
    c.at = c.at + #bytes
  elseif greeted and not c.ready then
    c.plain, c.ready = true, true
    c.wake:fire()
  end
  return c.output(bytes)
end

-- Until the connection ends. -> how
local function read(c)
  local greeted = false
  while true do
    local data, how = c.ws:recv()
    if not data then return how end
    local kind, rest = data:sub(1, 1), data:sub(2)
    local ok, err = true, nil
    if kind == "0" then ok, err = on_output(c, rest, greeted)
    elseif kind == "1" then greeted = true
    elseif kind == "3" then ok, err = begin(c, json.decode(rest))
    elseif kind == "4" then taken(c, json.decode(rest).typed)
    elseif kind == "5" then c.exit = json.decode(rest).exit
    end
    if not ok then
      c.leaving = true
      c.unread, c.fault = err.code == "cancelled", err.message
      c.ws:close(1000, "nobody reads")
    end
  end
end

-- ---- being lost

local function is_over(c, how)
  return c.leaving or c.plain or not c.since or final[how.close_code] or (how.status and how.status < 500 and how.status ~= 429)
end

local function again(c)
  local how
  repeat
    c.tries = c.tries + 1
    task.sleep(math.min(FIRST * 2 ^ (c.tries - 1), MOST))
    if c.leaving then return nil, how end
    local ok
    ok, how = connect(c)
    if ok then return true end
  until c.tries >= TRIES or is_over(c, how)
  return nil, how
end

function M:start()
  self.tries = 0
  local ok, err = connect(self)
  if not ok then return nil, err end
  task.spawn(pump, self)
  return true
end

function M:run()
  local how, ok
  repeat
    how = read(self)
    self.ready = false
    if is_over(self, how) or self.tries >= TRIES then break end
    if self.tries == 0 then self.say("the connection was lost; coming back") end
    local why
    ok, why = again(self)
    if not ok and (how.reason or "") == "" then how = why or how end -- why it was cut says more
  until not ok
  self.over = true
  self.wake:fire()
  self.room:fire()
  return how
end

function M:close(reason)
  self.leaving = true
  self.ws:close(1000, reason)
end

return M
