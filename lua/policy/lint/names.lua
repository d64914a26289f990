-- The names that a policy file may use, and what is said of the others.
--
-- names.tree(globals) -> {name = entry}; entry.fields = {name = entry}, or nil where any field will do
-- names.instead(path, pure) -> what to do instead of a name that policies lack on purpose ({"os", "time"}), or nil
-- names.near(name, groups) -> what may have been meant: the nearest of the groups' {key, text}, of equals the first; or nil.
--                             A group has at most group.most edits between, where that is set.

local spelling = require "spelling"

local M = {}

-- Libraries that are here as they are in the policies' state: when no member is named, theirs are the members.
local libraries = { bit = bit, math = math, string = string, table = table }

function M.tree(globals)
  local tree = {}
  for _, path in ipairs(globals) do
    local fields = tree
    local entry
    for name in path:gmatch("[^.]+") do
      if entry then
        entry.fields = entry.fields or {}
        fields = entry.fields
      end
      entry = fields[name] or {}
      fields[name] = entry
    end
  end
  for name, entry in pairs(tree) do
    if libraries[name] and not entry.fields then
      entry.fields = {}
      for field in pairs(libraries[name]) do entry.fields[field] = {} end
    end
  end
  return tree
end

-- ---- what policies lack on purpose

local NO_CODE = "code is not made while it runs: write a function"
local NO_META = "there are no metatables: plain tables and functions do"
local NO_RAW = "there are no metatables, so t[k] is the same"
local NO_CATCH = { "an error ends the decision, and the host falls back to the safe verdict: test the value first",
  "what may go wrong comes back as nil, err: look at err" }
local NO_FILES = { "a decision reads no file: what it needs comes in its arguments",
  "a policy reads no file: what it needs comes from the host" }
local NO_CHANCE = { "the same question must get the same answer, so there is no chance in it",
  "chance comes from the host, not from math" }
local NO_TIME = { "a policy is told the time: use its argument `now`", "the time comes from the host, not from os" }
local NO_OTHERS = { "a decision stands alone: what it needs comes in its arguments",
  "the modules of a policy are there already, as globals" }

-- A text, or one for decisions and one for the rest.
local instead = {
  pcall = NO_CATCH, xpcall = NO_CATCH, load = NO_CODE, loadstring = NO_CODE, loadfile = NO_FILES, dofile = NO_FILES,
  require = NO_OTHERS, module = NO_OTHERS, package = NO_OTHERS,
  setmetatable = NO_META, getmetatable = NO_META, newproxy = NO_META, rawget = NO_RAW, rawset = NO_RAW, rawequal = NO_RAW,
  getfenv = "a function's names are those of its file", setfenv = "a function's names are those of its file",
  coroutine = { "a decision cannot wait: return what is known now", "waiting calls wait by themselves" },
  collectgarbage = "memory is the host's business", gcinfo = "memory is the host's business",
  print = "say it in the reason: the host keeps it",
  io = NO_FILES, os = "a policy does not reach the system", debug = "the host keeps inputs, verdict and reason instead",
  ffi = "a policy is Lua only", jit = "the host decides what is compiled",
  _G = "there is no table of all names: name what is meant", _ENV = "there is no table of all names: name what is meant",
  bit32 = "use bit", utf8 = "texts are bytes here: use string",
  ["os.time"] = NO_TIME, ["os.date"] = NO_TIME, ["os.clock"] = NO_TIME, ["os.difftime"] = "subtract",
  ["os.getenv"] = "settings come from the host, not from the environment",
  ["math.random"] = NO_CHANCE, ["math.randomseed"] = NO_CHANCE, ["math.pow"] = "write x ^ y", ["math.mod"] = "write x % y",
  ["string.dump"] = NO_CODE, ["string.gfind"] = "use string.gmatch", ["string.buffer"] = "use table.concat",
  ["table.unpack"] = "use unpack", ["table.pack"] = "write {...}", ["table.getn"] = "write #t",
  ["table.foreach"] = "use for and pairs", ["table.foreachi"] = "use for and ipairs",
  ["table.new"] = "write {}", ["table.clear"] = "make a new table", ["table.move"] = "use a loop",
}

function M.instead(path, pure)
  for n = #path, 1, -1 do
    local name = table.concat(path, ".", 1, n)
    local text = instead[name]
    if text then return ("%s: %s"):format(name, type(text) == "table" and text[pure and 1 or 2] or text) end
  end
end

-- ---- what may have been meant

local function edits(name) return #name <= 2 and 0 or #name <= 5 and 1 or #name <= 8 and 2 or 3 end

function M.near(name, groups)
  local best, found = edits(name) + 1, nil
  for _, group in ipairs(groups) do
    local keys, texts = {}, {}
    for i, candidate in ipairs(group) do
      keys[i] = candidate[1]
      texts[candidate[1]] = texts[candidate[1]] or candidate[2]
    end
    local key = spelling.nearest(name, keys, math.min(best - 1, group.most or best))
    if key then best, found = spelling.distance(name, key), texts[key] end
  end
  return found
end

-- {{key, text}, ...} of a level of the tree, in order.
function M.candidates(fields, prefix)
  local out = {}
  for name in pairs(fields) do out[#out + 1] = { name, (prefix or "") .. name } end
  table.sort(out, function(a, b) return a[1] < b[1] end)
  return out
end

-- ... and of all libraries' members, which must be nearer: there are many.
function M.members(tree)
  local out = { most = 1 }
  for _, library in ipairs(M.candidates(tree)) do
    local fields = tree[library[1]].fields
    for _, member in ipairs(fields and M.candidates(fields, library[1] .. ".") or {}) do out[#out + 1] = member end
  end
  return out
end

return M
