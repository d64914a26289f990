-- All that is under an index, or of a kind, in the order of keys, read page by page: what others write meanwhile beyond the
-- place that is reached is met, what they write before it is not.
--
--   for row in walk.index(index [, range]) do ... end      row: {key, value}
--   for row in walk.kind(kind [, range]) do ... end        row: {id, json, owner, rev}
--
-- range: {prefix =, after =, limit = rows of a page (500)}. Raises what the store says when it cannot be read. It never waits:
-- the body of a long one pauses (slices.lua).

local store = require "store"

local M = {}

local PAGE = 500

local function pages(list, name, key, range)
  range = range or {}
  local limit, after, page, at = range.limit or PAGE, range.after, nil, 0
  return function()
    at = at + 1
    if page and at > #page and #page < limit then return nil end
    if not page or at > #page then
      page = assert(list(name, { prefix = range.prefix, after = after, limit = limit }))
      at = 1
    end
    local row = page[at]
    if row then after = row[key] end
    return row
  end
end

function M.index(index, range) return pages(store.scan, index, "key", range) end

function M.kind(kind, range) return pages(store.list, kind, "id", range) end

return M
