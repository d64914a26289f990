---@meta mail
-- luacheck: ignore 212 241
-- What `require "mail"` gives (lua/mail.lua; docs/scripts.md). [yields] marks what waits.

---@class mail.message
---@field from string
---@field from_name? string
---@field to string
---@field subject string
---@field text string
---@field html? string
---@field date? integer         unix ms; now
---@field id? string            the part of Message-ID before the "@"; by chance

---@class mail.way: mail.message
---@field host string
---@field port? integer
---@field tls? "starttls"|"tls"|"none"
---@field ca? string            a file
---@field username? string
---@field password? string
---@field name? string          who we say that we are
---@field timeout? number       seconds
---@field message? string       what `build` gave, instead of subject and text

---@class mail
local mail = {}

---[yields]
---@param o mail.way
---@return true|nil, cchost.error|nil err   timeout, unavailable, denied, invalid
function mail.send(o) end
---@param o mail.message
---@return string|nil message, string|cchost.error id_or_err
function mail.build(o) end
---As it is kept: in lower case.
---@param text string
---@param o? { dotless: boolean }
---@return string|nil address, string|nil why
function mail.address(text, o) end
---"Name <address>", or an address alone.
---@param text string
---@param o? { dotless: boolean }
---@return { address: string, name: string|nil }|nil, string|nil why
function mail.mailbox(text, o) end

return mail
