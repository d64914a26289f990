-- cchost netbird: how this host joins the mesh network, and what is left there.

local command = require "command"
local netbird = require "netbird"
local setup = require "setup"

local M = {}

M.help = [[
usage: cchost netbird key [--json]
       cchost netbird sweep [--json]

key: prints a key, good once and for a day, with which this host joins as the one that reaches the machines' agents.
sweep: removes now what the job netbird of policies/schedule.lua removes every 30 minutes.

Whether Netbird will do is told by: cchost provider check netbird
]]

local function need_token()
  if not netbird.configured() then command.fail("NETBIRD_API_TOKEN is not set") end
end

local actions = {}

function actions.key()
  need_token()
  local made = command.must(netbird.host_key())
  command.tell({ key = made.key, management_url = netbird.manager }, "%s", made.key)
  local manager = netbird.manager and " --management-url " .. netbird.manager or ""
  io.stderr:write("On this host, with the key in a file: netbird up" .. manager .. " --setup-key-file FILE\n")
end

function actions.sweep(settings)
  need_token()
  command.at_store(settings)
  command.must(setup.open(settings, { serve = false }))
  local removed = command.must(netbird.sweep()).removed
  command.tell({ removed = removed }, "%d removed", removed)
end

function M.run(argv)
  local usage = "cchost netbird key|sweep"
  local _, words, settings = command.read(argv, { usage = usage, words = { 1, 1 } })
  if not actions[words[1]] then command.usage("usage: %s", usage) end
  command.must(setup.use(settings))
  actions[words[1]](settings)
end

return M
