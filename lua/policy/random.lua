-- Inputs by chance, within the schema of a kind (policy/kinds.lua): what the loader and `cchost fuzz` try a policy on.
--
--   r = random.new(seed)               the same seed gives the same inputs, everywhere
--   r:input(fields, now) -> table      `now`: unix seconds; times lie around it
-- Edges come more often than their share: 0, the bounds, now itself, what is absent, plans that nobody has heard of. What is
-- derived of other fields is what they make it.

local grid = require "policy.grid"
local sorted_keys = require "sorted_keys"

local M = {}
M.__index = M

function M.new(seed) return setmetatable({ state = seed % 2147483647 + 1 }, M) end

-- Park and Miller's generator: exact in doubles. -> 0 <= x < 1
function M:next()
  self.state = self.state * 48271 % 2147483647
  return self.state / 2147483647
end

function M:below(n) return math.floor(self:next() * n) end
function M:of(list) return list[self:below(#list) + 1] end

local words = { "", "a", "make test", "box-1", "%s", "ümlaut", ("x"):rep(200), "idle", "never", "1", "two\nlines" }

local make = {}

function make:text() return self:of(words) end

local function any_time(self, now)
  local which = self:below(8)
  if which == 0 then return now end
  if which == 1 then return now - self:below(60) end
  if which == 2 then return now + self:below(7200) end
  return now - self:below(10 ^ (2 + self:below(6)))
end

function make:time(f, now)
  local t = any_time(self, now)
  if f.past and t > now or f.future and t < now then t = 2 * now - t end
  return f.future and t == now and now + 1 or t
end

function make:count(f)
  local which = self:below(4)
  if which == 0 then return 0 end
  if which == 1 then return f.max end
  return self:below(math.min(f.max, 10) + 1)
end

function make:number(f)
  local which = self:below(6)
  if which == 0 then return f.min end
  if which == 1 then return f.max end
  local steps = math.floor((f.max - f.min) / f.step)
  return f.min + f.step * self:below(which == 2 and steps + 1 or math.min(steps, 200) + 1)
end

function make:flag() return self:below(2) == 1 end

function make:enum(f)
  if f.open and self:below(8) == 0 then return "unheard-of" end
  return self:of(f.of)
end

function make:map()
  local out = {}
  for _ = 1, self:below(4) do out[self:of { "idle", "team", "env", "keep" }] = self:of(words) end
  return out
end

function M:input(fields, now)
  local out = {}
  for _, name in ipairs(sorted_keys(fields)) do
    local f = fields[name]
    if not f.optional or self:below(3) > 0 then out[name] = make[f[1]](self, f, now) end
  end
  for name, f in pairs(fields) do
    if f.most and out[f.most] and out[name] then out[name] = math.min(out[name], out[f.most]) end
  end
  return grid.settle(fields, out)
end

return M
