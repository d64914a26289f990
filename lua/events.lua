-- The log as events: pages of it, and streams that follow it.
--
-- A stream is a cursor into the log and nothing else: what is behind the cursor is read from the store, a page at a
-- time, and written as fast as its reader takes it. So a reader that falls behind, or comes back after a restart,
-- misses nothing and costs one page of memory. However many streams there are, one task waits for the store to grow
-- and wakes them; those that are level with each other share what was read.
--
-- A query is {kind=, type=, machine=uuid, after=sequence, limit=, newest=}. An actor who is not the operator sees
-- what belongs to him: the owner is the one of the record that the entry is about.

local errors = require "errors"
local history = require "history"
local json = require "json"
local kept = require "policy.kept"
local origin = require "origin"
local rights = require "rights"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local PAGE = 100 -- entries read at once, fewer when they are large:
local BYTES = 1048576 -- of entries read at once, and of a page: one answer must not hold up, nor fill, the process

M.scan = 50000     -- entries of the whole log looked at for one answer, then the client is told where to go on
M.quiet_ms = 15000 -- after which a silent stream says something

-- ---- one entry

local function quoted(text) return json.encode(json.text(text)) end

-- The JSON text of an entry, for an actor (absent: the operator). Its data is JSON already.
function M.text(e, actor)
  local data = e.trimmed and 'null,"trimmed":true' or kept.text(actor, e.data)
  return ('{"seq":%d,"at":"%s","kind":"%s","id":%s,"type":%s,"by":%s,"previous":"%s","hash":"%s","data":%s}'):format(
    e.seq, time.rfc3339(e.at), e.kind, quoted(e.id), quoted(e.type), quoted(e.by), e.before, e.hash, data)
end

-- Whether an actor sees an entry: an admin all of them, others what belongs to them now.
function M.may_see(actor, e)
  if actor.scopes and e.kind == "user" and not actor.scopes["account:read"] then return false end
  if actor.scopes and e.kind == "ledger" and not actor.scopes.billing then return false end
  if actor.admin then return true end
  local _, owner = store.raw(e.kind, e.id)
  return rights.owns(actor, owner)
end

local function wanted(actor, query, e)
  return (not query.kind or e.kind == query.kind) and (not query.type or e.type == query.type)
    and (not query.machine or e.kind == "instance" and e.id == query.machine) and M.may_see(actor, e)
end

-- ---- pages

-- The log behind `after`, entry by entry, in the direction of the query.
local function whole_log(query)
  local block, i, last = {}, 0, query.after or 0
  return function()
    i = i + 1
    if i > #block then
      if query.newest and last == 1 then return nil end
      block, i = assert(store.log { after = last, limit = PAGE, bytes = BYTES, reverse = query.newest }), 1
    end
    if block[i] then last = block[i].seq end
    return block[i]
  end
end

-- Calls fn for each entry until it returns true or `most` were looked at, and lets others run now and then.
-- -> the entry at which it stopped, or nil at the end | nil, err
local function each(next_entry, most, fn)
  local n = 0
  for e in next_entry do
    n = n + 1
    if fn(e) or n == most then return e end
    if n % 1000 == 0 then
      local ok, err = task.sleep(0)
      if not ok then return nil, err end
    end
  end
end

-- A page in the direction in which the entries come.
local function forwards(actor, query, next_entry)
  local texts, last, bytes = {}, query.after, 0
  local stop, err = each(next_entry, M.scan, function(e)
    if not wanted(actor, query, e) then last = e.seq return false end
    if #texts == query.limit or bytes > BYTES then return true end
    texts[#texts + 1] = M.text(e, actor)
    last, bytes = e.seq, bytes + #e.data
    return false
  end)
  if err then return nil, err end
  return { texts = texts, after = stop and last }
end

-- The oldest page of one object's entries behind `after`, though its chain is read from its newest: of what is wanted
-- the sequences of the last `limit` + 1 seen are kept. All of that chain is read: to stop early would leave out the oldest.
local function oldest_of(actor, query)
  local ring, n, size = {}, 0, query.limit + 1
  local _, err = each(history.backwards("instance", query.machine), math.huge, function(e)
    if e.seq <= (query.after or 0) then return true end
    if wanted(actor, query, e) then
      ring[n % size] = e.seq
      n = n + 1
    end
    return false
  end)
  if err then return nil, err end
  local texts, bytes, i = {}, 0, n - 1
  while i >= math.max(0, n - query.limit) and bytes <= BYTES do
    local e = assert(store.log { after = ring[i % size] - 1, limit = 1 })[1]
    texts[#texts + 1] = M.text(e, actor)
    bytes, i = bytes + #e.data, i - 1
  end
  return { texts = texts, after = i >= 0 and #texts > 0 and ring[(i + 1) % size] or nil }
end

local function newest_of(query)
  local next_entry = history.backwards("instance", query.machine)
  return function()
    local e = next_entry()
    while e and query.after and e.seq >= query.after do e = next_entry() end
    return e
  end
end

-- -> {texts = {json...}, after = the sequence to go on behind, or nil at the end} | nil, err
-- A page may hold fewer than `limit` entries, even none, and still have a next one.
function M.page(actor, query)
  if not query.machine then return forwards(actor, query, whole_log(query)) end
  if query.newest then return forwards(actor, query, newest_of(query)) end
  return oldest_of(actor, query)
end

-- ---- streams

local streams = {}          -- [request] = true
local grown = task.signal() -- the log has grown, a client has gone, or all is to end
local seen = 0              -- the sequence up to which the streams have been told
local watcher               -- the one task that waits for the store
local finishing = false
local shared = {}           -- the page read last: {after=, seen=, entries=}
local ahead = PAGE          -- entries in a stream's page: fewer when they are large

local function a_client_has_gone()
  for http in pairs(streams) do
    if http:gone() then return true end
  end
end

local function watch()
  while next(streams) and not finishing do
    local more, err = store.wait(seen, 1)
    if err then break end
    if more then seen = store.stats().log_seq end
    if more or a_client_has_gone() then grown:fire() end
  end
  watcher = nil
end

-- Keeps what a stream holds near 256 KiB: a quarter as many entries after a large page, twice as many after a small one.
local function adapt(entries)
  local bytes = 0
  for _, e in ipairs(entries) do bytes = bytes + #e.data end
  if bytes > 262144 then ahead = math.ceil(ahead / 4) elseif bytes < 65536 then ahead = math.min(PAGE, ahead * 2) end
end

local function behind(after)
  if shared.after ~= after or shared.seen ~= seen then
    shared = { after = after, seen = seen, entries = assert(store.log { after = after, limit = ahead, bytes = BYTES }) }
    adapt(shared.entries)
  end
  return shared.entries
end

local function framed(e, text) return ("id: %d\nevent: %s\ndata: %s\n\n"):format(e.seq, e.type, text) end

local function frame(e, actor)
  if kept.withheld(actor, "billing") then return framed(e, M.text(e, actor)) end
  e.frame = e.frame or framed(e, M.text(e))
  return e.frame
end

local function frames_of(actor, query, entries)
  local frames = {}
  for _, e in ipairs(entries) do
    if wanted(actor, query, e) then frames[#frames + 1] = frame(e, actor) end
  end
  return table.concat(frames)
end

-- Waits for more to read, until `quiet_at` at most. -> true | nil, err
local function rest(quiet_at)
  local ok, err = grown:wait(math.max(0, quiet_at - time.mono()) / 1000)
  if ok or err.code == "timeout" then return true end
  return nil, err
end

-- Writes what is behind query.after, and what comes, until the client goes or all ends.
local function follow(http, actor, query)
  local cursor, quiet_at = query.after, time.mono() + M.quiet_ms
  if not http:write("retry: 1000\n\n") then return end
  while not finishing and not http:gone() and not (actor.credential and actor.credential.revoked) do
    local entries = behind(cursor)
    local text = frames_of(actor, query, entries)
    local ok
    if entries[1] then cursor = entries[#entries].seq end
    if text == "" and time.mono() >= quiet_at then text = ":\n\n" end
    if text ~= "" then
      ok = http:write(text) and (not entries[2] or task.sleep(0)) -- to who reads fast it never waits
      quiet_at = time.mono() + M.quiet_ms
    elseif entries[1] then
      ok = task.sleep(0)
    else
      ok = rest(quiet_at)
    end
    if not ok then return end
  end
end

M.stream_headers = {
  ["Content-Type"] = "text/event-stream; charset=utf-8", ["Cache-Control"] = "no-store", ["X-Accel-Buffering"] = "no",
}

-- Answers with a server-sent stream that begins behind query.after, or now. Returns when it has ended.
-- -> true | nil, err (nothing has been sent)
function M.stream(http, actor, query)
  local head = store.stats().log_seq
  query.after = query.after or head
  if query.after > head then
    return errors.fail("invalid", ("after: the log ends at %d"):format(head), { field = "after" })
  end
  local headers = origin.cors(http) or {}
  for k, v in pairs(M.stream_headers) do headers[k] = v end
  local ok, err = http:start(200, headers)
  if not ok then return nil, err end
  streams[http] = true
  watcher = watcher or task.spawn(watch)
  local ended, why = pcall(follow, http, actor, query)
  streams[http] = nil
  if not ended then error(why, 0) end
  http:finish()
  return true
end

-- Lets every stream look whether it may go on.
function M.look() grown:fire() end

-- Ends every stream after the page that it is writing; for the end of the program.
function M.finish()
  finishing = true
  if watcher then watcher:cancel("the server ends") end
  grown:fire()
end

-- The program does not end after all.
function M.resume() finishing = false end

return M
