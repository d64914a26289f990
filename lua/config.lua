-- Settings: from the command line over the environment over cchost.lua (a Lua file that returns a table; CCHOST_CONFIG names
-- another). What there is: config/settings.lua. All faults are found before anything is opened.
--
-- config.load(args [, "serve"]) -> settings, rest, told | nil, faults
--   settings.NAME is a value of its declared kind; `rest` the arguments that are no settings; told = {origin = {NAME = text},
--   warnings = {sentences}}. `faults`: sentences that say which setting, where it came from, what was wrong, what would be
--   right. "serve": also what the settings must be together (config/rules.lua).
-- config.help() -> the text of all settings for --help;  config.by_name[NAME] -> a declaration

local fs = require "fs"
local kinds = require "config.kinds"
local rules = require "config.rules"
local spelling = require "spelling"
local sys = require "sys"

local M = { declared = require "config.settings" }

M.by_name = {}
local known = {}
for i, d in ipairs(M.declared) do
  d.name, d.kind, d.default = d[1], d[2], d[3]
  M.by_name[d.name], known[i] = d, d.name
end
local by_name = M.by_name

-- ---- names that are nearly right

-- The declared name that is nearest, at most `most` edits away, or nil.
local function nearest(name, most) return spelling.nearest(name, known, most) end

local function option_of(name) return "--" .. name:lower():gsub("_", "-") end

local function unknown(name, write)
  local near = nearest(name, 3)
  return "unknown setting " .. write(name) .. (near and "; did you mean " .. write(near) .. "?" or "; cchost config lists them")
end

-- ---- where they come from

local function as_is(name) return name end

-- The line of a file's text in which a name is set, as ":12", or "".
local function line_of(text, name)
  local n = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    n = n + 1
    if line:find("%f[%w_]" .. name .. "%f[^%w_]%W*=") then return ":" .. n end
  end
  return ""
end

-- -> {NAME = value}, {NAME = where}
local function read_file(path, named, faults)
  local f = io.open(path, "r")
  local text = f and f:read("*a")
  if f then f:close() end
  if not text then
    if f or named then faults[#faults + 1] = path .. ": cannot be read" end
    return {}, {}
  end
  local chunk, why = load(text, "@" .. path, "t", {})
  local ok, t = pcall(chunk or error, why)
  if not ok or type(t) ~= "table" then
    faults[#faults + 1] = path .. ": " .. (ok and "must return a table" or tostring(t))
    return {}, {}
  end
  local where, names = {}, {}
  for name in pairs(t) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    where[name] = path .. line_of(text, name)
    if not by_name[name] then faults[#faults + 1] = where[name] .. ": " .. unknown(name, as_is) end
  end
  return t, where
end

local function read_args(args, faults)
  local given, rest = {}, {}
  for _, a in ipairs(args) do
    local flag, value = a:match("^%-%-([%w-]+)=(.*)$")
    local name = (flag or a:match("^%-%-([%w-]+)$") or ""):upper():gsub("-", "_")
    if not a:match("^%-%-") then
      rest[#rest + 1] = a
    elseif flag and by_name[name] then
      given[name] = value
    elseif by_name[name] then
      faults[#faults + 1] = a .. ": a value expected, like " .. a .. "=..."
    else
      faults[#faults + 1] = unknown(name, option_of) .. " (settings are written --name=value)"
    end
  end
  return given, rest
end

-- Names of the environment that look like a setting with a slip in it.
local function look_at_environment(warnings)
  for entry in (fs.read("/proc/self/environ", 1048576) or ""):gmatch("[^%z]+") do
    local name = entry:match("^([^=]+)=")
    local near = name and #name >= 7 and not by_name[name] and nearest(name, 2)
    if near and #near >= 8 then
      warnings[#warnings + 1] = ("%s (environment): no such setting; did you mean %s?"):format(name, near)
    elseif name == "DATABASE_URL" then
      warnings[#warnings + 1] = "DATABASE_URL (environment): not used; the store is in DATA_DIR"
    end
  end
end

-- A value of cchost.lua as the text that the other places would have.
local function as_text(d, raw)
  if type(raw) == "boolean" then return raw and "on" or "off" end
  if type(raw) == "table" and d.kind ~= "table" then
    for i, item in ipairs(raw) do raw[i] = tostring(item) end
    return table.concat(raw, ",")
  end
  return d.kind == "table" and raw or tostring(raw)
end

local function shown(d, raw)
  if d.secret then return "" end
  if type(raw) == "table" then return "" end
  return (", not %q"):format(raw)
end

-- ---- reading

local function one(d, raw, from, faults)
  local text = as_text(d, raw)
  local value, why = kinds[d.kind](d, text)
  if value == nil then faults[#faults + 1] = ("%s: %s%s"):format(from, why, shown(d, text)) end
  return value
end

-- A rule about a setting that is at fault already has nothing to say; the others judge with its default.
local function judge(settings, faulty, origin, faults)
  local sound = setmetatable({}, { __index = settings })
  for name in pairs(faulty) do
    local d = by_name[name]
    if d.default ~= nil then sound[name] = kinds[d.kind](d, tostring(d.default)) end
  end
  for _, rule in ipairs(rules.list) do
    local skip = false
    for _, name in ipairs(rule.names) do skip = skip or faulty[name] and #rule.names == 1 end
    local why, name
    if not skip then why, name = rule.check(sound) end
    if why then faults[#faults + 1] = (origin[name or rule.names[1]] or name or rule.names[1]) .. ": " .. why end
  end
end

function M.load(args, serve)
  local faults, settings, origin, warnings, faulty = {}, {}, {}, {}, {}
  local given, rest = read_args(args, faults)
  local named = sys.env("CCHOST_CONFIG")
  local file, where = read_file(named or "cchost.lua", named ~= nil, faults)
  for _, d in ipairs(M.declared) do
    local raw, from = given[d.name], option_of(d.name) .. " (command line)"
    if raw == nil then raw, from = sys.env(d.name), d.name .. " (environment)" end
    if raw == nil or raw == "" then raw, from = file[d.name], ("%s (%s)"):format(d.name, where[d.name] or "") end
    if raw == nil then raw, from = d.default, nil end
    origin[d.name] = from
    if raw ~= nil then
      settings[d.name] = one(d, raw, from or d.name, faults)
      faulty[d.name] = settings[d.name] == nil or nil
    end
    if d.secret and given[d.name] then
      warnings[#warnings + 1] = option_of(d.name) .. ": whoever is on this host can read it in the list of processes"
    end
  end
  if serve then judge(settings, faulty, origin, faults) end
  if #faults > 0 then return nil, faults end
  rules.derive(settings)
  if serve then look_at_environment(warnings) end
  return settings, rest, { origin = origin, warnings = warnings }
end

function M.help()
  local out = {}
  for _, d in ipairs(M.declared) do
    local unit = d.unit and d.kind ~= "duration" and " " .. d.unit or ""
    local default = d.default and d.default ~= "" and (" (%s%s)"):format(d.default, unit) or ""
    local option = d.name:lower():gsub("_", "-")
    out[#out + 1] = ("  --%-28s %s%s%s"):format(option, d.doc, default, d.later and " [not used yet]" or "")
  end
  return table.concat(out, "\n") .. "\n"
end

return M
