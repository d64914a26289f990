-- cchost backup: a consistent copy of the store.

local command = require "command"
local script = require "script"
local store = require "store"

local M = {}

M.help = [[
usage: cchost backup FILE [--even-broken] [--json]

Copies the store of DATA_DIR into FILE, also while a server runs on it. The copy is the store at one moment; it is
written beside FILE, brought to the disk, opened and read whole, and only then called FILE. FILE must not exist.
The copy holds secrets (environments, keys of repeated requests): it is readable by its owner alone.

  --even-broken   keeps the copy of a store whose log or records are broken, and says what is. `restore` refuses such a
                  copy; what can be read of it comes out with `cchost export --even-broken`
  --json          {file, bytes, entries, objects, log_seq}, and `broken` where it is
]]

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost backup FILE [--even-broken]", options = { ["even-broken"] = "flag" }, words = { 1, 1 },
  })
  command.open(settings)
  local made = command.must(script.during(script.clock("copied, and read back"), store.backup, words[1],
    { even_broken = options["even-broken"] }))
  made.file = words[1]
  if made.broken then
    return command.tell(made, "%s: %d bytes, up to entry %d; the store is broken, and so is the copy: %s", words[1], made.bytes,
      made.log_seq, made.broken)
  end
  command.tell(made, "%s: %d bytes, %d log entries of %d objects, up to entry %d", words[1], made.bytes, made.entries,
    made.objects, made.log_seq)
end

return M
