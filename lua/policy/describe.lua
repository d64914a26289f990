-- The kinds of policies in words, from the table that the program itself reads (policy/kinds.lua): the tables at the end of
-- policies/README.md, and lua/meta/policies.lua, the annotations for editors. Pure.
--
--   describe.markdown() -> text      describe.annotations() -> text
--   describe.each(fn)          fn(file, function, spec), of all that kinds.lua has
--   describe.results(spec)     what it gives, in words
--   describe.fields(spec) -> {{name=, is=, doc=}, ...}

local kinds = require "policy.kinds"
local sorted_keys = require "sorted_keys"

local M = {}

local function range(f)
  if f[1] == "enum" then
    local words = {}
    for i, v in ipairs(f.of) do words[i] = ('"%s"'):format(v) end
    return table.concat(words, ", ") .. (f.open and ", or another" or "")
  end
  if f[1] == "time" then return "unix seconds" end
  if f[1] == "count" then return "a whole number" end
  if f[1] == "flag" then return "true or false" end
  if f[1] == "map" then return "names to texts" end
  return "a " .. f[1]
end

local function results(spec)
  if not spec.verdicts then return "see the head of the file" end
  local words = {}
  for i, v in ipairs(spec.verdicts) do words[i] = ('"%s"'):format(v) end
  return table.concat(words, " or ") .. ", and a reason"
end

local function each_function(fn)
  for _, name in ipairs(kinds.list) do
    for _, fn_name in ipairs(sorted_keys(kinds[name].functions)) do fn(name, fn_name, kinds[name].functions[fn_name]) end
  end
end

M.each, M.results = each_function, results

function M.fields(spec)
  local out = {}
  for i, name in ipairs(sorted_keys(spec.input)) do
    local f = spec.input[name]
    out[i] = { name = name, is = range(f) .. (f.optional and ", may be nil" or ""), doc = f.doc or "" }
  end
  return out
end

function M.markdown()
  local out = {}
  local function add(format, ...) out[#out + 1] = format:format(...) end
  each_function(function(kind, fn, spec)
    add("### `%s.lua`: `%s(input%s)`", kind, fn, spec.now and ", now" or "")
    add("")
    add("Gives %s.", results(spec))
    add("")
    add("| field | is | |")
    add("|---|---|---|")
    for _, f in ipairs(M.fields(spec)) do
      local is, nilable = f.is:gsub(", may be nil$", "")
      add("| `%s`%s | %s | %s |", f.name, nilable > 0 and " (may be nil)" or "", is, (f.doc:gsub("|", "\\|")))
    end
    add("")
  end)
  add("### What code that waits may call")
  add("")
  add("| file | host functions |")
  add("|---|---|")
  for _, name in ipairs(kinds.list) do
    local host = kinds[name].host
    if host then add("| `%s` | `%s` |", kinds[name].file, table.concat(host, "`, `")) end
  end
  return table.concat(out, "\n") .. "\n"
end

local lua_type = {
  time = "integer", count = "integer", number = "number", flag = "boolean", text = "string", map = "table<string, string>",
}

local function type_of(f)
  if f[1] ~= "enum" then return lua_type[f[1]] end
  local words = {}
  for i, v in ipairs(f.of) do words[i] = ('"%s"'):format(v) end
  return table.concat(words, "|") .. (f.open and "|string" or "")
end

function M.annotations()
  local out = {
    "---@meta policies",
    "-- Made by `cchost policy describe --meta` from lua/policy/kinds.lua: what policies are told and may call, for editors.",
    "",
    "---The time of day in UTC, as in \"17:42 UTC\".", "---@param seconds number unix time", "---@return string",
    "function clock(seconds) end", "",
    "---The day in UTC, as in \"2026-11-28\": for a time that need not be today's.", "---@param seconds number unix time",
    "---@return string", "function day(seconds) end", "",
    "---A length of time in words, as in \"2 h 5 min\".", "---@param seconds number", "---@return string",
    "function duration(seconds) end", "",
    "---The table of another policy file: use \"plans\" is policies/plans.lua.", "---@param name string", "---@return table",
    "function use(name) end", "",
  }
  each_function(function(kind, fn, spec)
    out[#out + 1] = ("---@class policies.%s.%s"):format(kind, fn)
    for _, field in ipairs(sorted_keys(spec.input)) do
      local f = spec.input[field]
      out[#out + 1] = ("---@field %s%s %s %s"):format(field, f.optional and "?" or "", type_of(f), f.doc or "")
    end
    out[#out + 1] = ""
  end)
  local seen = {}
  for _, name in ipairs(kinds.list) do
    for _, host in ipairs(kinds[name].host or {}) do
      local library = host:match("^(%w+)%.")
      if library and not seen[library] then out[#out + 1] = ("%s = {}"):format(library) end
      if library then seen[library] = true end
      if not seen[host] then
        out[#out + 1] = "---[waits]"
        out[#out + 1] = "---@return any value, table|nil err"
        out[#out + 1] = ("function %s(...) end"):format(host)
      end
      seen[host] = true
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return M
