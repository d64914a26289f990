-- The price book: what plans and prices were in force when. Each edit of policies/plans.lua that changes them makes another
-- book, in force from the moment at which it was taken; within a book each price is good from its own day on. So what a
-- moment costs is one question with one answer, whoever asks it and however late.
--
--   book.note(plans)          [yields] serve's, for every set of policies that comes into force
--   book.take(tx, n)          in an update that has put book `n` of an export
--   book.last(tx)             -> the number of the newest book, in an update (0: none)
--   book.at(tx, t)            -> the number of the one that was in force at `t`
--   book.get(n [, tx])        -> {n =, from = unix ms, currency =, default =, plans =, price =}, immutable. [in an update] with
--                                its tx: the newest one may be in a commit under way
--   book.now()                -> the newest one that is committed
--   book.plan(b, name)        -> the plan, or the default one where the book does not have it; `b`: also the table of plans.lua
--   book.rate(b, state, type, gib, t) -> micro-units an hour at `t`, version of the price (a text)
--   book.fee(plan, t)         -> micro-units a month
--   book.next_date(b, t)      -> the first moment behind `t` at which a price of the book changes, or nil
--
-- Records: "price_book" (id: eight digits), and meta/price_book {last =}.

local amount = require "billing.amount"
local json = require "json"
local plain = require "plain"
local steady = require "steady"
local store = require "store"
local time = require "time"

local M = {}

local read = {} -- [n] = a book; books do not change

local function key(n) return ("%08d"):format(n) end

local FIELDS = { "fee", "included", "trial", "overage", "grace" } -- of a plan, that money depends on

local function snapshot(plans)
  local out = { currency = plans.currency or "USD", default = plans.default, plans = {}, price = plans.price or {} }
  for name, plan in pairs(plans.plans) do
    local p = {}
    for _, f in ipairs(FIELDS) do p[f] = plan[f] end
    out.plans[name] = p
  end
  return json.decode(json.encode(out)) -- as the store will give it back
end

local function day(text) return time.parse(text .. "T00:00:00Z") end

-- Times as numbers, once a book.
local function ready(b)
  b.dates = {}
  for _, p in ipairs(b.price) do
    p.at = day(p.from)
    b.dates[#b.dates + 1] = p.at
  end
  for _, plan in pairs(b.plans) do
    for _, f in ipairs(plan.fee or {}) do f.at = day(f.from) end
  end
  return b
end

function M.get(n, tx)
  if read[n] then return read[n] end
  local b = store.get("price_book", key(n))
  if b then
    read[n] = ready(b)
    return b
  end
  return ready(assert(tx and tx:get("price_book", key(n)), "the price book is gone"))
end

function M.now() return M.get((store.get("meta", "price_book") or { last = 1 }).last) end

function M.last(tx)
  local meta = tx:get("meta", "price_book")
  return meta and meta.last or 0
end

function M.take(tx, n)
  if n > M.last(tx) then tx:put("meta", "price_book", { last = n }) end
end

function M.note(plans)
  local new = snapshot(plans)
  return store.update(function(tx)
    local n = M.last(tx)
    local old = n > 0 and tx:get("price_book", key(n))
    new.n, new.from = n, old and old.from
    if old and plain.same(old, new) then return true end
    new.n, new.from = n + 1, old and math.max(old.from + 1, math.floor(steady.now())) or 0
    tx:put("price_book", key(n + 1), new)
    tx:put("meta", "price_book", { last = n + 1 })
    tx:log("price_book", key(n + 1), "in_force", { from = time.rfc3339(new.from) }, "policy")
    return true
  end)
end

-- ---- reading one

function M.at(tx, t)
  for n = M.last(tx), 2, -1 do
    if M.get(n, tx).from <= t then return n end
  end
  return 1
end

function M.plan(b, name) return b.plans[name] or b.plans[b.default] end

-- The last entry of a list that is in force at `t`, and its place.
local function at(list, t)
  for i = #list, 1, -1 do
    if list[i].at <= t then return list[i], i end
  end
end

function M.rate(b, state, type, gib, t)
  local p, i = at(b.price, t)
  if not p then return 0, b.n .. ".0" end
  local rate = state == "RUNNING" and (p.hour[type] or 0) or state == "STOPPED" and (p.storage or 0) * gib or 0
  return math.min(rate, amount.MOST), b.n .. "." .. i
end

-- What an hour bought beforehand costs.
function M.block_rate(b, type, t)
  local p = at(b.price, t)
  if not p then return 0 end
  return p.block and p.block[type] or p.hour[type] or 0
end

function M.fee(plan, t)
  local f = plan.fee and at(plan.fee, t)
  return f and f.month or 0
end

function M.next_date(b, t)
  for _, date in ipairs(b.dates) do
    if date > t then return date end
  end
end

return M
