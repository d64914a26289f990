-- cchost instances: the machines, or one.

local command = require "command"
local instances = require "instances"
local json = require "json"

local M = {}

M.help = [[
usage: cchost instances [ID] [--json]

Prints one line per machine that is not deleted: id, status, provider, type, owner, name.
ID is a machine's id, its short form, or the name of one of the operator's own; that machine is printed whole, as JSON,
also when it is deleted.

  --json   one JSON object a line
]]

local function print_one(key)
  command.out("%s", command.must(instances.text(instances.operator, key)))
end

local function print_all()
  local after
  repeat
    local page = instances.list(instances.operator, after, 500)
    for _, text in ipairs(page.texts) do command.machine(json.decode(text)) end
    after = page.after
  until not after
end

function M.run(argv)
  local _, words, settings = command.read(argv, {
    usage = "cchost instances [ID] [--json]", words = { 0, 1 },
  })
  command.open(settings)
  if words[1] then print_one(words[1]) else print_all() end
end

return M
