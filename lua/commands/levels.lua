-- cchost levels: how much a server's modules write into its log, while it runs.

local command = require "command"
local http = require "http"
local json = require "json"
local remote = require "remote"
local sorted_keys = require "sorted_keys"

local M = {}

M.help = [[
usage: cchost levels [LEVEL] [MODULE=LEVEL ...] [--url=URL] [--token-file=FILE] [--ca=FILE] [--json]

Without words: the levels of the server's log. LEVEL (debug, info, warn, error) is the least that is written of all modules
that have none of their own; MODULE=LEVEL gives one its own (or off), MODULE= takes it back. The module is what a line of
the log says behind module=; that of the access log is access. It lasts until the server ends; LOG_LEVEL and LOG_LEVELS
are what it begins with.

  --url=URL          where the server is; else CCHOST_URL, else the address that serve has on this host
  --token-file=FILE  a file with an admin's API token; else CCHOST_TOKEN, else the operator's key
  --ca=FILE          authorities that the server's certificate may come from, instead of the system's
  --json             as the server has said it
]]

local options = { url = "text", ["token-file"] = "text", ca = "text", json = "flag" }

-- The words as the body of a change, or nil: there are none.
local function change_of(words)
  local body = {}
  for _, word in ipairs(words) do
    local module, level = word:match("^([^=]+)=(.*)$")
    if module then
      body.modules = body.modules or {}
      body.modules[module] = level ~= "" and level or json.null
    else
      body.level = word
    end
  end
  return next(body) and body
end

local function print_levels(levels)
  command.out("%-20s %s", "(all others)", levels.level)
  for _, name in ipairs(sorted_keys(levels.modules)) do command.out("%-20s %s", name, levels.modules[name]) end
end

function M.run(argv)
  local opts, words, settings = command.read(argv, {
    usage = "cchost levels [LEVEL] [MODULE=LEVEL ...]", options = options, words = { 0, 65 },
  })
  local server = command.must(remote.server(settings, opts.url))
  local headers = command.must(remote.credential(settings, server, opts["token-file"]))
  local body = change_of(words)
  local answer = command.must(http.request {
    method = body and "PATCH" or "GET", url = server.base .. "/levels", unix = server.unix, headers = headers, ca = opts.ca,
    body = body and json.encode(body) or nil, timeout = 30,
  })
  local said = json.decode(answer.body or "")
  if answer.status ~= 200 then
    command.fail("%s", type(said) == "table" and said.error or ("the server answered with status %d"):format(answer.status))
  end
  if opts.json then return command.out("%s", answer.body) end
  print_levels(said)
end

return M
