-- Answers of a machine's agent (docs/agent.md, docs/terminal.md, docs/chat.md), which come through us as they are.

local k = require "openapi.kinds"

local maybe, null, list, object = k.maybe, k.null, k.list, k.object

local M = {}

M.FileEntry = object {
  name = k.string, type = k.word("directory", "file"), path = k.string, size = k.count(), modified = k.ms, link = maybe(k.flag),
  special = maybe(k.flag), encoded = maybe(k.string),
}
M.FileText = object {
  path = k.string, content = null(k.string), truncated = k.flag, binary = k.flag, size = k.count(), modified = k.ms,
}
M.FilePath = object { path = k.string }
M.Unpacked = object { path = k.string, files = k.count(), folders = k.count(), links = k.count(), skipped = k.count() }

M.Project = object { name = k.string, path = k.string, remoteUrl = null(k.string) }

M.TerminalSession = object {
  project = k.string, tab = k.string, status = k.word("working", "idle"), cwd = null(k.string), since = k.time,
  viewers = k.count(),
  columns = k.count(), rows = k.count(), foreground = null(k.string), bytes = k.count(), idle_ms = k.count(),
}
M.Tab = object { status = k.word("created", "exists", "closed"), tab = k.string }
M.Transcript = object { id = k.string, title = null(k.string), updatedAt = k.time }
M.ClaudeStatus = object { status = k.word("authenticated", "needs_auth", "checking"), url = maybe(null(k.string)),
  reason = maybe(null(k.string)) }

M.Port = object { port = k.count(), process = null(k.string), loopback = k.flag }

M.Services = object {
  services = list(object {
    name = k.string, state = k.word("running", "waiting", "stopping", "stopped", "done"), since = maybe(k.any()),
    restarts = k.count(),
    exit = maybe(k.any()), pid = maybe(null(k.count())), again = maybe(k.any()), error = maybe(null(k.string)),
    failing = maybe(k.flag),
  }),
  faults = maybe(list(k.any())),
}
M.Service = object { name = k.string, state = k.string }

return M
