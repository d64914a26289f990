-- Lists as answers: what a cursor outlives, what a filter may be.
local t = require "t"
local json = require "json"
local lists = require "lists"
local query = require "query"
local reading = require "billing.reading"
local time = require "time"

-- A list of `options` and what it answers: { names =, next = query of the next page or nil } | the error
local function list(options)
  options = lists.route(options)
  return function(source, text)
    local http = { query = function() return text end, raw_path = function() return "/x" end }
    local status, body, headers = lists.answer({ http = http, options = options }, source)
    if not status then return body end
    local names = {}
    for i, item in ipairs(json.decode(body)) do names[i] = item.name or item.id end
    return { names = table.concat(names, " "), next = headers.Link and headers.Link:match("^</x%?([^>]+)>") }
  end
end

local function named(...)
  local out = {}
  for i, name in ipairs { ... } do out[i] = { name = name, created_at = ("2026-01-01T00:00:%02dZ"):format(name:byte() - 96) } end
  return { items = out, key = "name" }
end

-- Bug: the cursor of a list that was all there was a place in it, so one that went between two pages took its neighbour along.
t.test("a cursor outlives what goes and comes", function()
  for _, order in ipairs { false, "created_at" } do
    local ask = list { of = "MachineSnapshot", filters = { "name" }, order = order or nil }
    local first = ask(named("b", "c", "d", "e", "f"), "limit=2")
    t.eq(first.names, "b c")
    t.eq(ask(named("c", "d", "e", "f"), first.next).names, "d e")
    t.eq(ask(named("b", "d", "e"), first.next).names, "d e")
    t.eq(ask(named("a", "b", "c", "d", "e"), first.next).names, "d e")
    t.eq(ask(named("a", "b"), first.next).names, "")
  end
end)

-- Bug: a cursor counted rows, of a list in which stretches end, and come to cost something, between two pages: a row came twice.
t.test("pages of usage go on where they were, whatever is used meanwhile", function()
  local ask = list { of = "UsageRecord", sort = { "start_time" } }
  local function row(at, machine, to)
    return { start_time = time.rfc3339(1767225600000 + at), resource_id = machine, id = ("%s/%d-%d"):format(machine, at, to) }
  end
  local function records(...) return { items = { ... }, key = reading.place } end
  local a, b, c = "0a", "0b", "0c"
  for _, more in ipairs { "", "&sort=start_time" } do
    local first = ask(records(row(0, a, 10), row(5, b, 15), row(5, c, 15)), "limit=2" .. more)
    t.eq(first.names, "0a/0-10 0b/5-15")
    -- one more before, all longer
    local after = records(row(0, a, 10), row(0, b, 5), row(5, b, 99), row(5, c, 99), row(15, a, 20))
    t.eq(ask(after, first.next).names, "0c/5-99 0a/15-20")
    t.eq(ask(records(row(5, c, 15)), first.next).names, "0c/5-15") -- it is there no more
  end
end)

-- Bug: the list's own Link was refused when what it was sorted by was long.
t.test("a cursor holds the longest URL", function()
  local ask = list { of = "Webhook", sort = { "url" } }
  local long = ("https://example.org/" .. ("%41"):rep(680)):sub(1, 2048)
  local items = {}
  for i = 1, 3 do items[i] = { id = tostring(i), url = long } end
  local first = ask({ items = items }, "sort=url&limit=2")
  t.eq(first.names, "1 2")
  t.ok(#first.next > 2048)
  t.eq(ask({ items = items }, first.next).names, "3")
end)

-- Bug: a word that no record could have was a filter that nothing fits, of a field that is no text.
t.test("a filter is a value of its field", function()
  local ask = list { of = "Delivery", filters = { "ok", "event", "trigger", "error" } }
  local items = {}
  for i, e in ipairs { 7, 8, json.null } do
    items[i] = { id = tostring(i), ok = i == 1, event = e, trigger = "event", error = json.null }
  end
  local function of(text) return ask({ items = items }, text) end
  t.eq(of("ok=true").names, "1")
  t.eq(of("ok=true,false").names, "1 2 3")
  t.eq(of("event=8").names, "2")
  t.eq(of("event=007").names, "1")
  t.eq(of("event=null").names, "3")
  t.eq(of("error=null").names, "1 2 3")
  t.eq(of("error=any").names, "")
  for _, wrong in ipairs {
    "ok=1", "ok=", "ok=null", "ok=true,", "event=x", "event=", "event=1e3", "event=0x10", "trigger=null", "trigger=test,x",
  } do
    local err = of(wrong)
    t.eq(err.code, "invalid", wrong)
    t.eq(err.field, wrong:match("^%w+"), wrong)
  end
end)

t.test("a label has a name", function()
  local ask = list { of = "Machine", filters = { "label" } }
  local items = { { id = "1", labels = { a = "" } }, { id = "2", labels = { a = "b=c" } } }
  t.eq(ask({ items = items }, "label=a").names, "1 2")
  t.eq(ask({ items = items }, "label=a=").names, "1")
  t.eq(ask({ items = items }, "label=a=b=c").names, "2")
  for _, wrong in ipairs { "label=", "label==", "label==b" } do t.eq(ask({ items = items }, wrong).field, "label") end
end)

t.test("a parameter that is said twice is found", function()
  local all, twice = query.all("a=1&b=2&%61=3")
  t.eq(all.a, "1")
  t.eq(twice, "a")
  t.eq(select(2, query.all("a=1&b=1&&")), nil)
end)

return t.done()
