-- Hands the settings of webhooks to those who need them.

local attempt = require "webhooks.attempt"
local hooks = require "webhooks.hooks"
local send = require "webhooks.send"

local M = {}

function M.setup(settings)
  hooks.settings = {
    quota = settings.QUOTA_WEBHOOKS, http = settings.WEBHOOK_HTTP == "on", development = settings.ENVIRONMENT == "development",
  }
  send.settings = { timeout = settings.WEBHOOK_SECONDS, allow = settings.WEBHOOK_ALLOW, ca = settings.WEBHOOK_CA }
  attempt.settings = {
    first = settings.WEBHOOK_RETRY_FIRST, last = settings.WEBHOOK_RETRY_LAST, span = settings.WEBHOOK_RETRY_FOR,
  }
end

return M
