-- The types of entries in the log, by the kind of object that they are about: what filters, webhooks and figures may name.
--
--   event_types.kinds() -> {kind, ...} in order
--   event_types.list(kind) -> {type, ...} in order, or nil: no such kind
--   event_types.known(kind, type) -> bool
--   event_types.says(kind, type) -> what it tells, a sentence without its full stop
--   event_types.own(kind) -> {[type] = what it tells} of those that are not of operations; event_types.outcomes: of these
--   event_types.fault(word) -> why "KIND" or "KIND.TYPE" names nothing, or nil
--   event_types.filter_fault(kind or nil, type or nil) -> "kind" or "type" and why no entry can fit, or nil
--
-- Types of operations and statuses are made of the workflows and statuses that there are; all others stand here. An entry
-- whose type is missing here is written like any other, and the server's log tells of it (machines/changes.lua), which
-- fails every test.

local sorted_keys = require "sorted_keys"
local spelling = require "spelling"
local statuses = require "statuses"
local workflow = require "workflow"

local M = {}

-- Of an operation: create_asked and so on. `done` only where its workflow has no better name for that (workflow.lua: event).
M.outcomes = {
  asked = "was asked for", running = "has done a step, and goes on", done = "is done",
  failed = "has failed, for good or in a step; `error` tells why", undone = "has had a step taken back",
  superseded = "gave way to what was asked for after it",
}

local IMPORTED = "it came with an export"
local DELETED = "it is deleted"
local TAKEN_OVER = "another process of cchost goes on with its operation"

local own = {
  instance = {
    adopted = "it was found at the provider as it is wanted, and its record says so now", attached = "a volume is attached",
    cancel_asked = "the end of its operation was asked for", changed = "its name, labels or other settings were changed",
    cleaned = "what was left of it at the provider is gone", created = "it was asked for, and has a record",
    delete_again = "it is still to be deleted, and that is tried again", detached = "a volume is detached",
    expiry = "its hours are over", expiry_changed = "its policy says another end", expiry_warning = "its hours end soon",
    extended = "its hours were extended", failed = "it is in the status ERROR; `error` tells why",
    found_again = "it was deleted, and is at the provider all the same",
    found_down = "it is to run, and does not at the provider",
    found_running = "it is to be off, and runs at the provider", given = "it was given to another account",
    healthy = "its agent answers again", hours_ended = "its prepaid hours end with the change of the books",
    idle_warning = "it will be stopped soon, as nobody uses it", imported = IMPORTED, lease_released = "a lease was released",
    lease_taken = "a lease keeps it awake", metered = "the meter counts it from then on",
    migrated = "its record, of an older cchost, was rewritten", purged = "its record is gone for good",
    refunded = "hours that were paid for it were paid back", resized = "it has another type", restarted = "it was restarted",
    restored = "it is as its snapshot was", snapshot_deleted = "a snapshot is deleted", snapshot_taken = "a snapshot is taken",
    suspended = "it stands still, with its memory", taken_over = TAKEN_OVER, unhealthy = "its agent does not answer",
  },
  volume = {
    attached = "it is attached to a machine", available = "it is there", clone_asked = "a clone of it was asked for",
    create_asked = "its creation was asked for again", created = "it was asked for, and has a record",
    creating = "it is being made", deleted = DELETED, deleting = "it is being deleted", detached = "it is attached to no machine",
    error = "it is in the status ERROR; `error` tells why", imported = IMPORTED, restored = "it is as its snapshot was",
    restoring = "it is being put back to a snapshot", snapshot_created = "a snapshot is taken",
    snapshot_deleted = "a snapshot is deleted", snapshotting = "a snapshot is being taken or deleted", taken_over = TAKEN_OVER,
  },
  vpc = {
    applied = "what belongs to it is in force", apply_asked = "what belongs to it is to be put in force again",
    available = "it is there", created = "it was asked for", delete_asked = "its deletion was asked for", deleted = DELETED,
    drift_found = "what is in force was found not to be what belongs to it",
    group_created = "a security group was added", group_deleted = "a security group was deleted",
    machine_regrouped = "a machine is in other security groups", rule_added = "a security group has one more rule",
    rule_removed = "a security group has one rule less",
    subnet_created = "a subnet was added", subnet_deleted = "a subnet was deleted", taken_over = TAKEN_OVER,
  },
  subnet = { created = "it was added", deleted = DELETED },
  security_group = {
    created = "it was added", deleted = DELETED, rule_added = "it has one more rule", rule_removed = "it has one rule less",
  },
  user = {
    billing_hold = "nothing may be started until it is paid for", billing_stop = "machines are stopped until it is paid for",
    billing_warning = "hours or credit end soon", changed = "its name, address, role or plan was changed",
    conversation_deleted = "a conversation was deleted", created = "it was made", customer = "it has a customer at Stripe",
    customer_gone = "its customer at Stripe is deleted", deleted = DELETED, denied = "a policy refused what was asked for",
    order_failed = "an order that is paid for could not be carried out", payment_failed = "a payment has failed",
    preview_created = "a link to a port or terminal was made", preview_revoked = "a link to a port or terminal was revoked",
    resumed = "it is no longer suspended", session_ended = "a session has ended",
    settings_changed = "secrets or settings were changed",
    signed_in = "somebody signed in", ssh_key_added = "an SSH key was added", ssh_key_removed = "an SSH key was removed",
    subscription = "its subscription at Stripe has changed", suspended = "it is suspended: nobody signs in, tokens sleep",
    token_created = "an API token was made", token_revoked = "an API token was revoked",
  },
  ledger = {
    adjustment = "an operator put something right", block = "prepaid hours of a machine were bought",
    credited_back = "prepaid hours of a machine that never ran were given back as credit",
    dispute = "a payment is disputed, or that is over",
    expired = "hours of a period that is over are gone", forfeited = "prepaid hours of a machine that is deleted are gone",
    gift = "hours were given", hours_refunded = "prepaid hours went, as they were paid back",
    imported = "its books came with an export",
    owed_before = "what was owed when a subscription ended is reported with the next", payment = "a payment came in",
    period = "a period begins: its hours, and its fee", plan = "the plan was changed within a period",
    refund = "a payment was paid back",
    ["return"] = "a charge was taken back, as the machine did not run", subscription = "the fee of a subscription was paid",
    trial = "the hours of a trial were given", usage = "a machine ran, or its disk was kept, for a time",
  },
  provider = {
    orphan_deleted = "a machine that no record knows was deleted",
    orphans_due = "machines that no record knows are to be deleted now",
    orphans_found = "there are machines that no record knows", orphans_gone = "fewer machines are there that no record knows",
    reachable = "it answers again", taken_over = TAKEN_OVER, unreachable = "it does not answer",
  },
  policy = {
    canary_returned = "a staged set decides for nobody again: a guard has tripped",
    denied = "a policy refused what has no account",
    policies_changed = "another set is in force", promoted = "a staged set decides for a share of the users",
    staged = "a set was staged", unstaged = "a staged set was taken away",
  },
  server = { upgrade_abandoned = "an upgrade was given up", upgraded = "another program has taken over" },
  price_book = { in_force = "other prices hold from then on" },
  job = { failed = "a scheduled job has failed", recovered = "a scheduled job has gone well again" },
  webhook = {
    changed = "it was changed", created = "it was made", deleted = DELETED, disabled = "it was switched off: why is in `reason`",
    replayed = "it goes on from another place in the log", secret_rotated = "it has another secret",
  },
}
for type, text in pairs(own.webhook) do own.user["webhook_" .. type] = "of a webhook: " .. text end
for _, kind in ipairs { "stripe_cancel", "stripe_event", "stripe_order", "stripe_report" } do
  own[kind] = { parked = "it could not be done, and waits for an operator", retried = "an operator has it tried again" }
end

function M.own(kind)
  local types = own[kind]
  if not types or kind ~= "instance" then return types end
  local out = {}
  for _, s in ipairs(statuses.list()) do
    if s.name ~= "ERROR" then out[s.name:lower()] = "its status is " .. s.name end -- that one is `failed`
  end
  for type, text in pairs(types) do out[type] = text end
  return out
end

local function of(kind)
  local types = M.own(kind)
  if not types then return nil end
  local out = {}
  for op, event in pairs(workflow.of(kind)) do
    for outcome, text in pairs(M.outcomes) do
      if outcome ~= "done" or not event then out[op .. "_" .. outcome] = ("the operation %s %s"):format(op, text) end
    end
  end
  for type, text in pairs(types) do out[type] = text end
  return out
end

function M.kinds() return sorted_keys(own) end

function M.list(kind)
  local types = of(kind)
  return types and sorted_keys(types)
end

function M.says(kind, type) return (of(kind) or {})[type] end

function M.known(kind, type) return M.says(kind, type) ~= nil end

local function meant(name, list)
  local near = spelling.nearest(name, list, math.max(2, math.ceil(#name / 3)))
  return near and ("did you mean '%s'?"):format(near)
end

local LISTED = "`cchost log --types` lists them"

local function kind_fault(kind)
  if own[kind] then return nil end
  local kinds = M.kinds()
  return ("there is no kind of events '%s'; %s"):format(kind, meant(kind, kinds)
    or ("one of %s expected"):format(table.concat(kinds, ", ")))
end

local function type_fault(kind, type)
  if M.known(kind, type) then return nil end
  return ("there is no type '%s' of the kind %s; %s"):format(type, kind, meant(type, M.list(kind)) or LISTED)
end

-- Of no kind.
local function nowhere_fault(type)
  local all = {}
  for _, kind in ipairs(M.kinds()) do
    if M.known(kind, type) then return nil end
    for _, each in ipairs(M.list(kind)) do all[#all + 1] = each end
  end
  return ("there is no type of events '%s'; %s"):format(type, meant(type, all) or LISTED)
end

function M.fault(word)
  local kind, type = word:match("^([a-z_]+)%.?([a-z_]*)$")
  if not kind then return kind_fault(word) end
  return kind_fault(kind) or type ~= "" and type_fault(kind, type) or nil
end

function M.filter_fault(kind, type)
  local why = kind and kind_fault(kind)
  if why then return "kind", why end
  if not type then return nil end
  if kind then why = type_fault(kind, type) else why = nowhere_fault(type) end
  if why then return "type", why end
end

return M
