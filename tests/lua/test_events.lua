-- Events: their text, and pages that end before they are full.
local t = require "t"
local events = require "events"
local json = require "json"
local rights = require "rights"
local store = require "store"
local task = require "task"
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

-- Bug: to one who read fast all that was behind him went out in one turn of the loop, and whose entries were few walked the whole
-- log so.
t.test("a stream that is far behind lets others run between its pages", function()
  assert(store.update(function(tx)
    for n = 1, 450 do tx:log("instance", id, "changed", { changes = { n = n } }, "ann") end
    return true
  end))
  local turns, told, last, over = 0, {}, store.stats().log_seq, false
  local other = task.spawn(function()
    while not over do
      turns = turns + 1
      task.sleep(0)
    end
  end)
  local http = { header = function() end, start = function() return true end, finish = function() end }
  function http:write(text)
    if text:find "id: " then told[#told + 1] = turns end
    over = text:find(("id: %d\n"):format(last), 1, true) ~= nil or over
    return true
  end
  function http:gone() return over end
  assert(events.stream(http, root, { after = 0 }))
  other:join()
  t.ok(#told > 3, #told)
  for i = 2, #told do t.ok(told[i] > told[i - 1], "others run before page " .. i) end
end)

return t.done()
