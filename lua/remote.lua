-- Where the server is that a tool talks to, and who we are there.
--
--   server, err = remote.server(settings, url)
--       url: given on the command line, or nil; then CCHOST_URL, then where `serve` is with these settings
--       server = {name = for people, base = "http[s]://HOST[:PORT][/PATH]", unix = path or nil, near = it is on this host}
--   headers, err = remote.credential(settings, server, token_file)
--       the token in token_file, or CCHOST_TOKEN, as Bearer; else API_KEY, or DATA_DIR/api_key for a server on this host

local errors = require "errors"
local fs = require "fs"
local sys = require "sys"

local M = {}

local function is_near(authority)
  local host = authority:gsub(":%d+$", ""):lower()
  return host == "localhost" or host == "[::1]" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function from_url(url)
  local path = url:match("^unix:(/[^%c]+)$")
  if path then return { name = url, base = "http://localhost", unix = path, near = true } end
  local scheme, authority = url:match("^([Hh][Tt][Tt][Pp][Ss]?)://([^/?#@%s%c]+)[^?#@%s%c]*$")
  if not scheme then
    return errors.fail("invalid", "the server's URL: http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH expected")
  end
  return { name = url, base = url:gsub("/+$", ""), near = is_near(authority) }
end

local everywhere = { ["0.0.0.0"] = "127.0.0.1", ["::"] = "::1" }

-- The server that has these settings. With TLS it is called as its certificate calls it.
local function from_settings(settings)
  local at = settings.LISTEN_ADDR
  if at.unix then return from_url("unix:" .. at.unix) end
  local tls = settings.TLS_CERT ~= nil
  if tls and settings.BASE_URL then
    local server, err = from_url(settings.BASE_URL)
    if server then server.near = true end
    return server, err
  end
  if at.port == 0 then return errors.fail("invalid", "LISTEN_ADDR names no port; say where the server is with --url=") end
  local host = everywhere[at.host] or at.host
  if host:find(":", 1, true) then host = "[" .. host .. "]" end
  return from_url(("%s://%s:%d"):format(tls and "https" or "http", host, at.port))
end

function M.server(settings, url)
  url = url or sys.env("CCHOST_URL")
  if url and url ~= "" then return from_url(url) end
  return from_settings(settings)
end

-- The one word that a file holds. -> text | nil, err
local function word_of(path)
  local text, err = fs.read(path, 8192)
  if not text then return nil, err end
  text = text:match("^%s*([%w%p]+)%s*$")
  if not text then return errors.fail("invalid", path .. " holds no credential: one word expected") end
  return text
end

-- The key of the server whose files these are, which a server elsewhere has no use for and must not see.
local function key_of_host(settings, server)
  if settings.API_KEY then return settings.API_KEY end
  if not server.near then
    return errors.fail("invalid", "no credential for " .. server.name .. ": --token-file=FILE, CCHOST_TOKEN or API_KEY expected")
  end
  local path = settings.DATA_DIR .. "/api_key"
  local key, err = word_of(path)
  if key then return key end
  return errors.fail(err.code, ("no credential: --token-file=FILE, CCHOST_TOKEN or API_KEY expected, or a key in %s (%s)")
    :format(path, err.message))
end

function M.credential(settings, server, token_file)
  local token = sys.env("CCHOST_TOKEN")
  if token_file then
    local err
    token, err = word_of(token_file)
    if not token then return nil, err end
  end
  if token and token ~= "" then
    if not token:match("^[%w%p]+$") then return errors.fail("invalid", "CCHOST_TOKEN: one word expected") end
    return { Authorization = "Bearer " .. token }
  end
  local key, err = key_of_host(settings, server)
  if not key then return nil, err end
  return { ["X-API-Key"] = key }
end

return M
