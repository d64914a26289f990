-- What routes and jobs of policies ask about machines: what they hand over is looked at before the host takes it.
--
--   asked.key(fn) -> fn(key, ...), which is reached with a text alone
--   asked.page(actor, after, limit) -> {instances = {record...}, after =} | nil, err    [yields]

local errors = require "errors"
local instances = require "instances"
local json = require "json"

local M = {}

local MOST = 200

function M.key(fn)
  return function(key, ...)
    if type(key) ~= "string" then return errors.fail("invalid", "a machine's id, short or name expected, not a " .. type(key)) end
    return fn(key, ...)
  end
end

function M.page(actor, after, limit)
  if after ~= nil and (type(after) ~= "string" or #after > 128) then
    return errors.fail("invalid", "after: the `after` of another page expected")
  end
  limit = limit == nil and 100 or tonumber(limit)
  if not limit or limit ~= limit or limit < 1 then return errors.fail("invalid", "limit: a number from 1 expected") end
  local page = instances.list(actor, after, math.min(math.floor(limit), MOST))
  local list = json.array {}
  for i, text in ipairs(page.texts) do list[i] = json.decode(text) end
  return { instances = list, after = page.after }
end

return M
