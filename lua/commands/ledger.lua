-- cchost ledger: the accounts' books, their proof, and what an operator does to them.

local users = require "accounts.users"
local accounts = require "billing.accounts"
local amount = require "billing.amount"
local ledger = require "billing.ledger"
local proof = require "billing.proof"
local reading = require "billing.reading"
local command = require "command"
local crypto = require "crypto"
local json = require "json"
local script = require "script"
local setup = require "setup"
local sorted_keys = require "sorted_keys"
local steady = require "steady"
local store = require "store"
local walk = require "walk"

local M = {}

local USAGE = "cchost ledger [USER] [--entries] [--verify] [--json], or [adjust|pay|hours USER AMOUNT --reason=TEXT [--id=ID]]"

M.help = [[
usage: cchost ledger [USER] [--entries] [--json]
       cchost ledger --verify [--json]
       cchost ledger adjust USER AMOUNT --reason=TEXT [--id=ID]
       cchost ledger pay USER AMOUNT --reason=TEXT [--id=ID]
       cchost ledger hours USER HOURS --reason=TEXT [--id=ID]

Every account's balances, or one's; USER is a uuid, a number or an email address. Amounts are exact decimals.

  --entries    the entries of USER, newest first
  --verify     adds up the entries of every account and compares them with its balances, and what was metered of every
               machine with its log, to the millisecond; says how many were checked. What differs is told, and the exit
               code is 1
  --json       as the API tells it, one JSON object a line

  adjust       gives credit: what is owed becomes less first. A negative amount takes it
  pay          money that came in another way than by Stripe
  hours        hours of machines that do not end with the month
  --reason     stands in the entry, for ever: no personal data
  --id         names the cause: the same one a second time changes nothing. Without it each call is another
]]

local function must_be(value, why)
  if value == nil then command.usage("%s", why) end
  return value
end

-- The account that a user has, or had. -> owner, how to call him
local function account(key)
  local user, err = users.find(key)
  if user then return user.id, user.email ~= json.null and user.email or user.id end
  if ledger.get(key) then return key, key end
  command.fail("%s", err.message)
end

local function now() return math.floor(steady.now()) end

-- ---- telling

local function net(b) return amount.text(b.credit or 0), amount.text(-(b.owed or 0)) end

local function tell(owner, name, as_json)
  local x = ledger.look(owner, now())
  if not x then
    return as_json and command.out("%s", json.encode { user_id = owner, balances = {}, entries = 0 })
      or command.out("%-36s  nothing in its books", name)
  end
  local acct = x.acct
  if as_json then
    return command.out("%s", json.encode { user_id = owner, plan = acct.plan, entries = acct.entries, balances = acct.balances })
  end
  local credit, owed = net(acct.balances)
  local left = (acct.balances.included or 0) + (acct.balances.bonus or 0)
  command.out("%-36s  %-8s credit %s  owed %s  hours left %.2f  %d entries", name, acct.plan, credit, owed, left / amount.HOUR,
    acct.entries)
end

local function tell_balances(owner)
  local balances = ledger.look(owner, now()).acct.balances
  for _, name in ipairs(sorted_keys(balances)) do
    local value = balances[name]
    command.out("  %-50s %18s", name, ledger.money[name] and amount.text(value) or ("%.6f h"):format(value / amount.HOUR))
  end
end

local function tell_all(as_json)
  for row in walk.kind("ledger") do
    local user = users.get(row.id)
    tell(row.id, user and user.email ~= json.null and user.email or row.id, as_json)
  end
end

local function entry_line(e)
  local words = {}
  for _, p in ipairs(e.postings) do
    words[#words + 1] = ("%s %s"):format(p.account, p.amount or ("%.6f h"):format(p.ms / amount.HOUR))
  end
  local what = table.concat(words, ", ") .. (e.reason and "  " .. e.reason or "")
  return ("%8d %s %-12s %s  %s"):format(e.seq, e.at, e.type, e.id, what)
end

local function tell_entries(owner, as_json)
  local before
  repeat
    local page = ledger.entries(owner, { before = before, limit = 200 })
    for _, e in ipairs(page) do
      local told = reading.entry(e)
      command.out("%s", as_json and json.encode(told) or (entry_line(told):gsub("%c", " ")))
      before = e.prev
    end
  until #page < 200 or before == 0
end

-- ---- the proof

local function verify(as_json)
  local n = 0
  local function each()
    n = n + 1
    script.progress("%d accounts and machines checked", n)
  end
  local books, used = ledger.verify(each), proof.verify(each)
  script.end_progress()
  local faults = json.array {}
  for _, list in ipairs { books.faults, used.faults } do
    for _, fault in ipairs(list) do faults[#faults + 1] = fault end
  end
  if as_json then
    command.out("%s", json.encode {
      accounts = books.accounts, entries = books.entries, machines = used.machines, intervals = used.intervals, faults = faults,
    })
  else
    for _, fault in ipairs(faults) do command.out("%s", fault) end
    command.out("%s: %d entries of %d accounts; %d intervals of %d machines against their logs",
      #faults == 0 and "the books balance" or ("%d FAULTS"):format(#faults), books.entries, books.accounts, used.intervals,
      used.machines)
  end
  return #faults == 0 and 0 or 1
end

-- ---- changing

local function by_amount(text, positive)
  local micro, why = amount.parse(text)
  if not micro then command.usage("AMOUNT: %s", why) end
  if micro == 0 then command.usage("AMOUNT: one that is not 0 expected") end
  if positive and micro < 0 then command.usage("AMOUNT: one above 0 expected") end
  return { micro = micro }
end

local actions = {
  adjust = { read = by_amount, done = accounts.adjust },
  pay = { read = function(text) return by_amount(text, true) end, done = accounts.pay },
  hours = {
    read = function(text)
      local n = text:match("^%d+%.?%d*$") and tonumber(text)
      if not n or n <= 0 then command.usage("HOURS: a number above 0 expected") end
      if n * amount.HOUR < 1 or n > 1e6 then
        command.usage("HOURS: a number from a millisecond (0.0000003) to 1000000 expected")
      end
      return { hours = n }
    end,
    done = accounts.give_hours,
  },
}

local function act(name, key, value, options, settings)
  local action = actions[name]
  local e = action.read(value)
  must_be(options.reason, "--reason=TEXT expected: it stands in the entry")
  command.must(setup.open(settings, { serve = false }))
  local owner, called = account(key)
  e.id = ("%s/%s/%s"):format(name, owner, options.id or crypto.token(8))
  e.reason, e.by = options.reason, "operator"
  local posted = command.must(store.update(function(tx) return { action.done(tx, owner, e) } end))[1]
  if options.json then return command.out("%s", json.encode { id = e.id, posted = posted }) end
  command.out("%s", posted and "posted as " .. e.id or "nothing changed: " .. e.id .. " was posted before")
  tell(owner, called)
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = USAGE, words = { 0, 3 }, below_zero = true,
    options = { entries = "flag", verify = "flag", json = "flag", reason = "text", id = "text" },
  })
  if options.id and #options.id > 128 then command.usage("--id: at most 128 bytes expected") end
  if options.reason and #options.reason > 500 then command.usage("--reason: at most 500 bytes expected") end
  command.at_store(settings)
  if #words == 3 then
    if not actions[words[1]] then command.usage("usage: %s", USAGE) end
    return act(words[1], words[2], words[3], options, settings)
  end
  if #words == 2 then command.usage("usage: %s", USAGE) end
  command.open(settings)
  setup.adopt_clock()
  if options.verify then
    if words[1] then command.usage("--verify is of all accounts") end
    return verify(options.json)
  end
  if not words[1] then return tell_all(options.json) end
  local owner, name = account(words[1])
  if options.entries then return tell_entries(owner, options.json) end
  tell(owner, name, options.json)
  if not options.json and ledger.get(owner) then tell_balances(owner) end
end

return M
