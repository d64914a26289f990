-- cchost netbird: whether Netbird will do, how this host joins, what is left there.

local command = require "command"
local json = require "json"
local netbird = require "netbird"
local script = require "script"
local setup = require "setup"

local M = {}

M.help = [[
usage: cchost netbird check [--json]
       cchost netbird key
       cchost netbird sweep

check: whether the token, its rights and the account will do, before the first machine; one line for each finding: ok, warn or
bad, what, and a sentence. It ends with 1 when one is bad. (cchost provider check netbird is the same.)
key: prints a key, good once and for a day, with which this host joins as the one that reaches the machines' agents.
sweep: removes now what the job netbird of policies/schedule.lua removes every 30 minutes.

  --json   check: one JSON object a line
]]

-- Prints them; ends with 1 when one is bad.
function M.tell(findings, as_json)
  local bad = false
  for _, f in ipairs(findings) do
    bad = bad or f.state == "bad"
    if as_json then
      command.out("%s", json.encode(f))
    else
      command.out("%-5s %-12s %s", f.state, f.what, f.sentence)
    end
  end
  if bad then script.quit(1) end
end

local function need_token()
  if not netbird.configured() then command.fail("NETBIRD_API_TOKEN is not set") end
end

local actions = {}

function actions.check(options) M.tell(netbird.check(), options.json) end

function actions.key()
  need_token()
  local made = command.must(netbird.host_key())
  command.out("%s", made.key)
  local manager = netbird.manager and " --management-url " .. netbird.manager or ""
  io.stderr:write("On this host, with the key in a file: netbird up" .. manager .. " --setup-key-file FILE\n")
end

function actions.sweep(_, settings)
  need_token()
  command.at_store(settings)
  command.must(setup.open(settings, { serve = false }))
  command.out("%d removed", command.must(netbird.sweep()).removed)
end

function M.run(argv)
  local usage = "cchost netbird check|key|sweep [--json]"
  local options, words, settings = command.read(argv, { usage = usage, options = { json = "flag" }, words = { 1, 1 } })
  if not actions[words[1]] then command.usage("usage: %s", usage) end
  command.must(setup.use(settings))
  actions[words[1]](options, settings)
end

return M
