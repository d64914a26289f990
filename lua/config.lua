-- Settings: from the command line over the environment over cchost.lua (a Lua file that returns a table; CCHOST_CONFIG names
-- another). What there is: config/settings.lua. All faults are found before anything is opened.
--
-- config.load(args [, "serve"]) -> settings, rest, told | nil, faults
--   settings.NAME is a value of its declared kind; `rest` the arguments that are no settings; told = {origin = {NAME = text},
--   warnings = {sentences}}. `faults`: sentences that say which setting, where it came from, what was wrong, what would be
--   right. They quote no secret, and nothing that was not understood, as it may be one. "serve": also what the settings must
--   be together (config/rules.lua), and warnings.
-- config.help() -> the text of all settings for --help;  config.by_name[NAME] -> a declaration

local files = require "config.file"
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

-- A name as it may be shown: what is none may be anything.
local function shown_name(name) return #name <= 40 and name:match("^[%w_-]+$") and name or "(not a name)" end

-- The setting that is meant by a name with a slip or two in it, or nil: of a short word too little would be left.
local function meant(name) return nearest(name:upper():gsub("-", "_"), math.min(3, math.floor(#name / 3))) end

local function unknown(name, written)
  local near = meant(name)
  local right = near and (written:match("^%-") and option_of(near) or near)
  local help = right and "; did you mean " .. right .. "?" or "; cchost config lists them"
  return "unknown setting " .. shown_name(written) .. help
end

-- ---- where they come from

-- -> {NAME = value}, {NAME = where}, "broken" when there may be more in it than could be read
local function read_file(path, named, faults)
  local f = io.open(path, "r")
  local text = f and f:read("*a")
  if f then f:close() end
  if not text then
    if f or named then faults[#faults + 1] = path .. ": cannot be read" end
    return {}, {}, (f or named) and "broken"
  end
  local t, wrong = files.evaluate(text)
  for _, w in ipairs(wrong) do faults[#faults + 1] = path .. (w.line and ":" .. w.line or "") .. ": " .. w.why end
  local where, names = {}, {}
  for name in pairs(t) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    local line = files.line_of(text, name)
    where[name] = path .. (line and ":" .. line or "")
    if not by_name[name] then faults[#faults + 1] = where[name] .. ": " .. unknown(name, name) end
  end
  return t, where, next(t) == nil and #wrong > 0 and "broken" or nil
end

local HOW = " (settings are written --name=value)"

-- What is wrong with an argument that looks like a setting and is none, or nil. Only a name is shown, and without a "=" behind
-- it only one that is nearly a setting's: anything else may be a secret that was to be its value.
local function misread(a)
  local dashes, word, given = a:match("^(%-*)([^=]*)(=?)")
  local name = word:upper():gsub("-", "_")
  if dashes == "" then
    return given ~= "" and by_name[name] and ("%s is no argument; did you mean %s=...?"):format(word, option_of(name)) or nil
  end
  if given == "" and by_name[name] then return ("%s: a value expected, like %s=..."):format(option_of(name), option_of(name)) end
  if given == "" and not meant(word) then
    return "an option is no setting, nor one that the command has: --help lists those, cchost config the settings" .. HOW
  end
  return unknown(name, dashes .. word) .. HOW
end

local function read_args(args, faults)
  local given, rest = {}, {}
  for _, a in ipairs(args) do
    local flag, value = a:match("^%-%-([%w-]+)=(.*)$")
    local name = (flag or ""):upper():gsub("-", "_")
    local why = not by_name[name] and a ~= "-" and misread(a)
    if why then
      faults[#faults + 1] = why
    elseif by_name[name] then
      given[name] = value
    else
      rest[#rest + 1] = a
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

-- Files that others on this host can change, or read although secrets are in them: {path, what it is, it may be read}.
local function look_at_files(settings, file, config, warnings)
  local list, secret = { { settings.MASTER_KEY_FILE, "MASTER_KEY_FILE" } }, false
  for _, key in ipairs(settings.TLS_KEY or {}) do list[#list + 1] = { key, "TLS_KEY" } end
  for name, value in pairs(file) do
    secret = secret or by_name[name].secret and value ~= ""
  end
  list[#list + 1] = { config, secret and "it holds secrets" or "the settings", not secret }
  for _, name in ipairs { "api_key", "jwt_secret", "master_key" } do
    list[#list + 1] = { settings.DATA_DIR .. "/" .. name, "it holds a secret" }
  end
  for _, item in pairs(list) do -- the first may be absent
    local path, what, open = unpack(item, 1, 3)
    local st = path and fs.stat(path, true)
    local can = st and (bit.band(st.mode, 2) ~= 0 and "change" or not open and bit.band(st.mode, 4) ~= 0 and "read")
    if can then
      warnings[#warnings + 1] = ("%s (%s): everybody on this host can %s it; chmod %s expected")
        :format(path, what, can, open and "o-w" or "600")
    end
  end
end

-- ---- reading

-- A value of cchost.lua as the text that the other places would have. -> text or table | nil, what would be right
local function as_text(d, raw)
  if type(raw) == "boolean" then return raw and "on" or "off" end
  if type(raw) == "number" then return tostring(raw) end
  if type(raw) == "string" or type(raw) == "table" and d.kind == "table" then return raw end
  if type(raw) ~= "table" or not kinds.of_many[d.kind] then return nil, "one value expected, in quotes" end
  for i, item in ipairs(raw) do raw[i] = tostring(item) end
  return table.concat(raw, ",")
end

-- What was there instead, when it may be told: a secret has slipped into a setting of another kind before.
local function shown(d, raw)
  if d.secret or d.holds_secret or type(raw) ~= "string" or raw:find("[@%c]") or #raw > 100 then return "" end
  if raw:find("[sr]k_") or raw:find("whsec_", 1, true) then return "" end -- Stripe's
  return (", not %q"):format(raw)
end

local function one(d, raw, from, faults)
  local text, why = as_text(d, raw)
  local value
  if text ~= nil then value, why = kinds[d.kind](d, text) end
  if value == nil then faults[#faults + 1] = ("%s: %s%s"):format(from, why, shown(d, text)) end
  return value
end

-- What a rule is asked about: its own settings and ENVIRONMENT. To ask for another is a bug in it.
local function view(rule, settings)
  local seen = { ENVIRONMENT = settings.ENVIRONMENT or by_name.ENVIRONMENT.default }
  local may = { ENVIRONMENT = true }
  for _, name in ipairs(rule.names) do seen[name], may[name] = settings[name], true end
  return setmetatable(seen, { __index = function(_, name) assert(may[name], name) end })
end

-- A rule has nothing to say where a setting of it is at fault already, as what it should be is not known.
local function judge(settings, faulty, origin, faults, warnings)
  for _, rule in ipairs(rules.list) do
    local skip, why, name, doubts = false, nil, nil, nil
    for _, n in ipairs(rule.names) do skip = skip or faulty[n] and not rule.of_any end
    if not skip then why, name, doubts = rule.check(view(rule, settings)) end
    name = name or rule.names[1]
    for _, doubt in ipairs(doubts or {}) do warnings[#warnings + 1] = (origin[name] or name) .. ": " .. doubt end
    if why then faults[#faults + 1] = (origin[name] or name) .. ": " .. why end
  end
end

function M.load(args, serve)
  local faults, settings, origin, warnings, faulty = {}, {}, {}, {}, {}
  local given, rest = read_args(args, faults)
  local named = sys.env("CCHOST_CONFIG")
  local path = named or "cchost.lua"
  local file, where, broken = read_file(path, named ~= nil, faults)
  for _, d in ipairs(M.declared) do
    local raw, from = given[d.name], option_of(d.name) .. " (command line)"
    if raw == nil then raw, from = sys.env(d.name), d.name .. " (environment)" end
    if raw == nil or raw == "" then raw, from = file[d.name], ("%s (%s)"):format(d.name, where[d.name] or "") end
    if raw == nil then raw, from = d.default, nil end
    origin[d.name] = from
    if files.has_word(raw) or broken and not from then
      faulty[d.name] = true -- told already
    elseif raw ~= nil then
      settings[d.name] = one(d, raw, from or d.name, faults)
      faulty[d.name] = settings[d.name] == nil or nil
    end
    if d.secret and given[d.name] then
      warnings[#warnings + 1] = option_of(d.name) .. ": whoever is on this host can read it in the list of processes"
    end
  end
  if serve then judge(settings, faulty, origin, faults, warnings) end
  if #faults > 0 then return nil, faults end
  rules.derive(settings)
  if serve then
    look_at_environment(warnings)
    look_at_files(settings, file, path, warnings)
  end
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
