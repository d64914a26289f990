-- cchost completion: what a shell needs to complete the words of cchost and ccc.

local command = require "command"
local completion = require "manual.completion"

local M = {}

M.help = [[
usage: cchost completion bash
       cchost completion zsh

Prints a script for the shell: commands, their actions and options, settings and their values. The package has both installed;
without it: `source <(cchost completion bash)`.
]]

function M.run(argv)
  local made = #argv == 1 and ({ bash = completion.bash, zsh = completion.zsh })[argv[1]]
  if not made then command.usage("usage: cchost completion bash|zsh") end
  command.out("%s", (made():gsub("\n$", "")))
  return 0
end

return M
