-- The ledger: an append-only, double-entry book per account. An entry is an entry of the log under ("ledger", owner), so it is
-- hash-chained like all of the log; the record "ledger" holds the balances, which are a reading of the entries, and the meter
-- (meter.lua). The index "ledger_entry" has the id of every entry: what caused one twice is one.
--
--   ledger.change(tx, owner, t, by, fn) -> account     in an update: brings the account up to `t` (unix ms; never back), then
--       fn(x), x as meter.lua has it; writes what comes of it
--   ledger.reckon(tx, owner, t, fn) -> x, ledger.write(tx, x, by)    its two halves: what is wrong raises in the first, in which
--       nothing has been written yet
--   ledger.post_once(x, entry) -> true, or false when it was there
--   ledger.next(account) -> unix ms or nil
--   ledger.unbilled(tx) -> true or nil: whether an account without a subscription is so (meter.lua)
--   ledger.get(owner) -> account or nil
--   ledger.look(owner, t) -> x whose account is reckoned up to `t`, with all that is open, and `entries`: what of it is not
--       written yet; or nil
--   ledger.books()            the books of prices, as meter.lua asks for them
--   ledger.entries(owner, {before = seq, limit =}) -> {entry, ...} newest first, each with seq, at, and prev as the log has
--       them; `before`: from the entry of that seq on, which is the prev of one
--   ledger.carry(tx, owner, acct, from)   in an update that has put an account of an export
--   ledger.verify(each) -> {accounts =, entries =, faults = {text, ...}}     [yields]
--
-- What was posted of a machine in a month stands in the record "usage", too (segments.lua): a reading kept for speed, which
-- proof.lua compares with the log. The index "usage_month" has OWNER/YYYY-MM/MACHINE for each.
--
-- An export has no log: an account that is imported begins again with an entry "imported" that has its balances, and stands for
-- all the entries (`carries`) that made them.

local book = require "billing.book"
local meter = require "billing.meter"
local months = require "billing.months"
local segments = require "billing.segments"
local json = require "json"
local slices = require "slices"
local store = require "store"
local task = require "task"
local time = require "time"
local walk = require "walk"

local M = {}

local PAGE = 500
local MOST = 2 ^ 53 - 1 -- of a balance: beyond it one more is not one more

-- micro-units; all others are milliseconds
M.money = { credit = true, owed = true, revenue = true, payments = true, refunds = true, adjustments = true, waived = true }

local function is_hours_of_user(account)
  return account == "included" or account == "bonus" or account:sub(1, 6) == "block:"
end

-- What is wrong with an entry's postings on these balances (which it changes), or nil.
local function apply(balances, entry)
  local micro, ms = 0, 0
  for _, p in ipairs(entry.postings) do
    local account, value = p[1], p[2]
    if value % 1 ~= 0 then return account .. ": a whole number expected" end
    if M.money[account] then micro = micro + value else ms = ms + value end
    local now = (balances[account] or 0) + value
    if now < 0 and (account == "credit" or is_hours_of_user(account)) then return account .. " would be below 0" end
    if math.abs(now) > MOST then return account .. " would be beyond what is counted exactly" end
    if now > 0 and account == "owed" then return "more than is owed would be given back" end
    balances[account] = now ~= 0 and now or nil
  end
  if micro ~= 0 or ms ~= 0 then return "its postings do not come to 0" end
end

-- ---- usage

local function usage_key(machine, t) return machine .. "/" .. months.name(t) end

local function note_segment(tx, owner, e)
  local key = usage_key(e.machine, e.from)
  local old = tx:get("usage", key)
  tx:put("usage", key, segments.add(old, e), owner)
  if not old then tx:index("usage_month", ("%s/%s/%s"):format(owner, months.name(e.from), e.machine), "") end
end

-- The months in which something can have begun that is taken back at `t`: this one and the one before.
local function months_of(t) return { t, months.from(t) - 1 } end

local function cut_segment(tx, owner, e)
  for _, at in ipairs(months_of(e.from)) do
    local key = usage_key(e.machine, at)
    local old = tx:get("usage", key)
    local rec = old and segments.cut(old, e.from)
    if rec then return tx:put("usage", key, rec, owner) end
  end
end

-- What was posted of a machine, newest first, of this month of `t` and the one before: further back nothing is taken.
local function segments_of(tx, machine, t)
  local out = {}
  for _, at in ipairs(months_of(t)) do
    local list = {}
    segments.each(tx:get("usage", usage_key(machine, at)), 0, math.huge, function(s) list[#list + 1] = s end)
    for i = #list, 1, -1 do out[#out + 1] = list[i] end
  end
  return out
end

-- ---- changing

-- What an update reads by, outside of one.
M.committed = { get = function(_, kind, id) return (store.get(kind, id)) end,
  lookup = function(_, index, key) return (store.lookup(index, key)) end }

-- Where money is asked for, who has no subscription is billed for nothing. (Where it is not, it is all in the books, for whoever
-- bills by hand.)
function M.unbilled(tx) return (tx:get("meta", "stripe") or {}).on == true or nil end

local function new_account(tx, owner, t)
  local user = tx:get("user", owner)
  local acct = meter.new(owner, user and user.plan or book.get(book.last(tx), tx).default, t)
  acct.unbilled = M.unbilled(tx)
  return acct
end

-- The books, as meter.lua asks for them.
local function books_of(tx)
  return {
    get = function(n) return book.get(n, tx) end, at = function(t) return book.at(tx, t) end, last = book.last(tx),
    plan = book.plan, rate = book.rate, fee = book.fee, next_date = book.next_date,
  }
end

-- Posts an entry, unless one with its id is there. -> whether it was posted
function M.post_once(x, entry)
  if x.ids[entry.id] or x.known(entry.id) then return false end
  local why = apply(x.acct.balances, entry)
  if why then error(("ledger entry %s: %s"):format(entry.id, why), 0) end
  x.acct.entries = x.acct.entries + 1
  x.ids[entry.id] = x.acct.managed
  x.entries[#x.entries + 1] = entry
  return true
end

local function write(tx, owner, by, e)
  tx:index("ledger_entry", e.id, owner)
  local data = {}
  for k, v in pairs(e) do data[k] = v end
  data.at = time.rfc3339(e.at)
  tx:log("ledger", owner, e.type, data, by)
  if e.type == "usage" then note_segment(tx, owner, e) end
  if e.type == "return" then cut_segment(tx, owner, e) end
end

-- Of what is committed: for a meter that is run on nothing.
function M.books() return books_of(M.committed) end

-- What the meter works on (meter.lua). Entries are collected: nothing is written before all of it has succeeded.
local function work_on(reader, acct)
  local x = { acct = acct, books = books_of(reader), ids = {}, entries = {} }
  function x.known(id) return reader:lookup("ledger_entry", id) ~= nil end
  function x.post(e) return M.post_once(x, e) end
  function x.segments(machine) return segments_of(reader, machine, x.acct.at) end
  return x
end

function M.reckon(tx, owner, t, fn)
  t = math.floor(t)
  local acct = tx:get("ledger", owner)
  local x = work_on(tx, acct or new_account(tx, owner, t))
  if not acct then meter.begin(x, t) end
  meter.advance(x, t)
  fn(x)
  return x
end

-- Whichever process writes an entry, what is owed by it is reported: so that is asked for here, and by no hook.
function M.write(tx, x, by)
  for _, e in ipairs(x.entries) do
    write(tx, x.acct.owner, by, e)
    require("stripe.usage").on_entry(tx, x.acct, e, x.ids[e.id])
  end
  tx:put("ledger", x.acct.owner, x.acct, x.acct.owner)
  return x.acct
end

function M.change(tx, owner, t, by, fn) return M.write(tx, M.reckon(tx, owner, t, fn), by) end

-- In an update that has put an account of an export: the entry with which its log begins here.
function M.carry(tx, owner, acct, from)
  local list = json.array {}
  for account, value in pairs(acct.balances) do list[#list + 1] = json.array { account, value } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  local id = ("imported/%s/%s"):format(owner, from)
  local at = time.rfc3339(acct.at)
  tx:log("ledger", owner, "imported", { id = id, at = at, postings = list, carries = acct.entries }, "operator")
end

-- ---- reading

function M.get(owner) return store.get("ledger", owner) end

-- A view in which nothing is written: what has happened by `t`, posted or not. The account is changed: give a copy.
function M.view(acct, t, tx)
  local x = work_on(tx or M.committed, acct)
  meter.advance(x, math.floor(t))
  meter.settle(x, math.floor(t))
  return x
end

-- The same of an account that has no ledger yet: as it would begin now.
function M.fresh(owner, t, tx)
  local reader = tx or M.committed
  local x = work_on(reader, new_account(reader, owner, t))
  meter.begin(x, t)
  return x
end

-- When something happens by itself next (meter.next).
function M.next(acct) return (meter.next(work_on(M.committed, acct))) end

function M.look(owner, t)
  local acct = M.get(owner)
  return acct and M.view(acct, t)
end

local function decoded(e)
  local data = json.decode(e.data)
  data.seq, data.prev, data.type, data.by, data.logged_at = e.seq, e.prev, e.type, e.by, time.rfc3339(e.at)
  return data
end

function M.entries(owner, options)
  local out, limit = {}, options and options.limit or 100
  local seq = options and options.before
  if not seq then
    for i, e in ipairs(assert(store.history("ledger", owner, { limit = limit }))) do out[i] = decoded(e) end
    return out
  end
  while #out < limit and seq > 0 do
    local e = assert(store.log { after = seq - 1, limit = 1 })[1]
    if not e or e.seq ~= seq or e.kind ~= "ledger" or e.id ~= owner then break end
    out[#out + 1] = decoded(e)
    seq = e.prev
  end
  return out
end

-- ---- proof

local function same_balances(a, b)
  for k, v in pairs(a) do
    if b[k] ~= v then return k end
  end
  for k, v in pairs(b) do
    if a[k] ~= v then return k end
  end
end

-- The entries of one account, oldest first, on no balances at all. -> entries, fault or nil
local function verify_one(owner, acct)
  local seqs, seq = {}, nil
  for _, e in ipairs(assert(store.history("ledger", owner, { limit = 1 }))) do seq = e.seq end
  while seq and seq > 0 do
    seqs[#seqs + 1] = seq
    seq = assert(store.log { after = seq - 1, limit = 1 })[1].prev
    if #seqs % PAGE == 0 then task.sleep(0) end
  end
  local balances, n = {}, 0
  for i = #seqs, 1, -1 do
    local e = decoded(assert(store.log { after = seqs[i] - 1, limit = 1 })[1])
    n = n + (e.carries or 1)
    local why = apply(balances, e)
    if not why and not e.carries and store.lookup("ledger_entry", e.id) ~= owner then why = "its id is not in the index" end
    if why then return #seqs, ("%s: entry %s (%d): %s"):format(owner, e.id, e.seq, why) end
    if i % PAGE == 0 then task.sleep(0) end
  end
  if n ~= acct.entries then
    return #seqs, ("%s: %d entries, and the account says %d"):format(owner, n, acct.entries)
  end
  local differs = same_balances(balances, acct.balances)
  if differs then
    return #seqs, ("%s: %s is %d, and its entries come to %d"):format(owner, differs, acct.balances[differs] or 0,
      balances[differs] or 0)
  end
  return #seqs
end

-- `each(owner, entries)` is called after every account.
function M.verify(each)
  local out, pause = { accounts = 0, entries = 0, faults = {} }, slices.new()
  for row in walk.kind("ledger", { limit = 100 }) do
    local n, fault = verify_one(row.id, json.decode(row.json))
    out.accounts, out.entries = out.accounts + 1, out.entries + n
    if fault then out.faults[#out.faults + 1] = fault end
    if each then each(row.id, n) end
    pause()
  end
  return out
end

return M
