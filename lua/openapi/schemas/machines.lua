-- Answers about machines, volumes, networks, work and the log, as openapi/schema.lua reads them.

local decisions = require "idle.decisions"
local k = require "openapi.kinds"
local statuses = require "statuses"

local maybe, null, list, map, object, text = k.maybe, k.null, k.list, k.map, k.object, k.text

local M = {}

local status_names = {}
for _, s in ipairs(statuses.list()) do status_names[#status_names + 1] = s.name end

M.Error = object({
  error = text "A sentence for people", code = text "Stable; docs/api.md lists them",
  field = maybe(text "What of the request is at fault"),
  status = maybe(text "Of the machine, as it is now"),
  faults = maybe(list "Fault"),
}, "Why it could not be done")

M.Done = object { message = k.string }

M.Idle = object({
  verdict = k.word("keep", "warn", "stop"), reason = k.string, stops_at = null(k.time), text = text "A sentence for people",
  generation = k.count "Of the policies that decided",
}, "What its policy says now, of one that runs")

M.MachineHealth = object({
  status = k.word("healthy", "failing", "unknown"), failures = k.count "In a row", since = null(k.time),
  error = null(text "The last one"), text = null(text "What is wrong, and what was done about it: a sentence for people"),
  restarted_at = null(k.time),
}, "Whether it is well, of one that runs; `unknown` until its agent was asked, and while its failures are too few for a warning")

local ssh = { "choice", null = true, about = "How one logs in; `why` not; null: it has no keys, or has not run yet", of = {
  object { host = k.string, port = k.count(), user = k.string, host_key = maybe(null(k.string)),
    fingerprint = maybe(null(k.string)) },
  object { why = k.string },
} }

M.Machine = object({
  id = k.id, short = { "string", pattern = "^%x%x%x%x%x%x%x%x%x%x%x%x$" }, name = k.string,
  owner = text "Id of the account, or `operator`",
  provider = k.string, provider_id = null(k.string), image = k.string, type = k.string, location = null(k.string),
  resources = object { vcpu = k.number, memory_mib = k.count(), disk_gib = k.count() },
  ports = list { "integer" }, env = map(k.string), cmd = list(k.string),
  volumes = list(object { id = text "Its name", path = k.string }), vpc_id = null(k.string), subnet_id = null(k.string),
  security_groups = maybe(list(k.string)), address = maybe(null(k.string)), ssh_keys = list(k.string), ssh = ssh,
  labels = map(k.string),
  plan = null(k.string), network = k.word("nat", "none", "host"),
  status = { "string", one_of = status_names }, status_at = k.time, desired = k.word("RUNNING", "STOPPED", "DELETED"),
  deadline_at = null(k.time), created_at = k.time, updated_at = k.time, expires_at = null(k.time), last_activity_at = k.time,
  suspended_at = maybe(null(k.time)), prepaid = maybe(null "Prepaid"), snapshots = maybe(list "MachineSnapshot"),
  operation = null(k.id), queue = list(k.string),
  unenforced = maybe(list(object { what = k.string, why = k.string }, "What of its limits its provider cannot keep")),
  published = maybe(null(list(object { port = k.count(), address = maybe(k.string), at = maybe(k.count()) }))),
  reason = maybe(null(text "Why it was stopped, by a policy")), error = maybe(null(text "Why it is in ERROR")),
  expiry = maybe(null(object { verdict = k.string, reason = maybe(null(k.string)), generation = k.count() })),
  drift = maybe(k.any "What the sweeps have found"), ran_until = maybe(null(k.time)), deleted_at = maybe(null(k.time)),
  stale_since = maybe(null(k.time)), idle = maybe "Idle", health = maybe "MachineHealth", notice = maybe(k.string),
  version = k.version,
}, "A machine")

M.Prepaid = object({
  hours = k.number, paid = k.number, bought = k.number, counts = k.flag, begun_at = null(k.time), refunded = maybe(k.any()),
}, "Its hours, that were bought beforehand or given")

M.MachineSnapshot = object { name = k.string, created_at = k.time }

M.MachineType = object {
  name = k.string, vcpu = k.number, memory_mib = k.count(), disk_gib = k.count(), prepaid = k.flag, hour_micro = maybe(k.micro),
  currency = maybe(k.string), list_eur_micro = maybe(k.micro), locations = maybe(list(k.string,
  "Where it may be had; absent: not known")),
}

M.Offers = object {
  currency = k.string, default = text "A new account's plan", storage_micro = k.micro, checkout = k.flag,
  for_sale = list(k.string),
  plans = list(object {
    name = k.string, month_micro = k.micro, machines = k.count "0: any number", volumes_gib = k.count(), idle_seconds = k.number,
    included_hours = k.number, trial_hours = k.number, overage = k.flag, types = null(list(k.string, "null: all")),
  }, "The cheapest first"),
  types = list(object {
    name = k.string, vcpu = k.number, memory_mib = k.count(), disk_gib = k.count(), prepaid = k.flag, hour_micro = k.micro,
    block_micro = k.micro,
  }),
}

M.ExecResult = object { exit = { "integer" }, stdout = k.string, stderr = k.string, truncated = k.flag }

M.Activity = object({
  last_input_at = maybe(k.ms), clients = maybe(k.count()), foreground = maybe(k.string), load = maybe(k.number),
  turn = maybe(k.flag),
  ssh_sessions = maybe(k.count()),
  leases = maybe(list(object { id = k.string, reason = k.string, until_at = k.ms, since = maybe(k.ms) })),
}, "Claims of the machine")

M.Lease = object {
  id = k.string, machine = k.id, reason = k.string, since = k.time, expires_at = k.time, by = k.string,
  shortened = maybe(k.string),
}

M.Ticket = object { ticket = k.string, expires_at = k.time }

M.Console = object { url = k.string, ticket = k.string, password = k.string, protocol = k.word "binary", expires_at = k.time }

M.Link = object {
  id = k.string, port = maybe(k.count()), session = maybe(k.string), wake = maybe(k.flag), url = k.string, created_at = k.time,
  expires_at = k.time,
}

-- ---- volumes

M.VolumeSnapshot = object { name = k.string, size_gib = k.count(), created_at = k.time }

M.Volume = object({
  id = k.id, name = k.string, owner = k.string, provider = k.string, provider_id = null(k.string), size_gib = k.count(),
  status = k.word("CREATING", "AVAILABLE", "SNAPSHOTTING", "RESTORING", "DELETING", "DELETED", "ERROR"), status_at = k.time,
  deadline_at = null(k.time), attached_to = null(text "Id of the machine"), path = null(k.string),
  from = null(object { volume = k.string, snapshot = null(k.string) }), snapshots = list "VolumeSnapshot", created_at = k.time,
  made_at = null(k.time), deleted_at = maybe(null(k.time)), updated_at = k.time, operation = null(k.id), queue = list(k.string),
  error = maybe(null(k.string)),
  version = k.version,
}, "Data that outlive machines")

-- ---- networks

M.Vpc = object {
  id = k.id, name = k.string, owner = k.string, cidr_block = k.string, bridge = null(k.string), status = k.string,
  desired = k.string,
  subnets = list(object { id = k.id, name = k.string, cidr_block = k.string }), security_groups = list(k.id),
  operation = null(k.id),
  queue = list(k.string), error = maybe(null(k.string)), created_at = k.time, updated_at = k.time, version = k.version,
}

M.Subnet = object {
  id = k.id, name = k.string, owner = k.string, vpc_id = k.id, cidr_block = k.string, gateway = k.string, created_at = k.time,
  updated_at = k.time, version = k.version,
}

M.Rule = object {
  id = k.string, direction = k.word("ingress", "egress"), protocol = k.word("tcp", "udp", "icmp", "all"),
  port_min = null(k.count()),
  port_max = null(k.count()), cidr = null(k.string), group_id = null(k.string), priority = k.count(), action = k.word("allow",
  "deny"),
}

M.SecurityGroup = object {
  id = k.id, name = k.string, owner = k.string, vpc_id = k.id, description = k.string, rules = list "Rule", created_at = k.time,
  updated_at = k.time, version = k.version,
}

-- ---- work, decisions, the log

local fault = null(object { code = k.string, message = k.string, step = maybe(k.string), attempts = maybe(k.count()) })

M.Operation = object({
  id = k.id, kind = k.string, subject = text "Kind of what it is about", machine = text "Id of what it is about",
  state = k.word("queued", "running", "undoing", "done", "failed", "cancelled", "superseded"), step = maybe(null(k.string)),
  attempts = k.count "The try that may be under way counts", last_error = maybe(fault), error = maybe(fault),
  next_at = maybe(null(k.time)), next = maybe(null(text "The operation that tries it anew")), deadline_at = maybe(null(k.time)),
  created_at = k.time, started_at = maybe(null(k.time)), finished_at = maybe(null(k.time)), by = k.string,
  runner = maybe(null(k.string)), trace = maybe(text "The traceparent of the request that asked for it"),
  generation = maybe(k.count()), input = k.any(), results = k.any(), version = k.version,
}, "A piece of work")

local verdict = k.any "A word, or the seconds that were granted"

M.Decision = object({
  kind = { "string", one_of = decisions.kinds }, name = k.string, from = k.time, to = k.time, count = k.count(),
  verdict = verdict, reason = maybe(null(k.string)), generation = maybe(k.count()), event = maybe(k.string),
}, "Decisions with the same result, one after the other")

M.Explanation = object({
  kind = k.string, name = k.string, at = k.time, event = maybe(k.string), verdict = verdict, reason = maybe(null(k.string)),
  generation = k.count(), file = maybe(k.string), line = maybe(k.count()), lines = maybe(list(k.count())),
  source = maybe(k.string),
  inputs = maybe(k.any()), read = maybe(list(k.string)), partial = maybe(k.flag), text = maybe(k.string), again = maybe(k.any()),
  note = maybe(k.string),
  flips = maybe(list(object { field = k.string, from = maybe(k.any()), to = maybe(k.any()), verdict = verdict,
  reason = maybe(null(k.string)), text = k.string })),
}, "A decision, taken again")

M.Event = object({
  seq = k.count(), at = k.time, kind = k.string, id = k.string, type = k.string, by = k.string, previous = k.string,
  hash = k.string,
  data = k.any "What changed; null once it has been dropped", trimmed = maybe(k.flag),
}, "An entry of the log")

return M
