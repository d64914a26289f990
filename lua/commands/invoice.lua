-- cchost invoice: what a month came to for an account, line by line.

local accounts = require "billing.accounts"
local command = require "command"
local invoice = require "billing.invoice"
local json = require "json"
local months = require "billing.months"
local policy = require "policy"
local reading = require "billing.reading"
local setup = require "setup"
local steady = require "steady"
local users = require "accounts.users"

local M = {}

local USAGE = "cchost invoice USER MONTH [--plan=NAME] [--json]"

M.help = "usage: " .. USAGE .. [[


What a month (2026-11) came to for an account, from the entries of its ledger; the running month up to now. USER is a uuid,
a number or an email address. A month that is over never changes: what is found later stands in the month in which it was.

  --plan=NAME   what the same use would have come to under that plan
  --json        as GET /billing/invoices/preview tells it
]]

local function say(inv)
  command.out("%s, %s to %s%s, plan %s, %s", inv.user_id, inv.period_start:sub(1, 10), inv.period_end:sub(1, 10),
    inv.running and " (up to now)" or "", inv.plan, inv.currency)
  for _, l in ipairs(inv.lines) do command.out("  %-90s %14s", l.text:gsub("%c", " "), l.amount) end
  for _, row in ipairs {
    { "total", "total" }, { "not charged", "waived" }, { "balance before", "opening_balance" }, { "paid", "paid" },
    { "corrections", "adjusted" }, { "refunds", "refunded" }, { "balance behind", "closing_balance" },
  } do
    command.out("%-92s %14s", row[1], inv[row[2]])
  end
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = USAGE, options = { json = "flag", plan = "text" }, words = { 2, 2 },
  })
  local from, to = months.parse(words[2])
  if not from then command.usage("MONTH: one like 2026-11 expected") end
  command.open(settings)
  setup.adopt_clock()
  if from > steady.now() then command.usage("MONTH: one that has begun expected") end
  local user = command.must(users.find(words[1]))
  local inv
  if options.plan then
    command.must(policy.open(settings, { serve = false }))
    local fault = accounts.plan_fault(options.plan)
    if fault then command.fail("%s", fault) end
    inv = command.must(invoice.under(user.id, from, to, steady.now(), options.plan))
  else
    inv = invoice.of(user.id, from, to, steady.now())
  end
  local told = reading.invoice(inv)
  if options.json then return command.out("%s", json.encode(told)) end
  say(told)
end

return M
