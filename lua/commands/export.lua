-- cchost export: every record as JSON lines, or instances.json.

local command = require "command"
local fs = require "fs"
local script = require "script"
local store = require "store"
local sys = require "sys"
local transfer = require "transfer"
local transfer_state = require "transfer_state"

local M = {}

M.help = [[
usage: cchost export [FILE] [--even-broken] [--json]
       cchost export --instances-json [FILE]

Writes every record and index entry as one line of JSON, to standard output or into FILE, which must not exist. Also
while a server runs: what is written is the store at one moment (a copy is made beside it meanwhile, as large as the
store). The log stays behind; a backup has it. The lines hold secrets: FILE is readable by its owner alone.

  --even-broken      also when the log is broken: what is, is said on standard error
  --json             with FILE: {file, records, indexes} when it is written (the lines are JSON anyway)
  --instances-json   the machines as instances.json, the state file of the ccc scripts
]]

local function remove(dir)
  for _, name in ipairs(fs.list(dir .. "/store") or {}) do fs.remove(dir .. "/store/" .. name) end
  fs.remove(dir .. "/store")
  fs.remove(dir)
end

-- The store at one moment: a copy is opened in the store's place, and its files have no name from then on, so that
-- nothing of it is left however this program ends.
local function freeze(settings, even_broken)
  local dir = ("%s/export-%d"):format(settings.DATA_DIR, sys.pid())
  command.must(fs.mkdir(dir .. "/store", tonumber("700", 8)))
  local made, err = script.during(script.clock("a copy is made"), store.backup, dir .. "/store/data.mdb",
    { even_broken = even_broken })
  local opened
  if made then
    store.close()
    opened, err = store.open { dir = dir }
  end
  remove(dir)
  command.must(opened, err)
  if made.broken then io.stderr:write("cchost: the store is broken: ", made.broken, "\n") end
end

-- write(text), a function that ends it, and one that ends all when something failed: for standard output.
local function to_stdout()
  return function(text) command.out("%s", text) end, function() end, command.must
end

-- The same for a file: it has its name only when it is whole.
local function to_file(path)
  local part = ("%s.part-%d"):format(path, sys.pid())
  command.must(fs.write(part, "", { mode = tonumber("600", 8), exclusive = true }))
  local file = command.must(io.open(part, "w"))
  local function must(ok, why)
    if ok then return ok end
    os.remove(part)
    command.fail("%s: %s", path, tostring(why))
  end
  local function finish()
    must(file:close())
    must(command.must(sys.run { "sync", part }).exit == 0, "cannot be brought to the disk")
    must(os.rename(part, path))
  end
  return function(text) must(file:write(text, "\n")) end, finish, must
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost export [--instances-json] [--even-broken] [FILE]", words = { 0, 1 },
    options = { ["instances-json"] = "flag", ["even-broken"] = "flag" },
  })
  command.open(settings)
  local path, as_instances = words[1], options["instances-json"]
  if path and fs.stat(path) then command.fail("%s is there already", path) end
  if not as_instances then freeze(settings, options["even-broken"]) end
  local write, finish, must = (path and to_file or to_stdout)(path)
  if as_instances then
    write((transfer_state.export():gsub("\n$", "")))
  else
    local total = command.must(store.stats()).records
    local n = must(transfer.export(write, function(done) script.bar(done, total, ("%d records"):format(done)) end))
    script.end_progress()
    finish()
    if path then command.tell { file = path, records = n.records, indexes = n.indexes } end
    return
  end
  finish()
  if path then command.tell { file = path } end
end

return M
