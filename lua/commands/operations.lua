-- cchost operations: the work that is under way or was.

local command = require "command"
local ids = require "ids"
local json = require "json"
local store = require "store"
local walk = require "walk"
local workflow = require "workflow"

local M = {}

M.help = [[
usage: cchost operations [ID] [--all] [--json]

Prints one line per piece of work that is not finished: id, state, kind, attempts, when it was asked for, machine, and
the last error. ID is that of one operation, which is printed whole, as JSON.

  --all    also those that are finished
  --json   one JSON object a line
]]

local function print_row(text, op, as_json)
  if as_json then return command.out("%s", text) end
  local err = type(op.last_error) == "table" and op.last_error.message or ""
  command.out("%-36s %-10s %-8s %3d  %s  %-36s %s", op.id, op.state, op.kind, op.attempts or 0, op.created_at, op.machine, err)
end

local function print_all(options)
  for row in walk.kind("operation") do
    local op = json.decode(row.json)
    if options.all or not workflow.over(op) then print_row(row.json, op, options.json) end
  end
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost operations [ID] [--all] [--json]", options = { all = "flag", json = "flag" }, words = { 0, 1 },
  })
  command.open(settings)
  if not words[1] then return print_all(options) end
  local text = ids.is_uuid(words[1]) and store.raw("operation", words[1]:lower())
  if not text then command.fail("there is no operation %s", words[1]) end
  command.out("%s", text)
end

return M
