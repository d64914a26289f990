-- Usage, money and invoices as clients get them: amounts are exact decimals in text ("12.5"), never floats; hours are numbers for
-- people, with the exact milliseconds beside them where they are summed; times are RFC 3339.
--
--   reading.now(owner, user) -> what GET /billing/usage answers
--   reading.records(owner, from, to) -> {record, ...} in the order of time
--   reading.place(record) -> text: where it stands in that order, whatever is used meanwhile
--   reading.days(owner, from, to) -> {day, ...} of UTC, the oldest first, also those on which nothing was used
--   reading.summary(owner, from, to) -> what GET /billing/summary answers
--   reading.invoice(inv) -> an invoice (invoice.lua)      reading.entry(e) -> an entry (ledger.entries)
--   reading.hours(owner) -> hours of the running period, of machines that ran
--   reading.clock(t, now) -> "17:42 UTC", with the day where that is another

local amount = require "billing.amount"
local book = require "billing.book"
local invoice = require "billing.invoice"
local json = require "json"
local ledger = require "billing.ledger"
local standing = require "billing.standing"
local steady = require "steady"
local time = require "time"
local usage = require "billing.usage"

local M = {}

local text, hours, rfc3339 = amount.text, amount.hours, time.rfc3339

local function now() return math.floor(steady.now()) end

function M.clock(t, at)
  local day, clock = rfc3339(t):match("^(.-)T(%d%d:%d%d)")
  return (rfc3339(at):sub(1, 10) == day and "" or day .. " ") .. clock .. " UTC"
end

function M.hours(owner)
  local x = ledger.look(owner, now())
  if not x then return 0 end
  return hours((x.acct.balances.used or 0) - (x.acct.period and x.acct.period.used or 0))
end

local function machines_now(open)
  local out = json.array {}
  for id, m in pairs(open) do
    out[#out + 1] = { id = id, type = m.type, state = m.state, since = rfc3339(m.since), rate = text(m.rate), paid_by = m.how }
  end
  table.sort(out, function(a, b) return a.id < b.id end)
  return out
end

function M.now(owner, user)
  local t = now()
  local s = standing.of(owner, t)
  local b, p = s.balances, s.period
  local ends = s.runs_out_at
  return {
    plan = s.plan, subscription_status = user and user.subscription_status or "inactive", usage_hours = hours(s.used),
    period = p and { start = rfc3339(p.from), ["end"] = rfc3339(p.to) } or json.null, currency = s.currency,
    included_hours_left = hours(b.included or 0), bonus_hours_left = hours(b.bonus or 0),
    credit = text(s.credit), owed = text(s.owed), rate = text(s.rate),
    cost = text(usage.totals(owner, p and p.from or 0, t).charged),
    runs_out_at = ends and rfc3339(ends) or json.null,
    runs_out = ends and (ends <= t and "you have run out" or "you run out at " .. M.clock(ends, t)) or json.null,
    machines = machines_now(s.open),
  }
end

function M.records(owner, from, to)
  local out = json.array {}
  usage.each(owner, from, to, function(id, s)
    local charged, waived = usage.cost(s)
    out[#out + 1] = {
      id = ("%s/%d-%d"):format(id, s.from, s.to), user_id = owner, resource_id = id, resource_type = "INSTANCE",
      quantity = hours(s.to - s.from), unit = "hour", start_time = rfc3339(s.from), end_time = rfc3339(s.to), ms = s.to - s.from,
      state = s.state, machine_type = s.type, rate = text(s.rate), paid_by = s.how, plan = s.plan, amount = text(charged),
      waived = waived ~= 0 and text(waived) or nil,
    }
  end)
  table.sort(out, function(a, b)
    if a.start_time ~= b.start_time then return a.start_time < b.start_time end
    return a.resource_id < b.resource_id
  end)
  return out
end

-- No machine begins two stretches at once.
function M.place(record) return ("%d-%s"):format(time.parse(record.start_time), record.resource_id) end

local DAY = 86400000

-- What is cut at midnights costs its parts (usage.lua), so the days come to the whole.
local function add_days(days, s)
  local from = s.from
  while from < s.to do
    local n = math.floor(from / DAY)
    local ends = math.min(s.to, (n + 1) * DAY)
    local charged, waived = usage.cost { rate = s.rate, how = s.how, from = from, to = ends }
    local day, field = days[n], s.state == "STOPPED" and "storage_ms" or "ms"
    day[field], day.micro, day.waived = day[field] + ends - from, day.micro + charged, day.waived + waived
    from = ends
  end
end

function M.days(owner, from, to)
  local days, out = {}, json.array {}
  local first, last = math.floor(from / DAY), math.floor((to - 1) / DAY)
  for n = first, last do days[n] = { ms = 0, storage_ms = 0, micro = 0, waived = 0 } end
  usage.each(owner, from, to, function(_, s) add_days(days, s) end)
  for n = first, last do
    local d = days[n]
    out[#out + 1] = { day = rfc3339(n * DAY):sub(1, 10), hours = hours(d.ms), ms = d.ms, storage_hours = hours(d.storage_ms),
      amount = text(d.micro), waived = d.waived ~= 0 and text(d.waived) or nil }
  end
  return out
end

function M.summary(owner, from, to)
  local totals, by_type, by_hours = usage.totals(owner, from, to), {}, {}
  for type, micro in pairs(totals.micro) do by_type[type] = text(micro) end
  for type, ms in pairs(totals.ms) do by_hours[type] = hours(ms) end
  local acct = ledger.get(owner)
  return {
    user_id = owner, total_amount = text(totals.charged), usage_by_type = by_type, hours_by_type = by_hours,
    currency = book.get(acct and acct.book or 1).currency, period_start = rfc3339(from), period_end = rfc3339(to),
    usage_hours = hours(totals.running_ms), usage_ms = totals.running_ms, waived = text(totals.waived),
  }
end

local function line(l)
  return {
    kind = l.kind, text = invoice.words(l, invoice.name_of), amount = text(l.micro),
    waived = l.waived ~= 0 and text(l.waived) or nil, at = l.at and rfc3339(l.at) or nil, entry = l.id, machine = l.machine,
    type = l.type or l.machine_type, plan = l.plan, state = l.state, rate = l.rate and text(l.rate) or nil, paid_by = l.how,
    hours = l.ms and hours(l.ms) or l.hours, ms = l.ms, reason = l.reason,
  }
end

function M.invoice(inv)
  local lines, used = json.array {}, {}
  for i, l in ipairs(inv.lines) do lines[i] = line(l) end
  for how, ms in pairs(inv.used) do used[how] = hours(ms) end
  return {
    user_id = inv.owner, period_start = rfc3339(inv.from), period_end = rfc3339(inv.to), running = inv.running, plan = inv.plan,
    currency = inv.currency, lines = lines, total = text(inv.charged), waived = text(inv.waived), paid = text(inv.paid),
    adjusted = text(inv.adjusted), refunded = text(inv.refunded), opening_balance = text(inv.opening),
    closing_balance = text(inv.closing), included_hours = hours(inv.granted), used_hours = used,
  }
end

local FIELDS = { "machine", "machine_type", "state", "how", "plan", "hours", "reason", "gib" }

function M.entry(e)
  local out = { seq = e.seq, id = e.id, type = e.type, at = e.at, by = e.by, postings = json.array {} }
  for _, name in ipairs(FIELDS) do out[name] = e[name] end
  if e.from then out.from, out.to = rfc3339(e.from), rfc3339(e.to) end
  if e.rate then out.rate = text(e.rate) end
  for i, p in ipairs(e.postings) do
    local money = ledger.money[p[1]]
    out.postings[i] = { account = p[1], amount = money and text(p[2]) or nil, ms = not money and p[2] or nil }
  end
  return out
end

return M
