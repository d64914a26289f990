-- How often somebody may ask: token buckets by account, else by client address, in a fixed amount of memory.
--
-- How much is the policy's decision (policies/access.lua), of the generation that Policy-Generation names; a user's by that
-- which decides for him. Every answer
-- that was counted says how it stands, in RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset (seconds until all is
-- there again); one that is refused has Retry-After.
--
--   limits.setup{api =, auth =}                       requests a minute, 0: no limit
--   limits.take(http, actor, class) -> headers, err   class "api", "auth", or false: not counted. err: too many
--   limits.mail(address) -> err or nil                what one address is sent: by class "auth", and by the hour

local errors = require "errors"
local limiter = require "limiter"
local policy = require "policy"

local M = {}

local settings = { api = 60, auth = 5 }
local buckets

function M.setup(new)
  settings = new
  buckets = limiter.new {}
end

local function too_many(seconds)
  return errors.new("too_many", "rate limit exceeded", { retryable = true, retry_after = seconds })
end

-- -> per minute, burst, generation; 0: no limit
local function allowed(actor, class)
  local gen, per_minute, burst = policy.ask_for(actor and actor.user, "access.limit", {
    class = class, base = settings[class], who = not actor and "nobody" or actor.user and "user" or "operator",
    plan = actor and actor.plan or nil,
  })
  return per_minute, burst or per_minute, gen.number
end

function M.take(http, actor, class)
  if not class or settings[class] == 0 or not buckets then return nil end
  local per_minute, burst, generation = allowed(actor, class)
  if per_minute == 0 then return nil end
  local who = actor and actor.user or (actor and "operator/" or "") .. limiter.address_key(http:remote() or "")
  local ok, remaining, reset, retry = buckets:take(class .. ":" .. who, per_minute, burst)
  local headers = {
    ["RateLimit-Limit"] = ("%d"):format(per_minute), ["RateLimit-Remaining"] = ("%d"):format(remaining),
    ["RateLimit-Reset"] = ("%d"):format(reset), ["Policy-Generation"] = ("%d"):format(generation),
  }
  return headers, not ok and too_many(retry) or nil
end

local function mail_a_minute(address)
  if settings.auth == 0 then return nil end
  local per_minute, burst = allowed(nil, "auth")
  if per_minute == 0 then return nil end
  local ok, _, _, retry = buckets:take("auth:mail:" .. address, per_minute, burst)
  if not ok then return too_many(retry) end
end

-- Buckets fill by the minute: a mail costs as many tokens as an hour has minutes.
local function mail_an_hour(address)
  local per_hour = policy.ask("access.mails", { domain = address:match("@(.*)$") or "" })
  if per_hour == 0 then return nil end
  local ok, _, _, retry = buckets:take("mail:" .. address, per_hour, per_hour * 60, 60)
  if not ok then return too_many(retry) end
end

-- Whoever's address it is did not ask for them: so it counts however many different clients do.
function M.mail(address)
  if not buckets then return nil end
  return mail_a_minute(address) or mail_an_hour(address)
end

return M
