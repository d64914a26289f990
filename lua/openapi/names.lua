-- What the description calls things that many routes have: groups of routes, values in paths, parameters, statuses.

local M = {}

-- By the first word of the path.
M.groups = {
  agent = { "Machines' agents", "The program that machines fetch." },
  auth = { "Account", "Signing in; sessions, API tokens, SSH keys and settings of one's own." },
  billing = { "Billing", "What was used, what it costs, and the books that say so; ledger.md tells more." },
  conversations = { "Conversations", "What clients keep of chats." },
  events = { "Events", "The log of all changes." },
  instances = { "Machines", "Machines and all that is beneath one." },
  networks = { "Networks", "Private networks of one's own; networks.md tells more." },
  operations = { "Operations", "Work that is under way." },
  plans = { "Offers", "What there is, and what it costs." },
  policies = { "Policies", "An admin's: the rules in force." },
  providers = { "Providers", "An admin's: where machines are made." },
  scripts = { "Scripts", "Shell scripts for people's own computers." },
  server = { "Server", "The server itself." },
  shared = { "Links", "What whoever has a link may see." },
  users = { "Users", "An admin's: accounts." },
  volumes = { "Volumes", "Data that outlive machines." },
  web = { "Dashboard", "Pages for browsers." },
  webhooks = { "Webhooks", "Events, sent to a URL of one's own; webhooks.md tells more." },
}

local group_of = {
  [""] = "web", dashboard = "web", assets = "web", help = "web", docs = "web", vpcs = "networks", subnets = "networks",
  ["security-groups"] = "networks", types = "plans", preview = "shared", cli = "scripts", ["connect.sh"] = "scripts",
  ["install.sh"] = "scripts", healthz = "server", ["openapi.json"] = "server",
}

-- -> the key of a group
function M.group_of(path)
  local word = path:match("^/([^/]*)")
  local key = group_of[word] or word
  return M.groups[key] and key or "server"
end

-- What {id} is, by the kind of object (rights.find).
M.objects = {
  conversation = "Id of the conversation", history = "Machine: its id, its short form or its name",
  instance = "Machine: its id, its short form or its name", operation = "Id of the operation",
  policy = "File of the policies, like `idle.lua`", provider = "Name of a provider that is in use",
  security_group = "Id of the security group", session = "Id of the session", ssh_key = "Id of the key",
  subnet = "Id of the subnet",
  token = "Id of the token", user = "Account: its uuid, number or email address", volume = "Volume: its id or its name",
  vpc = "VPC: its id or its name", webhook = "Id of the webhook",
}

-- Other values in paths.
M.values = {
  arch = { "string", about = "Architecture, like `x86_64`" },
  file = { "string", about = "Name of a file of the page" },
  id = { "string", about = "What it is about" },
  lease = { "string", about = "Id of the lease" },
  name = { "string", about = "Its name" },
  number = { "integer", min = 1, about = "Number of the delivery" },
  orphan = { "string", about = "Short form of the machine there, 12 hex digits" },
  page = { "string", about = "Page of the dashboard" },
  path = { "string", about = "All that follows, with its slashes; may be empty" },
  port = { "integer", min = 1, max = 65535, about = "Port of the machine" },
  project = { "string", about = "Name of the project's folder" },
  rule = { "string", about = "Id of the rule" },
  snapshot = { "string", about = "Name of the snapshot" },
  token = { "string", about = "Token of the link" },
  volume = { "string", about = "Id of the volume" },
}

-- Parameters that many routes take.
M.wait = { "integer", min = 0, max = 300, example = 30, about = "Seconds to hold the answer until the work is over" }
M.wake = { "string", one_of = { "true", "false" }, about = "`false`: a machine that is stopped is left so (409)" }
M.limit = { "integer", min = 1, max = 1000, default = 100, example = 10, about = "How many, at most" }
M.after = { "string", max = 128, about = "Cursor of the `Link` of the page before" }

M.statuses = {
  [101] = "The connection is a WebSocket from here on", [200] = "Done", [201] = "Made",
  [202] = "Begun: `Location` says where to look",
  [204] = "Done", [303] = "Go on there", [304] = "What you have is still so", [308] = "It is there",
  [400] = "The request makes no sense; `field` says where", [401] = "Not signed in, or with what is no good",
  [402] = "What is paid for does not allow it", [403] = "Yours, but not allowed", [404] = "Not there, or not yours",
  [409] = "Not as it is now", [412] = "`If-Match` names another version", [413] = "Too large",
  [422] = "That `Idempotency-Key` was used for another request", [426] = "A WebSocket is expected",
  [429] = "Too often, or too many",
  [502] = "The provider, or the machine, could not do it", [503] = "Not now; try again later",
  [504] = "Too slow; try again later",
  [507] = "No room",
}

return M
