-- Every record and index entry as lines of JSON, and back: to move a store, to read it with other tools, to mend it.
--
--   {"format":"cchost export","version":1,"records":2,"at":"..."}        records: the version of their form (migrations.lua)
--   {"kind":"instance","id":"...","owner":"ann","value":{...}}
--   {"index":"instance_name","key":"ann/box","value":"..."}
--   {"end":true,"records":N,"indexes":M}                                  without it a file was cut off
--
-- The log is not in it, and nothing of kind "meta", which speaks of this store alone: a machine that is imported begins a
-- new chain with one entry that holds its whole record. An import is checked whole, against itself and against the store,
-- before the first write; what is small enough is one commit. Books of accounts come with their balances and what was used; of
-- prices those that the store has already must be the same. Whether money is asked for is the store's, not the file's: what
-- follows from that for those who came is change_over.run's, which whoever imports calls.

local book = require "billing.book"
local change_over = require "billing.change_over"
local errors = require "errors"
local fields = require "machines.fields"
local json = require "json"
local ledger = require "billing.ledger"
local migrations = require "migrations"
local plain = require "plain"
local record = require "machines.record"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local FORMAT, VERSION = "cchost export", 1
local PAGE = 500

M.commit_lines = 200000 -- one commit takes so many (some 30,000 machines, 3 s, 350 MB); a larger import takes several

local function fault(n, format, ...) return errors.fail("invalid", ("line %d: "):format(n) .. format:format(...)) end

-- ---- out

local function each_page(list, name, fn)
  local after, page, err
  repeat
    page, err = list(name, { after = after, limit = PAGE })
    if not page then return nil, err end
    for _, row in ipairs(page) do
      after = row.id or row.key
      fn(row)
    end
    local ok, cancelled = task.sleep(0)
    if not ok then return nil, cancelled end
  until #page < PAGE
  return true
end

-- Calls write(text) for every line, and progress(records so far), where given, for every record. What is written is what the
-- store holds while nothing changes it.
-- -> {records =, indexes =} | nil, err
function M.export(write, progress)
  local n, ok, err = { records = 0, indexes = 0 }, true, nil
  write(json.encode { format = FORMAT, version = VERSION, records = migrations.latest(), at = time.rfc3339(time.now()) })
  for _, kind in ipairs(store.kinds()) do
    if kind ~= "meta" then
      ok, err = each_page(store.list, kind, function(row)
        n.records = n.records + 1
        if progress then progress(n.records) end
        write(('{"kind":"%s","id":%s,"owner":%s,"value":%s}'):format(kind, json.encode(row.id), json.encode(row.owner), row.json))
      end)
    end
    if not ok then return nil, err end
  end
  for _, index in ipairs(store.indexes()) do
    ok, err = each_page(store.scan, index, function(row)
      n.indexes = n.indexes + 1
      write(json.encode { index = index, key = row.key, value = row.value })
    end)
    if not ok then return nil, err end
  end
  write(json.encode { ["end"] = true, records = n.records, indexes = n.indexes })
  return n
end

-- ---- in: one line

local function is_name(v) return type(v) == "string" and #v <= 64 and v:match("^[a-z_]+$") ~= nil end
local function is_key(v) return type(v) == "string" and #v >= 1 and #v <= 400 end
local function is_text(max) return function(v) return type(v) == "string" and #v <= max end end
local function is_object(v) return type(v) == "table" and not json.is_array(v) end

local record_form = { kind = is_name, id = is_key, owner = is_text(64), value = is_object }
local index_form = { index = is_name, key = is_key, value = is_text(400) }

local function check_form(n, item, form)
  for name in pairs(item) do
    if not form[name] then return fault(n, "unknown member '%s'", name) end
  end
  for name, fits in pairs(form) do
    if not fits(item[name]) then return fault(n, "%s: absent, or not what it must be", name) end
  end
  return item
end

-- -> {kind=...} or {index=...} or {end=...} | nil, err naming the line
local function read_line(n, text)
  local item, err = json.decode(text)
  if item == nil then return fault(n, "%s", err.message) end
  if not is_object(item) then return fault(n, "a JSON object expected") end
  if item["end"] then return item end
  return check_form(n, item, item.index and index_form or record_form)
end

local function read_head(text)
  local head = text and json.decode(text)
  if type(head) ~= "table" or head.format ~= FORMAT then return fault(1, "this is no export of cchost") end
  if head.version ~= VERSION then
    return fault(1, "version %s of the format; this cchost knows %d", tostring(head.version), VERSION)
  end
  if type(head.records) ~= "number" or type(head.at) ~= "string" then return fault(1, "records and at expected") end
  if head.records > migrations.latest() then return fault(1, "its records are newer than this cchost; use a newer one") end
  return head
end

-- Calls fn(n, item) -> true | nil, err for every record and index entry. `next_line`: line by line, nil at the end.
-- -> head, lines | nil, err
local function each_item(next_line, fn)
  local head, err = read_head(next_line())
  if not head then return nil, err end
  local n, count, item = 1, { records = 0, indexes = 0 }, nil
  for text in next_line do
    n = n + 1
    item, err = read_line(n, text)
    if not item then return nil, err end
    if item["end"] then break end
    local ok, why = fn(n, item)
    if not ok then return nil, why end
    local of = item.index and "indexes" or "records"
    count[of] = count[of] + 1
  end
  if not item or not item["end"] then return fault(n + 1, "the end is missing: the file was cut off") end
  if item.records ~= count.records or item.indexes ~= count.indexes then return fault(n, "lines are missing above") end
  if next_line() then return fault(n + 1, "something follows the end") end
  return head, n - 2
end

-- ---- in: the check

local function known(item)
  if item.index then return store.lookup(item.index, item.key) ~= nil end
  return store.raw(item.kind, item.id) ~= nil
end

-- A book of prices that is here already, as it is there: both have priced by it.
local function same_book(item)
  return item.kind == "price_book" and plain.same(store.get("price_book", item.id), item.value)
end

local function called(item)
  if item.index then return ("the entry '%s' of the index %s"):format(item.key, item.index) end
  return ("the record %s '%s'"):format(item.kind, item.id)
end

local function version_fault(head)
  local meta = store.get("meta", "schema")
  if meta and meta.version ~= head.records then
    return fault(1, "its records are of version %d, the store's of %d; bring the older one up to date first", head.records,
      meta.version)
  end
  return true
end

local check_indexes

-- Machines of the newest version, whole and with their indexes; older ones are for the migration.
local function check_machines(machines, values)
  for n, rec in pairs(machines) do
    local field = fields.record_fault(rec)
    if field then return fault(n, "value.%s: absent, or not what it must be", field) end
    machines[n] = record.entries(rec)
  end
  return check_indexes(machines, values)
end

-- The index entries that the machines of the file must have, against those that it has. -> true | nil, err
function check_indexes(machines, values)
  local expected = 0
  for n, entries in pairs(machines) do
    for index, list in pairs(entries) do
      for key, value in pairs(list) do
        expected = expected + 1
        if values[index .. "\0" .. key] ~= value then
          return fault(n, "its entry '%s' of the index %s is absent or another's", key, index)
        end
      end
    end
  end
  local there = 0
  for name in pairs(values) do
    if name:match("^instance_") and not name:match("^instance_purged") then there = there + 1 end
  end
  if there ~= expected then return fault(1, "%d entries of indexes belong to no machine of the file", there - expected) end
  return true
end

-- Every line, against the file and against the store. -> head, lines | nil, err
function M.check(next_line)
  local seen, machines, values = {}, {}, {}
  local head, lines = each_item(next_line, function(n, item)
    local what = called(item)
    if seen[what] then return fault(n, "%s is there already, in line %d", what, seen[what]) end
    seen[what] = n
    if item.kind == "meta" then return fault(n, "a record of kind meta, which no export has") end
    if item.kind == "instance" and item.value.id ~= item.id then return fault(n, "value.id: not the record's id") end
    if known(item) and not same_book(item) then return fault(n, "%s is in the store already; nothing was imported", what) end
    if item.index then values[item.index .. "\0" .. item.key] = item.value end
    if item.kind == "instance" then machines[n] = item.value end
    return true
  end)
  if not head then return nil, lines end
  local ok, err = version_fault(head)
  if ok and head.records == migrations.latest() then ok, err = check_machines(machines, values) end
  if not ok then return nil, err end
  return head, lines
end

-- ---- in: the writes

local function write(tx, item, head)
  if item.index then return tx:index(item.index, item.key, item.value) end
  tx:put(item.kind, item.id, item.value, item.owner)
  if item.kind == "ledger" then ledger.carry(tx, item.id, item.value, head.at) end
  if item.kind == "price_book" then book.take(tx, item.value.n) end
  if item.kind == "instance" or item.kind == "volume" and item.value.id then
    tx:log(item.kind, item.id, "imported", {
      full = true, changes = item.value, status = item.value.status, reason = "imported from an export of " .. head.at,
    }, "operator")
  end
end

local function taken(tx, item)
  if item.index then return tx:lookup(item.index, item.key) ~= nil end
  return tx:raw(item.kind, item.id) ~= nil
end

local function commit(items, head)
  return store.update(function(tx)
    if not tx:raw("meta", "schema") then tx:put("meta", "schema", { version = head.records }) end
    for _, item in ipairs(items) do
      local there = taken(tx, item)
      if there and not same_book(item) then return errors.fail("conflict", called(item) .. " came into the store meanwhile") end
      if not there then write(tx, item, head) end
    end
    change_over.again(tx)
    return true
  end)
end

-- open(): the lines from the first on, as an iterator; called twice.
-- -> {lines =, commits =} | nil, err: nothing was imported, but for an import of several commits that failed half-way
function M.import(open)
  local head, lines = M.check(open())
  if not head then return nil, lines end
  local items, done = {}, { lines = lines, commits = 0 }
  local function flush()
    done.commits = done.commits + 1
    local ok, err = commit(items, head)
    items = {}
    return ok, err
  end
  local ok, err = each_item(open(), function(_, item)
    items[#items + 1] = item
    if #items < M.commit_lines then return true end
    return flush()
  end)
  if ok and (#items > 0 or done.commits == 0) then ok, err = flush() end
  if not ok then return nil, err end
  return done
end

return M
