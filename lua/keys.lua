-- The process's own secrets: set, or made once into DATA_DIR (0600) in development; production sets them (config.lua says so).
--
-- keys.api_key(settings) -> key, where it is | nil, err
-- keys.jwt(settings) -> {secret, previous or nil} | nil, err
-- keys.receipt(settings) -> key32, with which receipts are signed, in DATA_DIR alone | nil, err
-- keys.master(settings) -> {current = key32, previous = {key32...}} | nil, err

local crypto = require "crypto"
local errors = require "errors"
local fs = require "fs"
local secrets = require "secrets"

local M = {}

-- A word that is in a file, made there by make() when the file is not. -> text, path | nil, err
local function kept(path, make, least)
  local text, err = fs.read(path, 4096)
  if not text and err.code == "not_found" and make then
    local ok, werr = fs.write(path, make() .. "\n", { mode = tonumber("600", 8), exclusive = true })
    if not ok and werr.code ~= "exists" then return nil, werr end
    text, err = fs.read(path, 4096)
  end
  if not text then return nil, err end
  text = text:match("^%s*(%S+)%s*$")
  if not text or #text < least then
    return errors.fail("invalid", ("%s: one word of at least %d characters expected"):format(path, least))
  end
  return text, path
end

function M.api_key(settings)
  if settings.API_KEY then return settings.API_KEY, "API_KEY" end
  return kept(settings.DATA_DIR .. "/api_key", function() return crypto.token(24) end, 16)
end

function M.jwt(settings)
  local secret = settings.JWT_SECRET
  if not secret then
    local err
    secret, err = kept(settings.DATA_DIR .. "/jwt_secret", function() return crypto.token(32) end, 32)
    if not secret then return nil, err end
  end
  return { secret, settings.JWT_SECRET_PREVIOUS }
end

function M.receipt(settings)
  local path = settings.DATA_DIR .. "/receipt_key"
  local text, err = kept(path, function() return crypto.hex(crypto.ecdsa_keygen()) end, 64)
  if not text then return nil, err end
  local key = #text == 64 and text:match("^%x+$") and text:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)
  if not key or not crypto.ecdsa_public(key) then
    return errors.fail("invalid", path .. ": a key of P-256 as 64 hex digits expected")
  end
  return key
end

local function parsed(text, name)
  local key, why = secrets.parse_key(text)
  if not key then return errors.fail("invalid", name .. ": " .. why) end
  return key
end

function M.master(settings)
  local text, from = settings.MASTER_KEY, "MASTER_KEY"
  if not text then
    local path = settings.MASTER_KEY_FILE or settings.DATA_DIR .. "/master_key"
    text, from = kept(path, not settings.MASTER_KEY_FILE and function() return crypto.token(32) end or nil, 43)
    if not text then return nil, from end
  end
  local key, err = parsed(text, from)
  if not key then return nil, err end
  local ring = { current = key, previous = {} }
  if settings.MASTER_KEY_PREVIOUS then
    ring.previous[1], err = parsed(settings.MASTER_KEY_PREVIOUS, "MASTER_KEY_PREVIOUS")
    if not ring.previous[1] then return nil, err end
  end
  return ring
end

return M
