-- What can be typed behind `cchost` and `ccc`, read from what these say of themselves: cli.lua's table, the usage lines and
-- options in each command's help, the settings. Completion and manual are made from it.
--
--   words.commands() -> {{name=, arguments=, does=, help=}, ...}   in cli.lua's order
--   words.ccc()      -> the same of ccc's commands, by name
--   words.paths(prefix, list) -> {"policy apply", ...}      sequences of literal words, of every length, sorted
--   words.options(help) -> {"--json", "--limit=", ...}      "=": a value follows
--   words.settings() -> {{option = "--provider=", values = {...} or nil, doc=}, ...}

local config = require "config"
local sorted_keys = require "sorted_keys"

local M = {}

function M.commands()
  local out = {}
  for i, c in ipairs(require("cli").commands) do
    out[i] = { name = c[1], arguments = c[2], does = c[3], help = require("commands." .. c[1]).help }
  end
  return out
end

function M.ccc()
  local out, ccc = {}, require "commands.ccc"
  for name, module in pairs(ccc.commands) do
    local does = ccc.help:match("\n  " .. name .. " +([^\n]+)")
    out[#out + 1] = { name = name, arguments = "", help = require(module).help, does = does }
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  return out
end

-- The literal words behind a command in a line of its usage, as paths: "show|suspend USER" are two of one word.
local function follow(line, set)
  local heads = { "" }
  for token in line:gmatch("%S+") do
    if not token:match("^[a-z][a-z|-]*$") then break end
    local longer = {}
    for _, head in ipairs(heads) do
      for word in token:gmatch("[^|]+") do
        longer[#longer + 1] = head .. " " .. word
        set[head .. " " .. word] = true
      end
    end
    heads = longer
  end
end

function M.paths(prefix, list)
  local set = {}
  for _, c in ipairs(list) do
    set[c.name] = true
    local usage = c.help:match("[uU]sage: (.-)\n%s*\n") or ""
    for line in usage:gmatch("[^\n]+") do
      local behind, found = line:match("^%s*" .. prefix .. " " .. c.name .. "(.*)$"), {}
      if behind then follow(behind, found) end
      for path in pairs(found) do set[c.name .. path] = true end
    end
  end
  return sorted_keys(set)
end

function M.options(help)
  local set = { ["--help"] = true }
  local own = help:match("^(.-)\nsettings:\n") or help
  for name, eq in own:gmatch("%f[%-]%-%-([%l][%l%d-]*)(=?)") do
    if name ~= "name" and not (eq == "" and set["--" .. name .. "="]) then
      set["--" .. name .. eq] = true
      if eq == "=" then set["--" .. name] = nil end
    end
  end
  return sorted_keys(set)
end

function M.settings()
  local out = {}
  for i, d in ipairs(config.declared) do
    out[i] = { option = "--" .. d.name:lower():gsub("_", "-") .. "=", values = d.one_of, doc = d.doc }
  end
  return out
end

return M
