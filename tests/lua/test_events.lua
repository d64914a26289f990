-- Events: their text, and pages that end before they are full.
local t = require "t"
local events = require "events"
local json = require "json"
local rights = require "rights"
local store = require "store"
require "instances"

assert(store.open { dir = t.tmpdir(), serve = true })

local root = { admin = true }
local id = "00000000-0000-4000-8000-000000000001"

for n = 1, 30 do
  assert(store.update(function(tx)
    tx:put("instance", id, { n = n }, "ann")
    tx:log("instance", id, n % 10 == 0 and "tenth" or "changed", { changes = { n = n } }, 'a "b"')
  end))
end

local function walk(query)
  local seqs, pages, after = {}, 0, nil
  repeat
    query.after = after or query.after
    local page = assert(events.page(root, query))
    t.ok(#page.texts <= query.limit)
    for _, text in ipairs(page.texts) do seqs[#seqs + 1] = json.decode(text).seq end
    pages, after = pages + 1, page.after
  until not after
  return table.concat(seqs, " "), pages
end

t.test("an entry's text is JSON whatever its words are", function()
  local e = store.log({ limit = 1 })[1]
  t.eq(json.decode(events.text(e)).by, 'a "b"')
  t.eq(json.decode(events.text(e)).data.changes.n, 1)
end)

t.test("an entry whose data has been dropped says so", function()
  local e = store.log({ limit = 1 })[1]
  e.data, e.trimmed = "", true
  local decoded = json.decode(events.text(e))
  t.eq(decoded.data, json.null); t.eq(decoded.trimmed, true)
end)

t.test("a page that looked at enough leads on, though it is not full", function()
  events.scan = 7
  t.eq(walk { limit = 100, type = "tenth" }, "10 20 30")
  t.eq(select(2, walk { limit = 100, type = "tenth" }), 5)
  t.eq(walk { limit = 100, type = "tenth", newest = true }, "30 20 10")
  events.scan = 50000
  t.eq(select(2, walk { limit = 100, type = "tenth" }), 1)
end)

t.test("the oldest page of one machine leaves out nothing, however long its chain is", function()
  events.scan = 7
  t.eq(walk { limit = 100, machine = id, type = "tenth" }, "10 20 30")
  t.eq(walk { limit = 2, machine = id, after = 26 }, "27 28 29 30")
  events.scan = 50000
end)

t.test("the oldest page of one machine, though its chain is read from the newest", function()
  t.eq(walk { limit = 1, machine = id, type = "tenth" }, "10 20 30")
  t.eq(walk { limit = 2, machine = id, type = "tenth", newest = true }, "30 20 10")
  t.eq(walk { limit = 3, machine = id, after = 25 }, "26 27 28 29 30")
  t.eq(walk { limit = 100, machine = "00000000-0000-4000-8000-000000000002" }, "")
end)

t.test("whose record it is decides who sees it", function()
  t.eq(#events.page({ user = "ann" }, { limit = 100 }).texts, 30)
  t.eq(#events.page({ user = "bob" }, { limit = 100 }).texts, 0)
  t.eq(rights.find.history({ user = "ann" }, id), id)
  t.eq(select(2, rights.find.history({ user = "bob" }, id)).code, "not_found")
end)

return t.done()
