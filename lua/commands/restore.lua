-- cchost restore: the store as it was in a backup.

local command = require "command"
local script = require "script"
local store = require "store"

local M = {}

M.help = [[
usage: cchost restore FILE [--force] [--json]

Makes the store of DATA_DIR from a backup, which is read whole first. Nothing may have the store open: end the server
before. A crash in the middle leaves the old store or the new one.

  --force   also when DATA_DIR has a store; that one is kept beside it as store.replaced-TIME
  --json    {data_dir, entries, objects, log_seq}

Machines that were made after the backup are unknown to it: the next sweep of their provider reports them.
]]

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost restore FILE [--force]", options = { force = "flag" }, words = { 1, 1 },
  })
  local got = command.must(script.during(script.clock("read, and put in its place"), store.restore, words[1], settings.DATA_DIR,
    { force = options.force }))
  got.data_dir = settings.DATA_DIR
  command.tell(got, "%s: restored, %d log entries of %d objects, up to entry %d", settings.DATA_DIR, got.entries, got.objects,
    got.log_seq)
end

return M
