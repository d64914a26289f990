-- cchost backup: a consistent copy of the store.

local command = require "command"
local store = require "store"

local M = {}

M.help = [[
usage: cchost backup FILE

Copies the store of DATA_DIR into FILE, also while a server runs on it. The copy is the store at one moment; it is
written beside FILE, brought to the disk, opened and read whole, and only then called FILE. FILE must not exist.
The copy holds secrets (environments, keys of repeated requests): it is readable by its owner alone.
]]

function M.run(argv)
  local _, words, settings = command.read(argv, { usage = "cchost backup FILE", words = { 1, 1 } })
  command.open(settings)
  local made = command.must(store.backup(words[1]))
  command.out("%s: %d bytes, %d log entries of %d objects, up to entry %d", words[1], made.bytes, made.entries,
    made.objects, made.log_seq)
end

return M
