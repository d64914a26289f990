-- What a setting may be: kinds[name](declaration, text) -> value | nil, what would be right, which never quotes the text.
--   kinds.of_many[name]: in cchost.lua it may be a list.

local files = require "config.file"
local fs = require "fs"
local limiter = require "limiter"
local mail = require "mail"
local secrets = require "secrets"

local M = { of_many = { cidrs = true, files = true, levels = true } }

local MAX_NETWORKS = 64 -- as the server has room for
local MAX_WORD = 250

function M.string(d, text)
  if d.least and #text < d.least then return nil, ("at least %d characters expected"):format(d.least) end
  return text
end

-- of a form of its own
function M.word(d, text)
  if #text > MAX_WORD or not text:match(d.like) then return nil, d.wanted .. " expected" end
  return text
end

-- "20000-29999"
function M.ports(_, text)
  local first, last = text:match("^(%d+)%-(%d+)$")
  first, last = tonumber(first), tonumber(last)
  if not last or first < 1024 or last > 65535 or first > last then return nil, "FIRST-LAST within 1024-65535 expected" end
  return text
end

function M.int(d, text)
  local n = text:match("^%-?%d+$") and tonumber(text)
  if not n or (d.min and n < d.min) or (d.max and n > d.max) then
    return nil, ("a whole number from %d to %d expected"):format(d.min, d.max)
  end
  return n
end

-- a part of a whole, from 0 to 1
function M.ratio(_, text)
  local n = text:match("^%d*%.?%d+$") and tonumber(text)
  if not n or n > 1 then return nil, "a number from 0 to 1 expected" end
  return n
end

-- "name=value,name=value", values as in URLs: a list of {name, value}
function M.values(_, text)
  local out = {}
  for item in text:gmatch("[^,]+") do
    local name, value = item:match("^%s*([%w!#$&'*+.^_`|~-]+)%s*=%s*(.-)%s*$")
    if not name or #name > 250 then return nil, "names with values like name=value,other=value expected" end
    out[#out + 1] = { name, (value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)) }
  end
  if #out > 32 then return nil, "at most 32 of them expected" end
  return out
end

local units = { s = 1, m = 60, h = 3600, d = 86400 }

-- seconds; "90s", "5m", "2h", "1d", or a plain number of them
function M.duration(d, text)
  local n, unit = text:match("^(%d+)([smhd]?)$")
  n = n and #n < 12 and tonumber(n) * units[unit ~= "" and unit or "s"]
  if not n or n < d.min or n > d.max then
    return nil, ("a duration like 90s, 5m or 2h, from %d to %d seconds, expected"):format(d.min, d.max)
  end
  return n
end

function M.enum(d, text)
  for _, v in ipairs(d.one_of) do
    if v == text then return v end
  end
  return nil, "one of " .. table.concat(d.one_of, ", ") .. " expected"
end

local levels = { debug = true, info = true, warn = true, error = true, off = true }

-- "access=off,tls=debug"
function M.levels(_, text)
  local out, n = {}, 0
  for item in text:gmatch("[^,%s]+") do
    local module, level = item:match("^([%l_]+)=(%l+)$")
    if not levels[level or ""] or #module > 31 then
      return nil, "modules with levels like access=off,tls=debug expected (debug, info, warn, error, off)"
    end
    out[module], n = level, n + 1
  end
  if n > 64 then return nil, "at most 64 modules expected" end
  return out
end

-- "host:port", ":port" (all addresses), "[v6]:port", "unix:/path"
function M.address(_, text)
  local path = text:match("^unix:(/.+)$")
  if path then return { unix = path } end
  local host, port = text:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then host, port = text:match("^([^:%s]*):(%d+)$") end
  port = tonumber(port)
  if not port or port > 65535 then return nil, "host:port, [v6]:port or unix:/path expected" end
  return { host = host == "" and "0.0.0.0" or host, port = port }
end

-- addresses and networks, with commas or spaces between them; "unix": the clients of a unix socket
function M.cidrs(_, text)
  local out = {}
  for item in text:gmatch("[^,%s]+") do
    if item ~= "unix" and not limiter.is_network(item) then
      return nil, "addresses or networks like 10.0.0.0/8 or fd00::/8 expected (nothing set behind the prefix)"
    end
    out[#out + 1] = item
  end
  if #out > MAX_NETWORKS then return nil, ("at most %d addresses or networks expected"):format(MAX_NETWORKS) end
  return out
end

local ports = { http = 80, https = 443 }

-- "host", "host:port", "[v6]", "[v6]:port" -> host, port or nil; nothing when it is none of them
local function authority(text)
  local host, rest = text:match("^(%[%x*:[%x:.]+%])(.*)$")
  if not host then host, rest = text:match("^(%w[%w.-]*)(.*)$") end
  if not host or rest == "" then return host end
  local port = tonumber(rest:match("^:(%d+)$"))
  if port and port >= 1 and port <= 65535 then return host, port end
end

-- "https://host[:port]" without a last slash; with d.path a path may follow
function M.url(d, text)
  local scheme, rest = text:match("^(https?)://(.+)$")
  local name, path = (rest or ""):match("^([^/?#]+)(.*)$")
  local host, port = authority(name or "")
  path = (path or ""):gsub("/+$", "")
  if not host or path ~= "" and not (d.path and path:match("^/[%w._~/-]*$")) then
    return nil, d.path and "a URL like https://host/path expected" or "a URL like https://host or https://host:8443 expected"
  end
  local suffix = port and port ~= ports[scheme] and ":" .. port or "" -- as browsers write an origin
  return scheme .. "://" .. host:lower() .. suffix .. path
end

-- It is read more than once, so a pipe will not do.
function M.file(_, text)
  local st = fs.stat(text, true)
  local f, why
  if st and st.type == "file" then f, why = io.open(text, "rb") else why = st and "it is no file" or "there is none" end
  if not f then return nil, "a file that can be read expected (" .. tostring(why):gsub("^.*: ", "") .. ")" end
  f:close()
  return text
end

-- files, with commas between them
function M.files(d, text)
  local out = {}
  for item in text:gmatch("[^,]+") do
    local path, why = M.file(d, item:match("^%s*(.-)%s*$"))
    if not path then return nil, why end
    out[#out + 1] = path
  end
  if #out == 0 then return nil, "at least one file expected" end
  return out
end

function M.email(_, text)
  local address, why = mail.address(text)
  return address, why
end

-- "name@example.org" or "Name <name@example.org>"
function M.sender(_, text)
  local box, why = mail.mailbox(text)
  return box and text, why
end

function M.key(_, text)
  local key, why = secrets.parse_key(text)
  return key and text, why
end

-- a Lua table as text: only values, nothing that runs
function M.table(d, text)
  local t = text
  if type(t) ~= "table" then
    local faults
    t, faults = files.evaluate("return " .. text)
    if #faults > 0 then return nil, "a Lua table like {create = {latency_ms = 50}} expected" end
  end
  for name, value in pairs(d.numbers and t or {}) do
    if type(name) ~= "string" or type(value) ~= "number" or value < 1 then
      return nil, "names with numbers of 1 or more expected"
    end
  end
  return t
end

return M
