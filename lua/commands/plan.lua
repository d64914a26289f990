-- cchost plan: an account's plan, and the operator's word that it has another one.

local accounts = require "billing.accounts"
local command = require "command"
local instances = require "instances"
local json = require "json"
local setup = require "setup"
local users = require "accounts.users"

local M = {}

local USAGE = "cchost plan USER [PLAN --reason=TEXT] [--json]"

M.help = [[
usage: cchost plan USER [--json]
       cchost plan USER PLAN --reason=TEXT [--json]

The plan that an account has, and whether it was given or is that of a subscription at Stripe; USER is a uuid, a number
or an email address. With PLAN (policies/plans.lua) the account is given that plan, from now on: it needs no subscription
for it. Where money is asked for (Stripe is set up) it then has no fee, and when its hours are used it goes on with
credit only; elsewhere its fee and what it uses beyond are in the books (cchost ledger). The default plan takes back
what was given. A plan of a subscription is changed at Stripe.

  --reason     stands in the account's record and log
  --json       as JSON: {user_id, plan, granted, subscription_status}

The same over HTTP: PATCH /users/USER {"plan": PLAN, "reason": TEXT}.
]]

local function whose(user)
  if accounts.has_subscription(user) then return "of the subscription " .. user.stripe_subscription_id end
  local g = user.granted
  if not g then return "the default" end
  return ("given by %s at %s%s"):format(g.by, g.at, g.reason and ": " .. g.reason or "")
end

local function tell(user, as_json)
  if as_json then
    return command.out("%s", json.encode {
      user_id = user.id, plan = user.plan, granted = user.granted or json.null,
      subscription_status = user.subscription_status or "inactive",
    })
  end
  command.out("%s  %s, %s", user.email ~= json.null and user.email or user.id, user.plan, whose(user))
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = USAGE, options = { json = "flag", reason = "text" }, words = { 1, 2 },
  })
  local key, plan, reason = words[1], words[2], options.reason
  if plan and not reason then command.usage("--reason=TEXT expected: it stands in the record") end
  if reason and not plan then command.usage("--reason is that of a PLAN") end
  if reason and (#reason > 500 or reason:find("%c")) then
    command.usage("--reason: at most 500 bytes without control characters expected")
  end
  command.at_store(settings)
  command.must(setup.open(settings, { serve = false }))
  if not plan then return tell(command.must(users.find(key)), options.json) end
  tell(command.must(users.patch(instances.operator, key, { plan = plan, reason = reason })), options.json)
end

return M
