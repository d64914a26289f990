-- Answers about accounts and what is theirs.

local k = require "openapi.kinds"

local maybe, null, list, object, text = k.maybe, k.null, k.list, k.object, k.text

local M = {}

M.SshKey = object {
  id = k.string, name = k.string, type = k.string, key = k.string, fingerprint = k.string, created_at = k.time,
}

M.User = object({
  id = k.id, number = k.count(), email = null(k.string), name = null(k.string), plan = k.string, role = k.word("user", "admin"),
  status = k.word("active", "suspended", "deleted"), created_at = k.time, updated_at = k.time, deleted_at = maybe(null(k.time)),
  last_sign_in_at = maybe(null(k.time)),
  ssh_keys = list "SshKey", granted = maybe(null(k.any "By whom its plan was given, and why")),
  subscription_status = maybe(k.string),
  subscription_since = maybe(null(k.time)), stripe_customer_id = maybe(null(k.string)),
  stripe_subscription_id = maybe(null(k.string)),
  usage_hours = maybe(k.number), version = k.version,
}, "An account, as an admin sees it")

M.Me = object({
  id = k.id, number = k.count(), email = k.string, name = k.string, plan = k.string, role = k.word("user", "admin"),
  status = k.string, created_at = k.time, last_sign_in_at = maybe(null(k.time)), has_anthropic_key = k.flag,
  has_oauth_token = k.flag,
  subscription_status = k.string, usage_hours = k.number, version = k.version,
}, "One's own account")

M.Session = object {
  id = k.string, created_at = k.time, expires_at = k.time, address = maybe(null(k.string)), agent = maybe(null(k.string)),
  current = k.flag,
}

M.SignedIn = object { token = k.string, expires_at = k.time, message = maybe(k.string) }
M.LoginAnswer = object { message = k.string, token = maybe(text "In development on loopback alone"), expires_at = maybe(k.time) }

local token = {
  id = k.string, name = k.string, scopes = list(k.string), instance = null(text "The one machine that it is for"),
  created_at = k.time,
  expires_at = k.time, last_used_at = null(k.time),
}
M.Token = object(token)
local made = { token = text "Shown once" }
for name, field in pairs(token) do made[name] = field end
M.NewToken = object(made)

M.Settings = object {
  anthropic_api_key = text "Masked; empty: none", claude_oauth_token = text "Masked; empty: none", auth_method = k.word("oauth",
  "api_key", "none"),
}
M.Status = object { status = k.string }

M.Conversation = object {
  id = k.id, project_path = k.string, title = null(text "What the user said first"), created_at = k.time, updated_at = k.time,
}
M.Message = object {
  id = k.count(), role = k.word("user", "assistant"), content = k.string, tool_events = k.any(), created_at = k.time,
}

-- ---- what admins see

M.Export = object({
  exported_at = k.time, user = "User", machines = list "Machine", volumes = list "Volume", sessions = list "Session",
  tokens = list "Token",
  conversations = list(k.any()), webhooks = list "Webhook", ledger = list "Event", events = list "Event",
}, "All that is the account's, secrets left out")
M.Closed = object { export = "Export", operations = list(k.string) }

M.Fault = object { file = k.string, line = maybe(null(k.count())), text = k.string }

M.Policies = object {
  generation = k.count(), hash = k.string, at = k.time, author = k.string, note = maybe(null(k.string)), files = k.map(k.string),
  folder = null(k.string),
  saved = maybe(null(k.string)), pending = k.flag, faults = list "Fault", warnings = list "Fault",
}
M.PolicyFile = object {
  name = k.string, version = text "Says what was seen, for PUT", generation = k.count(), source = k.string,
  saved = null(k.string), diff = k.string,
}
M.PolicySaved = object { generation = k.count(), changed = k.any() }
M.Staged = object({
  generation = k.count(), hash = k.string, at = k.time, author = k.string, note = maybe(null(k.string)), files = k.map(k.string),
  changed = list(k.string), percent = k.number, guards = maybe(k.any()), promoted_at = maybe(null(k.time)), promotion = k.count(),
  returned = maybe(k.any "When, why and by which guard it was taken back"), as_of = maybe(null(k.time)),
  faults = maybe(list "Fault"),
  figures = maybe(k.any()), counts = k.any(), differences = list(k.any()), live = k.any(),
}, "The set that is tried")
M.Providers = object {
  providers = list(object {
    name = k.string, ok = k.flag, stale_since = maybe(null(k.time)), error = maybe(null(k.string)), orphans = k.any(),
    calls = k.any(),
  }),
  reconcile = k.map(k.number),
}
M.Finding = object { state = k.word("ok", "warn", "bad"), what = k.string, sentence = k.string }
M.Levels = object { level = k.string, modules = k.map(k.string) }
M.Begun = object { operation = k.id }

M.Health = object {
  status = k.word("ok", "unavailable"), db = k.string, version = k.string, generation = maybe(k.count()),
  policies = maybe(k.any()), agents = maybe(k.any()), parts = maybe(k.map "Part"),
}

M.Part = object {
  ok = k.flag, needed = { "boolean", about = "Without it the server is not to be asked" }, why = null(k.string),
  since = { "string", format = "date-time", about = "Of that it is so" }, age_seconds = k.number, last_success = null(k.time),
  says = maybe(k.any "What else it says of itself"),
}

M.Readiness = object {
  status = k.word("ready", "unavailable"), missing = k.list(k.string), parts = maybe(k.map "Part"),
}

return M
