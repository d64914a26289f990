-- Settings: declared once here, read from the command line over the environment over cchost.lua.
--
-- config.load(args) -> settings, rest | nil, faults
--   settings.NAME is a value of its declared kind; `rest` the arguments that are no settings;
--   `faults` a list of sentences: every fault is found before anything is opened.

local sys = require "sys"

local M = {}

-- kind: string, int, address, enum, cidrs, table. Names are the environment's; --listen-addr is LISTEN_ADDR.
M.declared = {
  { "ENVIRONMENT", "enum", "development", one_of = { "development", "production" },
    doc = "production refuses what is only fit for trying out" },
  { "LISTEN_ADDR", "address", "127.0.0.1:8080", doc = "host:port, [v6]:port, or unix:/path" },
  { "TLS_CERT", "string", nil, doc = "certificate files (PEM, with their chains), with commas; with TLS_KEY: TLS is spoken" },
  { "TLS_KEY", "string", nil, doc = "their private keys, in the same order" },
  { "DATA_DIR", "string", "./data", doc = "everything that must survive" },
  { "PROVIDER", "enum", "local", one_of = { "local", "mock" },
    doc = "where machines are made when a request does not say" },
  { "API_KEY", "string", nil, secret = true,
    doc = "the operator's key (X-API-Key); made once into DATA_DIR/api_key when absent" },
  { "ADMIN_EMAIL", "string", nil, doc = "whoever signs in with this address is an admin; admin@localhost in development" },
  { "BASE_URL", "string", nil, doc = "where clients reach this server; the listener's address when absent" },
  { "FRONTEND_URL", "string", nil, doc = "where the dashboard is, if elsewhere: the one page that CORS lets in" },
  { "JWT_SECRET", "string", nil, secret = true, doc = "signs sessions; made once into DATA_DIR/jwt_secret when absent" },
  { "JWT_SECRET_PREVIOUS", "string", nil, secret = true, doc = "one whose sessions are still good" },
  { "MASTER_KEY", "string", nil, secret = true, doc = "seals secrets at rest; made once into DATA_DIR/master_key when absent" },
  { "MASTER_KEY_FILE", "string", nil, doc = "a file that holds it" },
  { "MASTER_KEY_PREVIOUS", "string", nil, secret = true, doc = "one that still opens what it sealed (cchost rekey)" },
  { "DEV_LOGIN", "enum", "on", one_of = { "on", "off" }, doc = "whoever is on this host signs in as anybody" },
  { "SIGNUP", "enum", "open", one_of = { "open", "closed" }, doc = "whether an unknown address makes an account" },
  { "SESSION_HOURS", "int", 24, min = 1, max = 8760, doc = "how long a session lasts" },
  { "MAGIC_LINK_MINUTES", "int", 15, min = 1, max = 1440, doc = "how long a link to sign in is good" },
  { "RATE_LIMIT_API", "int", 60, min = 0, max = 1000000, doc = "requests a minute per caller; 0: no limit" },
  { "RATE_LIMIT_AUTH", "int", 5, min = 0, max = 1000000, doc = "attempts to sign in a minute per caller; 0: no limit" },
  { "SMTP_HOST", "string", nil, doc = "the mail server" },
  { "SMTP_PORT", "int", 587, min = 1, max = 65535, doc = "its port" },
  { "SMTP_USERNAME", "string", nil, doc = "who we are there" },
  { "SMTP_PASSWORD", "string", nil, secret = true, doc = "and the password" },
  { "SMTP_FROM", "string", nil, doc = "the sender of our mails" },
  { "SMTP_TLS", "enum", "starttls", one_of = { "starttls", "tls", "none" }, doc = "how the way there is protected" },
  { "SMTP_CA", "string", nil, doc = "authorities that its certificate may come from; the system's when absent" },
  { "TRUSTED_PROXIES", "cidrs", "", doc = "CIDRs whose X-Forwarded-For is believed" },
  { "LOG_LEVEL", "enum", "info", one_of = { "debug", "info", "warn", "error" }, doc = "least level written" },
  { "DRAIN_SECONDS", "int", 30, min = 0, max = 3600, doc = "how long running requests may take at the end" },
  { "HTTP_CONNECTIONS", "int", 10000, min = 1, max = 1000000, doc = "bound on open client connections" },
  { "HTTP_HEAD_SECONDS", "int", 10, min = 1, max = 3600, doc = "a whole request head must arrive in this time" },
  { "HTTP_IDLE_SECONDS", "int", 15, min = 1, max = 3600, doc = "a kept connection may be idle for this long" },
  { "HTTP_BODY_RATE", "int", 1024, min = 1, max = 1e9, doc = "bytes a second a request body must keep after 10 s" },
  { "PROVIDER_SECONDS", "int", 60, min = 1, max = 3600, doc = "deadline of one provider call" },
  { "PROVIDER_THREADS", "int", 32, min = 1, max = 256, doc = "bound on one provider's concurrent calls" },
  { "STOP_GRACE_SECONDS", "int", 5, min = 0, max = 300, doc = "time between TERM and KILL when a local machine stops" },
  { "TERMINAL_COMMAND", "string", nil, doc = "what a terminal runs; zellij, else tmux, else the login shell when absent" },
  { "PROVIDER_REQUESTS_PER_HOUR", "table", nil, numbers = true,
    doc = "what a provider allows, as text: {hetzner=3600}; sweeps keep to half of it" },
  { "SWEEP_SECONDS", "int", 30, min = 1, max = 86400, doc = "between two comparisons of records and providers" },
  { "ORPHANS", "enum", "report", one_of = { "report", "delete" },
    doc = "what becomes of machines labelled ours that no record knows" },
  { "ORPHAN_GRACE_SECONDS", "int", 3600, min = 0, max = 30 * 86400,
    doc = "how long one must have been seen before it is deleted" },
  { "STATUS_SECONDS", "table", nil, numbers = true,
    doc = "how long a status may last, as text: {STARTING=900, STOPPING=600, DELETING=1800}" },
  { "QUOTA_INSTANCES", "int", 10, min = 0, max = 1000000, doc = "machines that a user may have; 0: any number" },
  { "LOG_DAYS", "int", 365, min = 0, max = 36500, doc = "how long the log keeps what billing does not need; 0: for ever" },
  { "TOMBSTONE_DAYS", "int", 30, min = 1, max = 36500, doc = "how long a deleted machine can still be read" },
  { "OPERATION_DAYS", "int", 30, min = 1, max = 36500, doc = "how long a finished operation can still be read" },
  { "MOCK", "table", nil, doc = "a Lua table of the mock provider's faults and latencies, as text" },
}

local by_name = {}
for _, d in ipairs(M.declared) do
  d.name, d.kind, d.default = d[1], d[2], d[3]
  by_name[d.name] = d
end

local function one_of_text(list) return table.concat(list, ", ") end

local parse = {}

function parse.string(_, text) return text end

function parse.int(d, text)
  local s = tostring(text)
  local n = s:match("^%-?%d+$") and tonumber(s)
  if not n or (d.min and n < d.min) or (d.max and n > d.max) then
    return nil, ("a whole number from %d to %d expected"):format(d.min, d.max)
  end
  return n
end

function parse.enum(d, text)
  for _, v in ipairs(d.one_of) do
    if v == text then return v end
  end
  return nil, "one of " .. one_of_text(d.one_of) .. " expected"
end

-- "host:port", ":port" (all addresses), "[v6]:port", "unix:/path"
function parse.address(_, text)
  local path = text:match("^unix:(/.+)$")
  if path then return { unix = path } end
  local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then host, port = text:match("^([^:%s]*):(%d+)$") end
  port = tonumber(port)
  if not port or port > 65535 then return nil, "host:port, [v6]:port or unix:/path expected" end
  return { host = host == "" and "0.0.0.0" or host, port = port }
end

local function is_cidr(text)
  local v4, bits = text:match("^(%d+%.%d+%.%d+%.%d+)/?(%d*)$")
  if v4 then
    for n in v4:gmatch("%d+") do
      if tonumber(n) > 255 then return false end
    end
    return bits == "" or tonumber(bits) <= 32
  end
  local v6
  v6, bits = text:match("^(%x*:[%x:.]*)/?(%d*)$")
  return v6 ~= nil and not v6:find(":::", 1, true) and (bits == "" or tonumber(bits) <= 128)
end

-- addresses and networks, with commas or spaces between them
function parse.cidrs(_, text)
  local out = {}
  for item in text:gmatch("[^,%s]+") do
    if not is_cidr(item) then return nil, "addresses or networks like 10.0.0.0/8 or fd00::/8 expected" end
    out[#out + 1] = item
  end
  return out
end

-- a Lua table as text: only values, nothing that runs
function parse.table(d, text)
  local chunk = load("return " .. text, "=setting", "t", {})
  local ok, t = pcall(chunk or error)
  if not ok or type(t) ~= "table" then return nil, "a Lua table like {create = {latency_ms = 50}} expected" end
  for name, value in pairs(d.numbers and t or {}) do
    if type(name) ~= "string" or type(value) ~= "number" or value < 1 then
      return nil, "names with numbers of 1 or more expected"
    end
  end
  return t
end

-- cchost.lua returns a table of settings. An absent file is a fault only when CCHOST_CONFIG names it.
local function read_file(path, named, faults)
  local f = io.open(path, "r")
  local text = f and f:read("*a")
  if f then f:close() end
  if not text then
    if f or named then faults[#faults + 1] = path .. ": cannot be read" end
    return {}
  end
  local chunk, why = load(text, "@" .. path, "t", {})
  local ok, t = pcall(chunk or error, why)
  if not ok or type(t) ~= "table" then
    faults[#faults + 1] = path .. ": " .. (ok and "must return a table" or tostring(t))
    return {}
  end
  for name in pairs(t) do
    if not by_name[name] then faults[#faults + 1] = path .. ": unknown setting " .. tostring(name) end
  end
  return t
end

local function read_args(args, faults)
  local given, rest = {}, {}
  for _, a in ipairs(args) do
    local flag, value = a:match("^%-%-([%w-]+)=(.*)$")
    local name = flag and flag:upper():gsub("-", "_")
    if not a:match("^%-%-") then
      rest[#rest + 1] = a
    elseif name and by_name[name] then
      given[name] = value
    else
      faults[#faults + 1] = "unknown option " .. a .. " (settings are written --name=value)"
    end
  end
  return given, rest
end

function M.load(args)
  local faults, settings = {}, {}
  local given, rest = read_args(args, faults)
  local named = sys.env("CCHOST_CONFIG")
  local file = read_file(named or "cchost.lua", named ~= nil, faults)
  for _, d in ipairs(M.declared) do
    local raw, from = given[d.name], "--" .. d.name:lower():gsub("_", "-")
    if raw == nil then raw, from = sys.env(d.name), "environment " .. d.name end
    if raw == nil or raw == "" then raw, from = file[d.name], "cchost.lua: " .. d.name end
    if raw == nil then raw = d.default end
    if raw ~= nil then
      local value, why = parse[d.kind](d, tostring(raw))
      if value == nil then
        faults[#faults + 1] = ("%s: %s, not %q"):format(from, why, d.secret and "(secret)" or tostring(raw))
      end
      settings[d.name] = value
    end
  end
  if settings.ENVIRONMENT == "production" and not settings.API_KEY then
    faults[#faults + 1] = "API_KEY: production needs one that you set"
  end
  if settings.API_KEY and #settings.API_KEY < 16 then
    faults[#faults + 1] = "API_KEY: at least 16 characters expected"
  end
  if #faults > 0 then return nil, faults end
  return settings, rest
end

-- The text of all settings for --help.
function M.help()
  local out = {}
  for _, d in ipairs(M.declared) do
    out[#out + 1] = ("  --%-22s %s%s"):format(d.name:lower():gsub("_", "-"), d.doc,
      d.default and d.default ~= "" and " (" .. tostring(d.default) .. ")" or "")
  end
  return table.concat(out, "\n") .. "\n"
end

return M
