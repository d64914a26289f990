-- What a month comes to: an account's entries of that month, by line; and what the same month would have come to under
-- another plan, by running the meter over what was used again.
--
--   invoice.of(owner, from, to, now) -> invoice              a month that is over never changes; the running one is up to `now`
--   invoice.under(owner, from, to, now, plan) -> invoice | nil, err     under the plan of that name [yields]
--     invoice: {owner =, from =, to =, currency =, plan =, lines =, charged =, waived =, paid =, adjusted =, refunded =,
--         opening =, closing =, granted = ms, used = {[how] = ms RUNNING}, running = whether the month goes on}
--     line: {kind = "fee" | "subscription" | "usage" | "storage" | "block" | "payment" | "adjustment" | "refund" | "gift" | ...,
--         micro = what the account was charged (or, where nothing was, what it was given), waived =, ...}
--
-- Micro-units; opening and closing are credit less what is owed: closing = opening + paid + adjusted + refunded - charged,
-- always. What was taken back of an earlier month's usage, as a stop was found late, is a line of the month in which it was.
--
-- Under another plan: the hours and credit that there were at the beginning of the month, what was bought, paid and given in
-- it, and a trial that there was, stay; the month is the calendar's; machines of prepaid hours cost what they cost. What the plan
-- would not have paid for is `waived`: there machines would have been stopped.

local amount = require "billing.amount"
local book = require "billing.book"
local history = require "history"
local json = require "json"
local ledger = require "billing.ledger"
local meter = require "billing.meter"
local slices = require "slices"
local store = require "store"
local time = require "time"
local usage = require "billing.usage"

local M = {}

local HOUR = amount.HOUR

-- ---- the entries of a stretch

-- Whether an entry belongs to [from, to): usage ends in it, all others are made in it.
local function is_of(e, from, to)
  if e.type == "usage" then return e.to > from and e.to <= to end
  return e.at >= from and e.at < to
end

-- fn(entry) for what is not before `from`, newest first, also what is not written yet; at is unix ms.
local function each_back(x, from, fn)
  for i = #x.entries, 1, -1 do
    if x.entries[i].at >= from then fn(x.entries[i]) end
  end
  for row in history.backwards("ledger", x.acct.owner) do
    local e = json.decode(row.data)
    e.at, e.type, e.seq = time.parse(e.at), row.type, row.seq
    if e.at < from then return end
    fn(e)
  end
end

local function postings(e)
  local sum = {}
  for _, p in ipairs(e.postings) do sum[p[1]] = (sum[p[1]] or 0) + p[2] end
  return sum
end

local function user_delta(p) return (p.credit or 0) + (p.owed or 0) end

-- ---- lines

local KIND = { period = "fee", plan = "fee", ["return"] = "usage", credited_back = "block" }
local TOLD = { "machine", "machine_type", "rate", "how", "plan", "hours", "reason", "gib" }

local function line_of(out, e)
  if e.type ~= "usage" and e.type ~= "return" then return nil end
  local key = table.concat({ e.machine, e.machine_type or "", e.state, e.how, e.rate }, "/")
  local line = out.by_key[key]
  if not line then
    line = { kind = e.state == "RUNNING" and "usage" or e.state == "STOPPED" and "storage" or "other", machine = e.machine,
      type = e.machine_type, state = e.state, rate = e.rate, how = e.how, gib = e.gib, ms = 0, micro = 0, waived = 0,
      returned = e.type == "return" or nil }
    out.by_key[key] = line
    out.lines[#out.lines + 1] = line
  end
  return line
end

local function add_usage(out, line, e, charged, waived)
  local ms = (e.to - e.from) * (e.type == "return" and -1 or 1)
  line.ms, line.micro, line.waived = line.ms + ms, line.micro + charged, line.waived + waived
  if e.state == "RUNNING" then out.used[e.how] = (out.used[e.how] or 0) + ms end
end

local function add_entry(out, e, p, charged, waived)
  local delta = user_delta(p)
  out.granted = out.granted + (e.type ~= "expired" and p.included or 0)
  local bonus = p.bonus or 0
  if delta == 0 and charged == 0 and bonus == 0 then return end
  local line = { kind = KIND[e.type] or e.type, at = e.at, id = e.id, micro = (p.revenue or 0) ~= 0 and charged or delta,
    waived = waived, given_ms = bonus ~= 0 and bonus or nil }
  for _, name in ipairs(TOLD) do line[name] = e[name] end
  out.lines[#out.lines + 1] = line
end

local function add(out, e)
  local p = postings(e)
  local waived = -(p.waived or 0)
  local charged = (p.revenue or 0) - waived
  out.charged, out.waived = out.charged + charged, out.waived + waived
  out.paid, out.adjusted = out.paid - (p.payments or 0), out.adjusted - (p.adjustments or 0)
  out.refunded = out.refunded - (p.refunds or 0)
  local line = line_of(out, e)
  if line then return add_usage(out, line, e, charged, waived) end
  add_entry(out, e, p, charged, waived)
end

local function new(x, from, to)
  local current = book.get(x.acct.book)
  return { owner = x.acct.owner, from = from, to = to, currency = current.currency, plan = x.acct.plan, lines = {}, by_key = {},
    charged = 0, waived = 0, paid = 0, adjusted = 0, refunded = 0, granted = 0, used = {} }
end

local ORDER = { fee = 1, subscription = 2, usage = 3, storage = 4, block = 5 }

local function finish(out, opening)
  local rank = {}
  for i, line in ipairs(out.lines) do rank[line] = (ORDER[line.kind] or 9) * 1e6 + i end
  table.sort(out.lines, function(a, b) return rank[a] < rank[b] end)
  out.by_key = nil
  out.opening = opening
  out.closing = opening + out.paid + out.adjusted + out.refunded - out.charged
  return out
end

-- ---- as it was

local function view(owner, now) return ledger.look(owner, now) or ledger.fresh(owner, now) end

-- The entries of [from, to), oldest first, the balances that there were before them, and when the first one since `from` was.
local function recorded(x, from, to)
  local list, before, first = {}, {}, nil
  for account, value in pairs(x.acct.balances) do before[account] = value end
  each_back(x, from, function(e)
    if e.type == "usage" and e.to <= from then return end
    first = e.at
    for account, value in pairs(postings(e)) do before[account] = (before[account] or 0) - value end
    if is_of(e, from, to) then table.insert(list, e) end
  end)
  for i = 1, math.floor(#list / 2) do list[i], list[#list + 1 - i] = list[#list + 1 - i], list[i] end
  return list, before, first
end

function M.of(owner, from, to, now)
  local x = view(owner, math.floor(now))
  local list, before = recorded(x, from, to)
  local out = new(x, from, to)
  for _, e in ipairs(list) do
    if e.plan then out.plan = e.plan end
    add(out, e)
  end
  out.running = now < to
  return finish(out, user_delta(before))
end

-- ---- as it would have been

-- A meter on nothing but these balances, that gives no trial.
local function meter_of(owner, plan, at, balances)
  local x = { acct = meter.new(owner, plan, at), books = ledger.books(), ids = {}, entries = {} }
  function x.known() return false end
  function x.post(e) return ledger.post_once(x, e) end
  function x.segments() return {} end
  for account, value in pairs(balances) do
    local stays = account == "credit" or account == "owed" or account == "bonus"
    if stays and value ~= 0 then x.acct.balances[account] = value end
  end
  local plan_in = x.books.plan
  x.books.plan = function(b, name)
    local out = {}
    for k, v in pairs(plan_in(b, name)) do out[k] = v end
    out.trial = nil
    return out
  end
  meter.begin(x, at)
  return x
end

local OF_PLAN = { usage = true, ["return"] = true, period = true, expired = true, plan = true, forfeited = true }

-- What happened from outside, with postings as these balances have them.
local function repeat_entry(x, e)
  local p = postings(e)
  meter.settle(x, e.at)
  local list = {}
  for account, value in pairs(p) do
    if account == "payments" or account == "adjustments" or account == "refunds" or account == "revenue" then
      list[#list + 1] = { account, value }
    end
  end
  local delta, b = user_delta(p), x.acct.balances
  local first = delta >= 0 and math.min(delta, -(b.owed or 0)) or -math.min(-delta, b.credit or 0)
  local names = delta >= 0 and { "owed", "credit" } or { "credit", "owed" }
  for i, value in ipairs { first, delta - first } do
    if value ~= 0 then list[#list + 1] = { names[i], value } end
  end
  if p.waived then list[#list + 1] = { "waived", p.waived } end
  local bonus = math.max(p.bonus or 0, -(b.bonus or 0))
  if bonus ~= 0 then
    list[#list + 1] = { "bonus", bonus }
    list[#list + 1] = { "granted", -bonus }
  end
  local again = { postings = list }
  for k, v in pairs(e) do
    if k ~= "postings" then again[k] = v end
  end
  ledger.post_once(x, again)
  meter.retune(x, e.at)
end

-- What was used, as times at which a machine becomes something: {{at =, machine =, now = state or nil}, ...}, and what prepaid
-- hours paid for, which no plan changes.
local function times_of(owner, from, to, gibs)
  local by_machine, ids, prepaid = {}, {}, {}
  usage.each(owner, from, to, function(id, s)
    if not by_machine[id] then
      by_machine[id] = {}
      ids[#ids + 1] = id
    end
    table.insert(by_machine[id], s)
    if s.how == "block" then prepaid[id] = true end
  end)
  local out = {}
  for _, id in ipairs(ids) do
    table.sort(by_machine[id], function(a, b) return a.from < b.from end)
    for i, s in ipairs(prepaid[id] and {} or by_machine[id]) do
      local after = by_machine[id][i + 1]
      out[#out + 1] = { at = s.from, machine = id, now = { state = s.state, type = s.type, gib = gibs[id .. s.type] or 0 } }
      if not after or after.from > s.to then out[#out + 1] = { at = s.to, machine = id } end
    end
  end
  return out, prepaid
end

-- The size of each machine's disk, from its entries.
local function gibs_of(list)
  local out = {}
  for _, e in ipairs(list) do
    if e.type == "usage" then out[e.machine .. e.machine_type] = e.gib end
  end
  return out
end

function M.under(owner, from, to, now, plan)
  now = math.floor(now)
  local x = view(owner, now)
  local list, before, first = recorded(x, from, to)
  local is_new = true -- an account that began in this month
  for _, value in pairs(before) do is_new = is_new and value == 0 end
  local start, finish_at = is_new and math.max(from, first or now) or from, math.min(to, now)
  local times, prepaid = times_of(owner, from, finish_at, gibs_of(list))
  for _, e in ipairs(list) do
    if not OF_PLAN[e.type] then times[#times + 1] = { at = e.at, machine = "", entry = e } end
  end
  for i, what in ipairs(times) do what.n = i end
  table.sort(times, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    if a.machine ~= b.machine then return a.machine < b.machine end
    return a.n < b.n
  end)
  local y = meter_of(owner, plan, start, before)
  local pause = slices.new()
  for _, what in ipairs(times) do
    local ok, err = pause()
    if not ok then return nil, err end
    meter.advance(y, what.at)
    if what.entry then repeat_entry(y, what.entry) else meter.set(y, what.machine, what.at, what.now) end
  end
  meter.advance(y, finish_at)
  meter.settle(y, finish_at)
  local out = new(y, from, to)
  for _, e in ipairs(y.entries) do
    if is_of(e, from, to) then add(out, e) end
  end
  for _, e in ipairs(list) do
    if e.type == "usage" and prepaid[e.machine] then add(out, e) end
  end
  out.running = now < to
  return finish(out, user_delta(before))
end

-- ---- in words

local function hours_text(ms) return ("%.2f h"):format(ms / HOUR) end

local PAID = {
  included = "of the plan's hours", bonus = "of given hours", block = "of prepaid hours", overrun = "not charged", free = "free",
}

-- What a line is for.
function M.words(line, name_of)
  if line.kind == "usage" or line.kind == "storage" or line.kind == "other" then
    local what = line.kind == "storage" and ("disk of %g GiB"):format(line.gib or 0) or line.type or line.state:lower()
    local at = line.how == "charged" and ("at %s an hour"):format(amount.text(line.rate)) or PAID[line.how]
    return ("%s, %s, %s %s"):format(name_of(line.machine), what, hours_text(line.ms), at)
  end
  local words = { line.kind }
  words[#words + 1] = line.plan and "plan " .. line.plan
  words[#words + 1] = line.machine and name_of(line.machine)
  words[#words + 1] = line.hours and ("%g h"):format(line.hours) or line.given_ms and hours_text(line.given_ms)
  words[#words + 1] = line.reason
  return table.concat(words, ", ")
end

function M.name_of(id)
  local rec = store.get("instance", id)
  return rec and rec.name or id
end

return M
