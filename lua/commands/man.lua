-- cchost man: the pages of the manual, as roff.

local command = require "command"
local pages = require "manual.pages"

local M = {}

M.help = [[
usage: cchost man [PAGE]

Prints a page of the manual as roff, for man(1): cchost.1, cchost.lua.5, cchost-policies.7, ccc.1 or claude-cloud.1; without
one, their names. They are made from what the program says of itself: `cchost man cchost.1 | man -l -`.
]]

function M.run(argv)
  if #argv == 0 then
    for _, name in ipairs(pages.names) do command.out("%s", name) end
    return 0
  end
  local page = #argv == 1 and pages.make(argv[1])
  if not page then command.usage("there is no such page; they are %s", table.concat(pages.names, ", ")) end
  command.out("%s", (page:gsub("\n$", "")))
  return 0
end

return M
