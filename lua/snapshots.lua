-- The snapshots that a record lists, of a machine or of a volume: {{name =, created_at =, ...}...}, nil: none. Pure.
--
--   snapshots.find(list, name) -> the one of that name, or nil
--   snapshots.without(list, name) -> a list of the others

local json = require "json"

local M = {}

function M.find(list, name)
  for _, s in ipairs(list or {}) do
    if s.name == name then return s end
  end
end

function M.without(list, name)
  local out = json.array {}
  for _, s in ipairs(list or {}) do
    if s.name ~= name then out[#out + 1] = s end
  end
  return out
end

return M
