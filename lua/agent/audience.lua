-- Who watches something over WebSockets: what is told goes to all of them, and none of them slows the others or the teller.
--
--   local viewer = audience.viewer(ws)      viewer:tell(text)      viewer:close([code, reason])
--   local a = audience.new()
--   a:join(viewer)    a:leave(viewer)       a.n: how many there are
--   a:tell(text [, but])                    to all but that one
-- What waits for a viewer that reads slowly is bounded: beyond it he is closed with 1013, and may come back.

local task = require "task"

local M = {}

local MOST = 4 * 1048576

local Viewer = {}
Viewer.__index = Viewer

function Viewer:close(code, reason)
  self.open = false
  self.more:fire()
  if code then self.ws:close(code, reason) end
end

function Viewer:tell(text)
  if not self.open then return end
  self.last = self.last + 1
  self.queue[self.last], self.bytes = text, self.bytes + #text
  if self.bytes > MOST then return self:close(1013, "you read too slowly; come back") end
  self.more:fire()
end

local function send(self)
  while self.open do
    local text = self.queue[self.first]
    if text then
      self.queue[self.first], self.first, self.bytes = nil, self.first + 1, self.bytes - #text
      if not self.ws:send(text) then self.open = false end
    else
      self.more:wait(3600)
    end
  end
end

local Audience = {}
Audience.__index = Audience

function M.new() return setmetatable({ viewers = {}, n = 0 }, Audience) end

function M.viewer(ws)
  local v = setmetatable({ ws = ws, queue = {}, first = 1, last = 0, bytes = 0, open = true, more = task.signal() }, Viewer)
  task.spawn(send, v)
  return v
end

function Audience:join(viewer)
  if self.viewers[viewer] then return end
  self.viewers[viewer], self.n = true, self.n + 1
end

function Audience:leave(viewer)
  if not self.viewers[viewer] then return end
  self.viewers[viewer], self.n = nil, self.n - 1
end

function Audience:tell(text, but)
  for viewer in pairs(self.viewers) do
    if viewer ~= but then viewer:tell(text) end
  end
end

return M
