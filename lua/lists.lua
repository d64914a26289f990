-- Lists as answers: pages, filters, sorting and parts of what is listed, the same for every list.
--
--   app.get("/x", lists.route { of = "Machine", filters = {...}, sort = {...}, scope = ..., does = ... }, handler)
--     of: the schema of one (openapi/schemas.lua);  filters, sort: names of its fields; `label` filters by labels
--     order: as `sort` says it, when the request says nothing; absent: the order of the source
--     page: how many are told when the request does not say it (100)
--   lists.answer(req, source) -> status, body, headers    what a handler of such a route returns [yields]
--     source: {scan = function(after, limit) -> {texts = or items =, keys = cursor of each, after = cursor or nil} | nil, err,
--               batch = how many are asked for at once when all are looked at (200)}
--             or {items = list, key = the field that names one ("id"), or fn(item) -> text}: all of it, by that
-- Those that have an order and a cursor of their own (the log, messages backwards) share the rest:
--   lists.own(options) -> options, with `fields` among the query's
--   lists.page(req, items, link) -> status, body, headers   items: tables or JSON texts; link: {limit =, name =, value =} or nil
--
-- A filter that fits little makes short pages: one answer looks at LOOK records at most, and its Link goes on from there. A list
-- that is sorted is looked through as a whole, in slices, and holds no more than its page.

local app = require "app"
local errors = require "errors"
local json = require "json"
local names = require "openapi.names"
local query = require "query"
local slices = require "slices"
local sorted_keys = require "sorted_keys"

local M = {}

local LOOK, BATCH = 20000, 200
local CURSOR_MOST = 8192 -- bytes of one that holds a value: a URL of 2,048 is the longest
local PART = "application/vnd.cchost.part+json" -- of a list with `fields`: not what its schema says

-- ---- the route

local fields_param = { "string", max = 1000, about = "Names of fields, with commas: only these are told of each" }

local function schema_fields(of) return require("openapi.schemas")[of].fields end

local function with_fields(options)
  options.part = PART
  options.query = options.query or {}
  options.query.fields = fields_param
  return options
end
M.own = with_fields

local function sorts(list)
  local out = {}
  for _, name in ipairs(list) do
    out[#out + 1] = name
    out[#out + 1] = "-" .. name
  end
  return out
end

function M.route(options)
  local q = with_fields(options).query
  q.limit, q.after = names.limit, { "string", max = CURSOR_MOST, about = names.after.about }
  if options.page then
    q.limit = { default = options.page }
    for k, v in pairs(names.limit) do q.limit[k] = q.limit[k] or v end
  end
  if options.sort then
    q.sort = { "string", one_of = sorts(options.sort), example = options.sort[1], about = "By this; with `-` backwards" }
  end
  for _, name in ipairs(options.filters or {}) do
    q[name] = q[name] or { "string", max = 1000, about = "Only those of this; several with commas" }
  end
  if q.label then q.label = { "string", max = 1000, about = "`NAME=VALUE`: only those with that label" } end
  options.gives = options.gives or { [200] = { "list", of = options.of } }
  return options
end

-- ---- what the request says

local function bad(field, what) return errors.fail("invalid", field .. ": " .. what, { field = field }) end

local function split(text)
  local out = {}
  for word in (text .. ","):gmatch("([^,]*),") do out[#out + 1] = word end
  return out
end

-- Names of fields in the schema `of`. -> list or nil | nil, err
local function parts(http, of)
  local text = app.query(http, "fields")
  if not text then return nil end
  local known, list = schema_fields(of), split(text)
  for _, name in ipairs(list) do
    if not known[name] then
      local all = table.concat(sorted_keys(known), ", ")
      return bad("fields", ("there is no '%s'; one of %s expected"):format(name:sub(1, 64), all))
    end
  end
  return list
end

-- A value as a filter compares it.
local function text_of(v)
  if v == nil or v == json.null then return "null" end
  if type(v) == "number" then return v == math.floor(v) and ("%.0f"):format(v) or ("%.14g"):format(v) end
  return tostring(v)
end

-- A word of a filter as a value of the field of that name. -> text_of it | nil, what is expected
local function value_in(fields, name, word)
  if name == "label" then return word:match("^[^=].*"), "NAME=VALUE, or NAME" end
  local field = fields[name]
  if type(field) == "string" or word == "null" and (field.null or field.maybe) then return word end
  local kind, one_of = field[1], field.one_of
  if kind == "boolean" then one_of = { "true", "false" } end
  for _, each in ipairs(one_of or {}) do
    if each == word then return word end
  end
  if one_of then return nil, "one of " .. table.concat(one_of, ", ") end
  if kind ~= "integer" and kind ~= "number" then return word end
  if #word <= 20 and word:match("^%-?%d+%.?%d*$") then return text_of(tonumber(word)) end
  return nil, "a number"
end

-- {field = {value = true}}, or nil where nothing is asked for | nil, err
local function wanted(http, options)
  local out
  for _, name in ipairs(options.filters or {}) do
    local text = app.query(http, name)
    local set = text and {}
    for _, word in ipairs(text and (name == "label" and { text } or split(text)) or {}) do
      local value, expected = value_in(schema_fields(options.of), name, word)
      if not value then return bad(name, ("%s expected, not '%s'"):format(expected, word:sub(1, 40))) end
      set[value] = true
    end
    if set then
      out = out or {}
      out[name] = set
    end
  end
  return out
end

local function has_label(rec, set)
  for text in pairs(set) do
    local name, value = text:match("^([^=]*)=(.*)$")
    local is = (rec.labels or {})[name or text]
    if is == nil or value and is ~= value then return false end
  end
  return true
end

local function fits(rec, filters)
  for name, set in pairs(filters or {}) do
    if name == "label" then
      if not has_label(rec, set) then return false end
    elseif not set[text_of(rec[name])] then
      return false
    end
  end
  return true
end

-- -> {limit, after, fields, filters, order, sort, down} | nil, err
local function read(http, options)
  local limit, after = app.page(http, CURSOR_MOST, options.page)
  if not limit then return nil, after end
  local q = { limit = limit, after = after }
  local err
  q.fields, err = parts(http, options.of)
  if err then return nil, err end
  q.filters, err = wanted(http, options)
  if err then return nil, err end
  local said = app.query(http, "sort")
  if said then
    local known = options.sort and options.query.sort.one_of or {}
    local is
    for _, each in ipairs(known) do is = is or each == said end
    if not is then return bad("sort", ("one of %s expected"):format(table.concat(known, ", "))) end
  end
  q.order = said or options.order
  if q.order then q.sort, q.down = q.order:gsub("^%-", ""), q.order:sub(1, 1) == "-" end
  return q
end

-- ---- the answer

local function part(rec, list)
  local out = {}
  for _, name in ipairs(list) do out[name] = rec[name] end
  return out
end

local function as_table(item) return type(item) == "string" and json.decode(item) or item end

local function as_text(item, list)
  if list then item = part(as_table(item), list) end
  return type(item) == "string" and item or json.encode(item)
end

local function next_link(http, link)
  local kept = query.without(http:query(), { limit = true, [link.name] = true })
  return ('<%s?limit=%d&%s=%s%s>; rel="next"'):format(http:raw_path(), link.limit, link.name, query.encode(link.value),
    kept and "&" .. kept or "")
end

local function told(req, items, list, link)
  local texts, headers = {}, {}
  for i, item in ipairs(items) do texts[i] = as_text(item, list) end
  if link then headers.Link = next_link(req.http, link) end
  if list then headers["Content-Type"] = PART end
  return 200, "[" .. table.concat(texts, ",") .. "]", headers
end

function M.page(req, items, link)
  local list, err = parts(req.http, req.options.of)
  if err then return nil, err end
  return told(req, items, list, link)
end

-- ---- in the order of the source

local KEY_MOST = 128 -- bytes of a cursor that is a key of the store

local function scanned(req, source, q)
  if q.after and #q.after > KEY_MOST then return bad("after", "a cursor from a Link expected") end
  local out, seen, after, pause = {}, 0, q.after, slices.new()
  while seen < LOOK do
    local page, err = source.scan(after, q.filters and BATCH or q.limit)
    if not page then return nil, err end
    for i, item in ipairs(page.texts or page.items) do
      if #out == q.limit then return told(req, out, q.fields, { limit = q.limit, name = "after", value = after }) end
      if fits(q.filters and as_table(item), q.filters) then out[#out + 1] = item end
      after, seen = page.keys[i], seen + 1
      pause()
    end
    after = page.after
    if not after then return told(req, out, q.fields) end
    if not q.filters then break end
  end
  return told(req, out, q.fields, { limit = q.limit, name = "after", value = after })
end

-- ---- sorted: by value, then by key, which alone says the place where nothing is sorted by

-- What is not there comes last.
local function before(a, b, down)
  if a.value ~= b.value then
    if a.value == nil then return false end
    if b.value == nil then return true end
    if type(a.value) ~= type(b.value) then return type(a.value) < type(b.value) end
    if down then return a.value > b.value end
    return a.value < b.value
  end
  return a.key < b.key
end

local function value_of(v)
  if v == json.null or type(v) == "table" then return nil end
  return type(v) == "boolean" and tostring(v) or v
end

local function cursor_of(entry, q)
  return json.encode(json.array { entry.value == nil and json.null or entry.value, entry.key, q.order })
end

-- -> {value, key} | nil, err
local function cursor(q)
  local c = json.decode(q.after)
  if type(c) ~= "table" or not json.is_array(c) or type(c[2]) ~= "string" or type(c[1]) == "table" or #c > 3 then
    return bad("after", "a cursor from a Link expected")
  end
  if c[3] ~= q.order then
    local is = type(c[3]) == "string" and "sort=" .. c[3]:sub(1, 64) or "none"
    return bad("after", ("a cursor of this order expected, not of %s"):format(is))
  end
  return { value = value_of(c[1]), key = c[2] }
end

-- Puts it where it belongs among the best `most`.
local function keep(best, entry, most, down)
  local low, high = 1, #best + 1
  while low < high do
    local mid = math.floor((low + high) / 2)
    if before(entry, best[mid], down) then high = mid else low = mid + 1 end
  end
  if low > most then return end
  table.insert(best, low, entry)
  best[most + 1] = nil
end

local function key_of(source, rec)
  if type(source.key) == "function" then return source.key(rec) end
  return text_of(rec[source.key or "id"])
end

-- Everything that a source has, one by one: fn(item, key or nil). -> true | nil, err
local function each(source, fn)
  if source.items then
    for _, item in ipairs(source.items) do fn(item) end
    return true
  end
  local after
  repeat
    local page, err = source.scan(after, source.batch or BATCH)
    if not page then return nil, err end
    for i, item in ipairs(page.texts or page.items) do fn(item, page.keys[i]) end
    after = page.after
  until not after
  return true
end

local function sorted(req, source, q)
  local from, err
  if q.after then
    from, err = cursor(q)
    if not from then return nil, err end
  end
  local best, pause = {}, slices.new()
  local ok, serr = each(source, function(item, key)
    local rec = as_table(item)
    if fits(rec, q.filters) then
      local entry = { value = q.sort and value_of(rec[q.sort]), key = key or key_of(source, rec), item = item }
      if not from or before(from, entry, q.down) then keep(best, entry, q.limit + 1, q.down) end
    end
    pause()
  end)
  if not ok then return nil, serr end
  local items = {}
  for i = 1, math.min(#best, q.limit) do items[i] = best[i].item end
  local more = #best > q.limit and { limit = q.limit, name = "after", value = cursor_of(best[q.limit], q) } or nil
  return told(req, items, q.fields, more)
end

function M.answer(req, source)
  local q, err = read(req.http, req.options)
  if not q then return nil, err end
  if q.sort or source.items then return sorted(req, source, q) end
  return scanned(req, source, q)
end

return M
