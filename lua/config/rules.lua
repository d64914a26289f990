-- What settings must be together. Each rule gets the settings that it names, and ENVIRONMENT, and says what is wrong with the
-- first of them (or with another: sentence, name), or nothing, and third what is only doubtful: a list of sentences. It is not
-- asked when one of them is at fault in itself, unless `of_any`: then that one is absent. Asked by `serve`, `check` and
-- `config`: other commands need only what they use.

local certificates = require "certificates"
local keys = require "secrets"
local mail = require "mail"

local M = {}

local function is_loopback(at)
  return at.unix ~= nil or at.host == "localhost" or at.host == "::1" or at.host:match("^127%.") ~= nil
end
M.is_loopback = is_loopback

local function production(s) return s.ENVIRONMENT == "production" end
local function is_https(url) return url ~= nil and url:match("^https:") ~= nil end

-- Whether a URL leads to this host from others.
local function is_public(url)
  local host = url and url:match("^https?://(%[?[^/:]+)")
  return host ~= nil and not (host == "localhost" or host:match("^127%.") or url:match("^https?://%[::1%]"))
end

local function needs(name, why)
  return { names = { name }, check = function(s)
    if production(s) and s[name] == nil then return "production needs one that you set" .. (why and ": " .. why or "") end
  end }
end

local secrets = { "API_KEY", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "MASTER_KEY", "MASTER_KEY_FILE", "MASTER_KEY_PREVIOUS",
  "SMTP_PASSWORD", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET_PREVIOUS", "HCLOUD_TOKEN",
  "NETBIRD_API_TOKEN" }

-- What earlier systems and examples have had; no secret if everybody knows it.
local known = { ["dev-api-key"] = true, ["dev-jwt-secret-change-in-production"] = true, changeme = true, secret = true }

local function is_poor(text)
  if known[text] then return "it is a default that everybody knows" end
  for n = 1, math.min(16, #text / 2) do
    if #text % n == 0 and text == text:sub(1, n):rep(#text / n) then return ("it is %d letters, repeated"):format(n) end
  end
  if text:lower():find("change.?me") then return "it says itself that it is to be changed" end
end

-- The word in MASTER_KEY_FILE, or nil.
local function master_key_of(s)
  local f = s.MASTER_KEY_FILE and io.open(s.MASTER_KEY_FILE)
  local text = f and (f:read(4096) or ""):match("^%s*(%S*)%s*$")
  if f then f:close() end
  return text
end

-- One key may be written in two ways.
local function used_twice(s)
  local first = {}
  for _, name in ipairs(secrets) do
    local text = name == "MASTER_KEY_FILE" and master_key_of(s) or name ~= "MASTER_KEY_FILE" and s[name]
    local bytes = text and (keys.parse_key(text) or text)
    local other = bytes and first[bytes]
    if other and not (other == "MASTER_KEY" and name == "MASTER_KEY_FILE") then -- to have both is a fault of its own
      return ("it is the same as %s; every secret must be one of its own"):format(name), other
    end
    if bytes and not other then first[bytes] = name end
  end
end

local function poor_secret(name)
  return { names = { name }, check = function(s)
    local why = production(s) and s[name] and is_poor(s[name])
    if why then return "production needs a secret: " .. why end
  end }
end

-- What a provider cannot be opened without.
local function needs_for(name, provider)
  return { names = { name, "PROVIDER" }, check = function(s)
    if s.PROVIDER == provider and not s[name] then return ("missing, and PROVIDER is %s"):format(provider) end
  end }
end

-- A price without which a plan cannot be bought.
local function needs_price(name)
  return { names = { name, "STRIPE_SECRET_KEY" }, check = function(s)
    if production(s) and s.STRIPE_SECRET_KEY and not s[name] then
      return "missing, and billing is on (STRIPE_SECRET_KEY): nobody could buy that plan"
    end
  end }
end

-- Two plans by one price: whoever pays would have one of them by chance.
local function own_price(name, other)
  return { names = { name, other }, check = function(s)
    if s[name] and s[name] == s[other] then return ("it is the same as %s; a price is of one thing"):format(other) end
  end }
end

M.list = {
  own_price("STRIPE_PRICE_PRO", "STRIPE_PRICE_STARTER"), own_price("STRIPE_PRICE_USAGE", "STRIPE_PRICE_STARTER"),
  own_price("STRIPE_PRICE_USAGE", "STRIPE_PRICE_PRO"),
  needs_price "STRIPE_PRICE_STARTER", needs_price "STRIPE_PRICE_PRO", needs_for("HCLOUD_TOKEN", "hetzner"),
  needs("API_KEY"), needs("JWT_SECRET"), needs("BASE_URL"), needs("SMTP_HOST", "who signs in is sent a link by mail"),
  poor_secret "API_KEY", poor_secret "JWT_SECRET", poor_secret "MASTER_KEY", poor_secret "JWT_SECRET_PREVIOUS",
  { names = { "MASTER_KEY_FILE" }, check = function(s)
    local text = master_key_of(s)
    if not text then return end
    if not keys.parse_key(text) then return "64 hexadecimal digits, or base64 of 32 bytes, expected in the file" end
    local why = production(s) and is_poor(text)
    if why then return "production needs a secret: " .. why end
  end },
  { names = { "TRUSTED_PROXIES" }, check = function(s)
    for _, range in ipairs(production(s) and s.TRUSTED_PROXIES or {}) do
      if range:match("/0$") then return "the networks of your proxies expected, not everybody's (" .. range .. ")" end
    end
  end },
  { names = { "MASTER_KEY", "MASTER_KEY_FILE" }, check = function(s)
    if production(s) and not s.MASTER_KEY and not s.MASTER_KEY_FILE then
      return "production needs one that you set (or MASTER_KEY_FILE): 64 hexadecimal digits, or base64 of 32 bytes"
    end
  end },
  { names = { "MASTER_KEY", "MASTER_KEY_FILE" }, check = function(s)
    if s.MASTER_KEY and s.MASTER_KEY_FILE then return "it is set, and MASTER_KEY_FILE, too; only one of them is expected" end
  end },
  { names = { "API_KEY" }, check = function(s)
    if production(s) and s.API_KEY and #s.API_KEY < 24 then return "production needs at least 24 characters" end
  end },
  { names = secrets, of_any = true, check = used_twice },
  { names = { "BASE_URL", "LISTEN_ADDR" }, check = function(s)
    if production(s) and s.BASE_URL and not is_https(s.BASE_URL) and not is_loopback(s.LISTEN_ADDR) then
      return "production needs https where others than this host listen: sessions would cross the network in the open"
    end
  end },
  { names = { "TLS_CERT", "TLS_KEY", "BASE_URL", "TRUSTED_PROXIES" }, check = function(s)
    if production(s) and is_https(s.BASE_URL) and not s.TLS_CERT and #s.TRUSTED_PROXIES == 0 then
      return "missing behind an https BASE_URL: set TLS_CERT and TLS_KEY, or TRUSTED_PROXIES where a proxy ends TLS"
    end
  end },
  { names = { "TLS_CERT", "TLS_KEY" }, check = function(s)
    if #(s.TLS_CERT or {}) ~= #(s.TLS_KEY or {}) then
      return ("%d certificates and %d keys (TLS_KEY); as many expected"):format(#(s.TLS_CERT or {}), #(s.TLS_KEY or {}))
    end
  end },
  { names = { "TLS_CERT", "TLS_KEY", "BASE_URL" }, check = function(s)
    local n = #(s.TLS_CERT or {})
    if n > 64 then return "at most 64 certificates expected" end
    if n == 0 or n ~= #(s.TLS_KEY or {}) then return end
    local doubts, err = certificates.check(s)
    if not doubts then return err.message end
    return nil, nil, doubts
  end },
  { names = { "TLS_CERT", "LISTEN_ADDR" }, check = function(s)
    if s.TLS_CERT and s.LISTEN_ADDR.unix then return "TLS needs a TCP address in LISTEN_ADDR" end
  end },
  { names = { "STRIPE_WEBHOOK_SECRET", "STRIPE_SECRET_KEY" }, check = function(s)
    if production(s) and s.STRIPE_SECRET_KEY and not s.STRIPE_WEBHOOK_SECRET then
      return "missing, and billing is on (STRIPE_SECRET_KEY): anybody could say that he has paid"
    end
  end },
  { names = { "STRIPE_WEBHOOK_SECRET_PREVIOUS", "STRIPE_WEBHOOK_SECRET" }, check = function(s)
    if s.STRIPE_WEBHOOK_SECRET_PREVIOUS and not s.STRIPE_WEBHOOK_SECRET then
      return "it is set, and STRIPE_WEBHOOK_SECRET is not"
    end
  end },
  { names = { "STRIPE_SECRET_KEY" }, check = function(s)
    local key = s.STRIPE_SECRET_KEY
    if production(s) and not key then
      return nil, nil, { "it is not set, so nobody is asked for money; plans and hours are yours to grant" }
    elseif production(s) and key:match("^.k_test_") then
      return nil, nil, { "it is a key for tests: what is paid by it is no money" }
    elseif key and key:match("^.k_live_") and not production(s) then
      return nil, nil, { "it is a live key, and this is no production: what is tried out is paid in earnest" }
    end
  end },
  { names = { "STRIPE_API_URL", "STRIPE_SECRET_KEY" }, check = function(s)
    local url = s.STRIPE_API_URL
    if production(s) and s.STRIPE_SECRET_KEY and url and not is_https(url) and is_public(url) then
      return "production needs https: the key would cross the network in the open"
    end
  end },
  { names = { "STRIPE_USAGE", "STRIPE_API_VERSION" }, check = function(s)
    if s.STRIPE_USAGE == "records" and s.STRIPE_API_VERSION >= "2025-03-31" then
      return ("version %s of Stripe's API (STRIPE_API_VERSION) has no usage records; meter, or one before 2025-03-31, expected")
        :format(s.STRIPE_API_VERSION)
    end
  end },
  { names = { "DEV_LOGIN", "BASE_URL", "LISTEN_ADDR" }, check = function(s)
    if s.DEV_LOGIN ~= "on" then return end
    if production(s) then return "production has no sign-in without proof; 'off' expected" end
    if is_public(s.BASE_URL) then return "others reach this server at BASE_URL; 'off' expected" end
    if not is_loopback(s.LISTEN_ADDR) then
      return "others than this host can reach LISTEN_ADDR; 'off', or a loopback address, expected"
    end
  end },
  { names = { "PROVIDER" }, check = function(s)
    if production(s) and s.PROVIDER == "mock" then
      return "production needs a provider that makes machines; mock only plays them"
    end
  end },
  { names = { "STATUS_SECONDS" }, check = function(s)
    local passing = {}
    for _, status in ipairs(require("statuses").list()) do -- here, as it checks its tables when it is loaded
      if not status.settled then passing[#passing + 1] = status.name end
    end
    local names = " " .. table.concat(passing, " ") .. " "
    for name in pairs(s.STATUS_SECONDS or {}) do
      if not names:find(" " .. name .. " ", 1, true) then
        return ("statuses that pass expected: %s"):format(table.concat(passing, ", "))
      end
    end
  end },
  { names = { "SMTP_TLS", "SMTP_HOST", "SMTP_USERNAME" }, check = function(s)
    local host = s.SMTP_HOST or ""
    local near = host == "localhost" or host == "::1" or host:match("^127%.")
    if s.SMTP_TLS ~= "none" or not s.SMTP_HOST or near then return end
    if s.SMTP_USERNAME then
      return "without TLS the password would cross the network in the open; starttls or tls expected"
    end
    return nil, nil, { "without TLS the links that sign people in cross the network in the open" }
  end },
  { names = { "SMTP_PASSWORD", "SMTP_USERNAME" }, check = function(s)
    if s.SMTP_USERNAME and not s.SMTP_PASSWORD then return "missing, and SMTP_USERNAME is set" end
    if s.SMTP_PASSWORD and not s.SMTP_USERNAME then return "it is set, and SMTP_USERNAME is not" end
  end },
  { names = { "WEBHOOK_ALLOW" }, check = function(s)
    for _, range in ipairs(s.WEBHOOK_ALLOW or {}) do
      if range == "unix" then return "addresses or networks expected, not 'unix'" end
    end
  end },
  { names = { "SMTP_FROM", "SMTP_HOST", "BASE_URL" }, check = function(s)
    if s.SMTP_HOST and not s.SMTP_FROM and not s.BASE_URL then
      return "missing, and there is no BASE_URL to take the host from"
    end
  end },
}

-- Settings that depend on others, once all are sound.
function M.derive(s)
  if s.DEV_LOGIN == nil then
    -- a unix socket is mostly a proxy's way to us
    local on = s.ENVIRONMENT == "development" and not s.LISTEN_ADDR.unix and is_loopback(s.LISTEN_ADDR) and not s.SMTP_HOST
      and not is_public(s.BASE_URL) and #s.TRUSTED_PROXIES == 0
    s.DEV_LOGIN = on and "on" or "off"
  end
  if s.WEBHOOK_ALLOW == nil then s.WEBHOOK_ALLOW = s.ENVIRONMENT == "development" and { "127.0.0.0/8", "::1" } or {} end
  if not s.ADMIN_EMAIL and s.ENVIRONMENT == "development" then s.ADMIN_EMAIL = "admin@localhost" end
  if s.SMTP_HOST and not s.SMTP_FROM and s.BASE_URL then
    local host = s.BASE_URL:match("^https?://([^:/]+)")
    s.SMTP_FROM = mail.address("noreply@" .. host, { dotless = true }) or "noreply@localhost"
  end
end

return M
