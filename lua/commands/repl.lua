-- cchost repl: Lua, line by line, with the whole API, on the store of DATA_DIR; it only reads unless it is told otherwise.

local command = require "command"
local edit = require "edit"
local fs = require "fs"
local inspect = require "inspect"
local script = require "script"
local setup = require "setup"
local sorted_keys = require "sorted_keys"
local sys = require "sys"
local task = require "task"
local tty = require "tty"

local M = {}

local USAGE = "cchost repl [--write] [--SETTING=VALUE ...]"
local HISTORY = 1000 -- lines that are kept

M.help = [[
usage: ]] .. USAGE .. [[


Reads Lua, one chunk after another, and shows what each comes to. Every module of the API is there by its name (store,
instances, providers, ...), as in scripts; what waits may wait. It works on the store in DATA_DIR, beside a server that runs.

  --write    changes are allowed; without it store.update answers nil and an error of code "denied". That is the store alone:
             what a chunk asks of a machine (exec), a provider, a file or a program is done either way

Tab completes, Ctrl-C ends what runs (three times: the program) or drops the line, Ctrl-D ends. From a pipe it reads without a
prompt, and an error ends it with code 1.
]]

-- ---- what a chunk sees

-- Names of its own, then Lua's, then modules by their names.
local function environment()
  local function print(...)
    local words = { ... }
    for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
    command.out("%s", table.concat(words, "\t"))
  end
  return setmetatable({ print = print }, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value ~= nil then return value end
      local ok, module = pcall(require, name)
      if ok and module ~= true then return module end
      return nil
    end,
  })
end

-- Modules that complete: what is loaded, without what only the program's inside has a use for.
local function module_names()
  local out = {}
  for name, value in pairs(package.loaded) do
    if type(value) == "table" and name:match("^[%l_]+$") then out[#out + 1] = name end
  end
  return out
end

-- What the word before the caret can become: members along its dots, at its start names.
local function completer(env)
  return function(word)
    local path, separator, start = word:match("^(.-)([.:]?)([%w_]*)$")
    local from, out = env, {}
    for name in path:gmatch("[%w_]+") do
      from = type(from) == "table" and from[name] or nil
      if type(from) ~= "table" then return out end
    end
    local function offer(names)
      for name in pairs(names) do
        if type(name) == "string" and name:sub(1, #start) == start and name:match("^[%a_][%w_]*$") then
          out[path .. separator .. name] = true
        end
      end
    end
    offer(from)
    local meta = path ~= "" and getmetatable(from)
    if meta and type(meta.__index) == "table" then offer(meta.__index) end
    if path == "" then
      offer(_G)
      for _, name in ipairs(module_names()) do offer { [name] = true } end
    end
    return sorted_keys(out)
  end
end

-- ---- one chunk

-- -> function | nil, message, "more": it is only begun
local function compile(text, env)
  local chunk = loadstring("return " .. text:gsub("^=", ""), "=repl")
  local why
  if not chunk then chunk, why = loadstring(text, "=repl") end
  if not chunk then return nil, why, why:find("near '?<eof>'?$") and "more" end
  return setfenv(chunk, env)
end

local function fault(value)
  if type(value) == "table" and value.exit_code then return value end
  return type(value) == "string" and value or inspect(value)
end

local running -- the task whose chunk runs

-- Shows what it comes to. -> true | false: it raised
local function evaluate(chunk, at_terminal)
  local function pack(...) return { n = select("#", ...), ... } end
  local function interrupts(yes)
    if at_terminal then edit.interrupts(yes) end
  end
  running = task.spawn(function()
    interrupts(true)
    local result = pack(xpcall(chunk, function(value)
      interrupts(false)
      return fault(value)
    end))
    interrupts(false)
    return result
  end)
  local result = running:join() or { false, "interrupted" } -- between two of the lines above
  running = nil
  interrupts(false)
  if not result[1] then
    if type(result[2]) == "table" then error(result[2], 0) end
    io.stderr:write(result[2], "\n")
    return false
  end
  local out = {}
  for i = 2, result.n do out[#out + 1] = inspect(result[i]) end
  if #out > 0 then command.out("%s", table.concat(out, "\t")) end
  return true
end

-- ---- the conversation

-- Lines of a pipe. -> fn(prompt) -> line | nil
local function from_pipe()
  local rest = ""
  return function()
    while not rest:find("\n", 1, true) do
      local more = tty.read()
      if not more or more == "" then
        local last = rest
        rest = ""
        return last ~= "" and last or nil
      end
      rest = rest .. more
    end
    local line
    line, rest = rest:match("^([^\n]*)\n(.*)$")
    return line
  end
end

local function history_file()
  local home = sys.env("HOME")
  local dir = sys.env("XDG_STATE_HOME") or home and home .. "/.local/state"
  return dir and dir .. "/cchost/repl_history"
end

-- -> fn(prompt) -> line | nil, fn() at the end
local function from_terminal(env)
  local file = history_file()
  if file then
    local ok, err = edit.load(file)
    if not ok then io.stderr:write("the history cannot be read: ", tostring(err), "\n") end
  end
  local complete = completer(env)
  local typing
  jit.off() -- what is compiled cannot be interrupted
  sys.signal("INT", function()
    if running then running:cancel("Ctrl-C") elseif typing then typing:cancel("Ctrl-C") end
  end)
  local function read(prompt)
    typing = task.spawn(edit.line, prompt, complete)
    local line, err = typing:join()
    typing = nil
    if err and err.code == "cancelled" then return false end
    if err then command.fail("%s", err.message) end
    if line then edit.remember(line) end
    return line
  end
  return read, function()
    if not file then return end
    fs.mkdir(file:match("^(.*)/[^/]*/"), tonumber("700", 8))
    fs.mkdir(file:match("^(.*)/"), tonumber("700", 8))
    local ok, err = edit.save(file, HISTORY)
    if not ok then io.stderr:write("the history cannot be kept: ", tostring(err), "\n") end
  end
end

local function converse(read, env, at_terminal)
  local text = ""
  while true do
    local line = read(text == "" and "> " or ">> ")
    if line == nil then break end
    if line == false then -- Ctrl-C
      text = ""
      sys.stdout("\n")
    else
      text = text == "" and line or text .. "\n" .. line
      local chunk, why, more = compile(text, env)
      if chunk or not more then
        if text:match("^%s*$") then chunk = function() end end
        text = ""
        if not chunk then io.stderr:write(why, "\n") end
        if not (chunk and evaluate(chunk, at_terminal)) and not at_terminal then return 1 end
      end
    end
  end
  if text == "" then return 0 end
  io.stderr:write("the last chunk has no end\n")
  return 1
end

function M.run(args)
  local options, _, settings = command.read(args, { usage = USAGE, options = { write = "flag" } })
  script.settings = settings
  command.at_store(settings)
  command.must(setup.open(settings, { serve = false, read_only = not options.write }))
  local env = environment()
  if not sys.isatty(0) then return converse(from_pipe(), env, false) end
  command.out("cchost %s on %s, %s; Ctrl-D ends it", require("cli").version, settings.DATA_DIR,
    options.write and "changes are written" or "which it only reads (--write)")
  local read, finish = from_terminal(env)
  local code = converse(read, env, true)
  sys.stdout("\n")
  finish()
  return code
end

return M
