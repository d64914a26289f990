-- Hands the settings of accounts and access to those who need them.
--
-- setup.serve(settings) -> the place of the operator's key | nil, err    what answering requests needs

local app = require "app"
local auth = require "routes.auth"
local credentials = require "accounts.credentials"
local events = require "events"
local keys = require "keys"
local limits = require "limits"
local mailer = require "accounts.mailer"
local origin = require "origin"
local receipts = require "billing.receipts"

local M = {}

function M.serve(settings)
  local key, place = keys.api_key(settings)
  if not key then return nil, place end
  credentials.api_key = key
  local secret, err = keys.jwt(settings)
  if not secret then return nil, err end
  credentials.setup(secret)
  local receipt
  receipt, err = keys.receipt(settings)
  if not receipt then return nil, err end
  receipts.setup(receipt)
  credentials.session_hours, credentials.link_minutes = settings.SESSION_HOURS, settings.MAGIC_LINK_MINUTES
  credentials.on_revoked = events.look
  limits.setup { api = settings.RATE_LIMIT_API, auth = settings.RATE_LIMIT_AUTH }
  mailer.setup(settings)
  return place
end

-- Once it is known where we listen: `url` stands for BASE_URL when that is not set.
function M.listening(settings, url)
  origin.setup(settings.BASE_URL, settings.FRONTEND_URL)
  auth.base_url = settings.BASE_URL or url
  auth.frontend_url = settings.FRONTEND_URL
  auth.dev_login = settings.DEV_LOGIN == "on"
  app.base_url = auth.base_url
  app.secure = settings.BASE_URL ~= nil and settings.BASE_URL:match("^https:") ~= nil
end

return M
