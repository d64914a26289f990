-- Walks over what the store holds: whole pages, half ones, what changes meanwhile.
local t = require "t"
local store = require "store"
local walk = require "walk"
require "instances"

assert(store.open { dir = t.tmpdir(), serve = true })

local function update(fn)
  assert(store.update(function(tx)
    fn(tx)
    return true
  end))
end

update(function(tx)
  for n = 1, 10 do
    tx:index("work", ("a/%02d"):format(n), "v" .. n)
    tx:put("volume", ("id%02d"):format(n), { n = n }, "ann")
  end
  tx:index("work", "b/01", "other")
end)

local function keys(range)
  local out = {}
  for row in walk.index("work", range) do out[#out + 1] = row.key end
  return table.concat(out, " ")
end

local ten = "a/01 a/02 a/03 a/04 a/05 a/06 a/07 a/08 a/09 a/10"

t.test("every row comes once and in order, whatever a page holds", function()
  for _, limit in ipairs { 1, 2, 3, 5, 10, 11, 500 } do
    t.eq(keys { prefix = "a/", limit = limit }, ten, "pages of " .. limit)
    t.eq(keys { limit = limit }, ten .. " b/01", "pages of " .. limit)
  end
  t.eq(keys { prefix = "c/" }, "")
  t.eq(keys { after = "a/09" }, "a/10 b/01")
end)

t.test("objects come with their text and their owner", function()
  local n = 0
  for row in walk.kind("volume", { limit = 4 }) do
    n = n + 1
    t.eq(row.id, ("id%02d"):format(n))
    t.eq(row.json, ('{"n":%d}'):format(n))
    t.eq(row.owner, "ann")
  end
  t.eq(n, 10)
end)

t.test("what goes and comes beyond the page that was read is met as it is then", function()
  local seen = {}
  for row in walk.index("work", { prefix = "a/", limit = 2 }) do
    seen[#seen + 1] = row.key
    if row.key == "a/02" then
      update(function(tx)
        tx:unindex("work", "a/02")
        tx:unindex("work", "a/05")
        tx:index("work", "a/00", "before")
        tx:index("work", "a/11", "behind")
      end)
    end
  end
  t.eq(table.concat(seen, " "), "a/01 a/02 a/03 a/04 a/06 a/07 a/08 a/09 a/10 a/11")
end)

t.test("a name that no index can have is told of", function()
  t.raises(function() for _ in walk.index("No such") do end end, "a kind or index name of a%-z and _ expected")
end)

return t.done()
