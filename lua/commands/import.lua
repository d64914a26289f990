-- cchost import: what an export wrote, or instances.json.

local change_over = require "billing.change_over"
local command = require "command"
local fs = require "fs"
local migrations = require "migrations"
local script = require "script"
local setup = require "setup"
local transfer = require "transfer"
local transfer_state = require "transfer_state"

local M = {}

M.help = [[
usage: cchost import FILE [--json]
       cchost import --instances-json FILE

Takes every record and index entry of an export. The file is checked whole first: a line that is broken, a record that
the store has already, or an end that is missing is named by its line, and nothing is imported. What has 200,000 lines
or fewer is one commit. Each machine's log begins anew, with its whole record.

  --instances-json   the machines of instances.json, the state file of the ccc scripts: all in one commit. They become
                     machines of the provider "foreign", whose servers cchost never touches.
]]

local STATE_MAX = 64 * 1024 * 1024

local function import_state(path)
  command.must(migrations.run()) -- a new store is of the newest version
  local n, faults = transfer_state.import(command.must(fs.read(path, STATE_MAX)))
  if n then return command.tell({ machines = n }, "machines imported: %d", n) end
  for _, fault in ipairs(faults) do io.stderr:write("cchost: ", path, ": ", fault, "\n") end
  io.stderr:write("cchost: nothing was imported\n")
  return 1
end

-- The file is read twice: it is checked whole before the first write.
local function import_lines(path)
  local total, read = 2 * command.must(fs.stat(path)).size, 0
  local function lines_of()
    local file = command.must(io.open(path, "r"))
    return function()
      local line, why = file:read("*l")
      if why then command.fail("%s: %s", path, why) end
      if not line then file:close() else read = read + #line + 1 end
      script.bar(read, total, read * 2 <= total and "checked" or "imported")
      return line
    end
  end
  local done, err = transfer.import(lines_of)
  script.end_progress()
  if not done then command.fail("%s: %s", path, err.message) end
  command.must(migrations.run())
  setup.adopt_clock()
  command.must(change_over.run())
  command.tell(done, "lines imported: %d", done.lines)
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost import [--instances-json] FILE", options = { ["instances-json"] = "flag" }, words = { 1, 1 },
  })
  if not fs.stat(words[1]) then command.fail("there is no file %s", words[1]) end
  command.open(settings, "may be new")
  if options["instances-json"] then return import_state(words[1]) end
  return import_lines(words[1])
end

return M
