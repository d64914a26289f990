-- The mails that we send: the link to sign in, and what outbox.lua has.
--
-- A link is sent while the request waits, and not as durable work: a link is of no use later, and whoever asked for it sees at
-- once that it could not be sent, and asks again.

local mail = require "mail"

local M = {}

local server -- how to reach it; nil: no mail

function M.setup(settings)
  local from = settings.SMTP_FROM and assert(mail.mailbox(settings.SMTP_FROM))
  server = settings.SMTP_HOST and {
    host = settings.SMTP_HOST, port = settings.SMTP_PORT, username = settings.SMTP_USERNAME, password = settings.SMTP_PASSWORD,
    tls = settings.SMTP_TLS, ca = settings.SMTP_CA, from = from.address, from_name = from.name, timeout = 20,
  }
end

function M.configured() return server ~= nil end

-- {to =, subject =, text =, id =}. -> true | nil, err
function M.send(message)
  for k, v in pairs(server) do message[k] = v end
  return mail.send(message)
end

-- -> true | nil, err
function M.send_link(address, url, minutes)
  return M.send {
    to = address, subject = "Your link to sign in",
    text = ("Open this link to sign in:\n\n%s\n\nIt is good once, for %d minutes. If you did not ask for it, do nothing.\n")
      :format(url, minutes),
  }
end

return M
