---@meta tty
-- luacheck: ignore 212 241
-- What `require "tty"` gives (host/script/bind_tty.c): the terminal that we run in, and standard input.

---@class tty
local tty = {}

---Every byte comes as it is typed, Ctrl-C too. The old modes come back with tty.restore(), and at every end of the process.
---@return true|nil, table|nil err
function tty.raw() end
function tty.restore() end

---Of the terminal behind standard output, or input; nothing when there is none.
---@return integer|nil columns, integer|nil rows
function tty.size() end

---What standard input has, at least one byte; "" at its end. [yields]
---@param max? integer   65536, and at most that
---@return string|nil, table|nil err
function tty.read(max) end

return tty
