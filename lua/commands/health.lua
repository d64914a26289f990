-- cchost health: whether the server is to be asked, for whoever looks after it (a container's HEALTHCHECK).

local command = require "command"
local http = require "http"
local json = require "json"
local remote = require "remote"

local M = {}

M.help = [[
usage: cchost health [--url=URL] [--ca=FILE] [--json]

Asks the server's /readyz. Says "ready" and ends with 0; or says what is missing, or why it cannot be reached, and ends
with 1.

  --url=URL    where the server is; else CCHOST_URL, else the address that serve has on this host
  --ca=FILE    authorities that the server's certificate may come from, instead of the system's
  --json       as the server has said it: {status, missing}
]]

local SECONDS = 4 -- whoever asks has a patience of his own, and that is seldom less than 5

function M.run(argv)
  local opts, _, settings = command.read(argv, {
    usage = "cchost health [--url=URL] [--ca=FILE] [--json]", options = { url = "text", ca = "text", json = "flag" },
  })
  local server = command.must(remote.server(settings, opts.url))
  local answer = command.must(http.request {
    url = server.base .. "/readyz", unix = server.unix, ca = opts.ca, timeout = SECONDS,
  })
  local said = json.decode(answer.body or "")
  if type(said) ~= "table" or type(said.missing) ~= "table" then
    command.fail("%s answered with status %d, and not as cchost does", server.name, answer.status)
  end
  if opts.json then command.out("%s", answer.body) end
  if answer.status ~= 200 then command.fail("not ready: %s", table.concat(said.missing, ", ")) end
  if not opts.json then command.out("ready") end
end

return M
