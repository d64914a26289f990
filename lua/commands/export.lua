-- cchost export: every record as JSON lines, or instances.json.

local command = require "command"
local fs = require "fs"
local store = require "store"
local sys = require "sys"
local transfer = require "transfer"
local transfer_state = require "transfer_state"

local M = {}

M.help = [[
usage: cchost export [FILE]
       cchost export --instances-json [FILE]

Writes every record and index entry as one line of JSON, to standard output or into FILE, which must not exist. Also
while a server runs: what is written is the store at one moment (a copy is made beside it meanwhile, as large as the
store). The log stays behind; a backup has it. The lines hold secrets: FILE is readable by its owner alone.

  --instances-json   the machines as instances.json, the state file of the ccc scripts
]]

-- The store at one moment: a copy is opened in the store's place, and its files have no name from then on, so that
-- nothing of it is left however this program ends.
local function freeze(settings)
  local dir = ("%s/export-%d"):format(settings.DATA_DIR, sys.pid())
  command.must(fs.mkdir(dir .. "/store", tonumber("700", 8)))
  command.must(store.backup(dir .. "/store/data.mdb"))
  store.close()
  command.must(store.open { dir = dir })
  for _, name in ipairs(command.must(fs.list(dir .. "/store"))) do command.must(fs.remove(dir .. "/store/" .. name)) end
  command.must(fs.remove(dir .. "/store"))
  command.must(fs.remove(dir))
end

-- write(text) and a function that ends it, for standard output.
local function to_stdout()
  return function(text) command.out("%s", text) end, function() end
end

-- The same for a file: it has its name only when it is whole.
local function to_file(path)
  if fs.stat(path) then command.fail("%s is there already", path) end
  local part = ("%s.part-%d"):format(path, sys.pid())
  command.must(fs.write(part, "", { mode = tonumber("600", 8), exclusive = true }))
  local file = command.must(io.open(part, "w"))
  local function must(ok, why)
    if ok then return end
    os.remove(part)
    command.fail("%s: %s", path, why)
  end
  local function finish()
    must(file:close())
    must(command.must(sys.run { "sync", part }).exit == 0, "cannot be brought to the disk")
    must(os.rename(part, path))
  end
  return function(text) must(file:write(text, "\n")) end, finish
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost export [--instances-json] [FILE]", options = { ["instances-json"] = "flag" }, words = { 0, 1 },
  })
  command.open(settings)
  local write, finish
  if words[1] then write, finish = to_file(words[1]) else write, finish = to_stdout() end
  if options["instances-json"] then
    write((transfer_state.export():gsub("\n$", "")))
    return finish()
  end
  freeze(settings)
  command.must(transfer.export(write))
  finish()
end

return M
