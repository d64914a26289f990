-- cchost rekey: secrets at rest, sealed anew under the current master key.

local command = require "command"
local setup = require "setup"
local vault = require "vault"

local M = {}

M.help = [[
usage: cchost rekey [--json]

Seals every secret in the store anew that is not under the current master key, also while the server runs. To change
the key:

  1. MASTER_KEY is the new key, MASTER_KEY_PREVIOUS the old one: restart the server.
  2. cchost rekey, with the same settings. It says how many it has sealed anew.
  3. Take MASTER_KEY_PREVIOUS away.

A secret that neither key opens is named and ends the command with 1: the old key is still needed.
]]

function M.run(argv)
  local _, _, settings = command.read(argv, { usage = "cchost rekey [--json]", words = { 0, 0 } })
  command.open(settings)
  command.must(setup.open_vault(settings))
  local n = command.must(vault.rekey())
  command.tell({ sealed_anew = n }, "%d secrets sealed anew", n)
end

return M
