-- What a request may show to say who asks, and what becomes of those who may no longer.
--
--   Authorization: Bearer TOKEN   a session (JWT) or an API token of a user's own (cct_...)
--   Cookie: session=TOKEN         a session, of a browser
--   X-API-Key: KEY                the operator's key
--   ?token=TICKET                 on routes for WebSockets alone: good once, for one machine, for a minute
--
-- credentials.authenticate(http, with_ticket) -> actor | nil, err
-- An actor is {admin = bool, user = uuid or nil (the operator's key), email =, plan =, scopes = {name = true} or nil (all),
-- machine = uuid or nil (any), admin_for = the one scope in which an admin's token may what he may,
-- credential = {kind =, id =, who = "USER/KIND:ID", revoked = true once it is}}. It is shared by
-- all requests with the same credential: never written to but by credentials.revoke.
--
-- What was found good is remembered until it ends or until credentials.forget; serve also follows the log for what other
-- processes change (accounts/revocations.lua).

local crypto = require "crypto"
local errors = require "errors"
local expiring = require "accounts.expiring"
local host_http = require "http"
local jwt = require "jwt"
local query = require "query"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

M.api_key = nil       -- the operator's, set by serve
M.session_hours = 24
M.link_minutes = 15

M.remembered = 10000      -- credentials; 0: each request is looked up anew

local SEEN_SECONDS = 3600 -- how exact "last used" is
local ticket_seconds = 60

local signer
local good, n_good = {}, 0                  -- [text of the credential] = actor
local given = setmetatable({}, { __mode = "k" }) -- every credential that is in somebody's hands

-- ---- keys

local function kid_of(secret) return crypto.hex(crypto.sha256("cchost kid" .. secret)):sub(1, 8) end

-- The first secret signs; tokens of all are good.
function M.setup(secrets)
  local keys = {}
  keys.cache = 0 -- what is good is remembered here
  for i, secret in ipairs(secrets) do keys[i] = { secret = secret, kid = kid_of(secret) } end
  signer = jwt.new(keys)
  good, n_good = {}, 0
end

-- A signed token. claims: user_id, email, purpose, jti. Both times in unix ms.
function M.sign(claims, issued_ms, expires_ms)
  claims.iat, claims.exp = math.floor(issued_ms / 1000), math.floor(expires_ms / 1000)
  return signer:sign(claims)
end

-- -> user_id, purpose, jti, email | nil, err
function M.verify(token) return signer:verify(token) end

-- ---- remembering

local function remember(text, actor, expires_ms)
  given[actor.credential] = true
  if M.remembered == 0 then return actor end
  if n_good >= M.remembered then good, n_good = {}, 0 end
  if not good[text] then n_good = n_good + 1 end
  good[text] = { actor = actor, expires = expires_ms }
  return actor
end

local function remembered(text)
  local g = good[text]
  if g and g.expires > time.now() then return g.actor end
end

local function begins(text, prefix) return text:sub(1, #prefix) == prefix end

-- Looks anew at the credentials of which is(who) says so.
local function forget(is)
  for text, g in pairs(good) do
    if is(g.actor.credential.who) then
      good[text] = nil
      n_good = n_good - 1
    end
  end
end

-- They are good no more, for requests under way neither.
local function mark(is)
  forget(is)
  for credential in pairs(given) do
    if is(credential.who) then credential.revoked = true end
  end
end

-- Looks anew at credentials whose `who` begins so ("USER/", "USER/session:ID").
function M.forget(prefix)
  forget(function(who) return begins(who, prefix) end)
end

-- They are good no more: forgotten, and what they hold open is closed.
function M.revoke(prefix, reason)
  mark(function(who) return begins(who, prefix) end)
  host_http.close_streams_of(prefix, 1008, reason)
  M.on_revoked()
end

-- A credential of another kind ("who" as here) is in somebody's hands: it is marked when it ends. -> credential
function M.hand_out(credential)
  given[credential] = true
  return credential
end

-- Called after a revocation: whoever holds something open for a credential looks at credential.revoked.
function M.on_revoked() end

local over_reasons = { session = "the session has expired", token = "the token has expired", preview = "the link has expired" }

-- Time ends them as a revocation does. However many they are, what is remembered is walked once.
function expiring.on_over(list)
  local over = {}
  for _, o in ipairs(list) do over[("%s/%s:%s"):format(o.user, o.kind, o.id)] = over_reasons[o.kind] end
  mark(function(who) return over[who] ~= nil end)
  for who, reason in pairs(over) do host_http.close_streams_of(who, 1008, reason) end
  M.on_revoked()
end

-- ---- one credential

local function bad(message) return errors.fail("unauthorized", message) end

-- The account behind a credential, if it may do anything. -> user | nil, err
local function account(id)
  local user = store.get("user", id)
  if not user or user.status == "deleted" then return bad("invalid token") end
  if user.status ~= "active" then return errors.fail("denied", "this account is suspended") end
  return user
end

local function actor_of(user, kind, id)
  return {
    admin = user.role == "admin", user = user.id, email = user.email, plan = user.plan,
    credential = { kind = kind, id = id, who = ("%s/%s:%s"):format(user.id, kind, id) },
  }
end

local function session_actor(text, user_id, purpose, jti)
  if not user_id then return bad("invalid token") end
  if purpose ~= "session" then return bad("invalid token purpose") end
  local session = jti ~= "" and #jti <= 64 and expiring.live(store.get("session", jti))
  if not session or session.user ~= user_id then return bad("invalid token") end
  local user, err = account(session.user)
  if not user then return nil, err end
  return remember(text, actor_of(user, "session", jti), time.parse(session.expires_at))
end

-- Notes now and then that a token is used. Never in the way of the request.
local function note_use(id, token)
  local now = time.now()
  if type(token.last_used_at) == "string" and now - time.parse(token.last_used_at) < SEEN_SECONDS * 1000 then return end
  task.spawn(function()
    store.update(function(tx)
      local value = tx:get("token", id)
      if not value then return true end
      value.last_used_at = time.rfc3339(now)
      tx:put("token", id, value)
      return true
    end)
  end)
end

local function token_actor(text, id, secret)
  local token = expiring.live(store.get("token", id))
  local hash = crypto.hex(crypto.sha256(secret))
  if not crypto.equal(hash, token and token.hash or ("0"):rep(64)) then return bad("invalid token") end
  local user, err = account(token.user)
  if not user then return nil, err end
  local actor = actor_of(user, "token", id)
  actor.scopes = {}
  for _, scope in ipairs(token.scopes) do actor.scopes[scope] = true end
  actor.admin_for = actor.admin and actor.scopes.metrics and "metrics" or nil
  actor.admin = actor.admin and actor.scopes.operator == true
  actor.machine = type(token.machine) == "string" and token.machine or nil
  note_use(id, token)
  return remember(text, actor, math.min(time.parse(token.expires_at), time.now() + SEEN_SECONDS * 1000))
end

local function bearer(header)
  local actor = remembered(header)
  if actor then return actor end
  local id, secret = header:match("^[Bb]earer cct_(%x+)_(%x+)$")
  if id and #id == 16 and #secret == 64 then return token_actor(header, id, secret) end
  return session_actor(header, signer:bearer(header))
end

local function cookie(token)
  local text = "c:" .. token
  local actor = remembered(text)
  if actor then return actor end
  return session_actor(text, signer:verify(token))
end

-- The value of the cookie `session`, or nil. Two of them with different values are told apart from none by "".
local function session_cookie(header)
  local found
  for name, value in header:gmatch("([^=;%s]+)=([^;]*)") do
    if name == "session" then
      value = value:match('^"?(.-)"?%s*$')
      if found and found ~= value then return "" end
      found = value
    end
  end
  return found
end

local operator = { admin = true, credential = { kind = "key", who = "operator/key" } }
given[operator.credential] = true

local function key(text)
  if not crypto.equal(text, M.api_key) then return bad("invalid API key") end
  return operator
end

-- ---- tickets

-- A ticket for `machine` (uuid), in the name of the actor; `console`: for that console of it. -> {ticket =, expires_at =} |
-- nil, err
function M.make_ticket(actor, machine, console)
  local secret = crypto.token(24)
  local value = {
    user = actor.user, admin = actor.admin or nil, who = actor.credential.who, machine = machine, console = console,
    connects = actor.scopes and not actor.scopes["instances:write"] or nil, -- alone, and starts nothing
    expires_at = time.rfc3339(time.now() + ticket_seconds * 1000),
  }
  local ok, err = store.update(function(tx)
    local stands_yet, why = M.check_in(tx, actor)
    if not stands_yet then return nil, why end
    expiring.put(tx, "ticket", crypto.hex(crypto.sha256(secret)), value, actor.user)
    return true
  end)
  if not ok then return nil, err end
  return { ticket = secret, expires_at = value.expires_at }
end

-- Whether what a ticket was made with is still good.
local function stands(who)
  if who == operator.credential.who then return true end
  local user, kind, id = who:match("^([^/]+)/([a-z]+):(.+)$")
  return expiring.live(store.get(kind, id)) ~= nil and account(user) ~= nil
end

local function ticket(secret)
  if secret:find(".", 1, true) or begins(secret, "cct_") then
    return bad("invalid token: in a URL a ticket is expected (POST /instances/{id}/ticket)")
  end
  local id = crypto.hex(crypto.sha256(secret))
  local value = store.update(function(tx)
    return expiring.drop(tx, "ticket", id) or errors.fail("unauthorized", "invalid token")
  end)
  value = type(value) == "table" and expiring.live(value)
  if not value or not stands(value.who) then return bad("invalid token") end
  local credential = { kind = "ticket", who = value.who }
  given[credential] = true
  local admin = value.admin == true and (value.user == nil or account(value.user).role == "admin")
  return {
    admin = admin, user = value.user, machine = value.machine, console = value.console, credential = credential,
    scopes = value.connects and { ["instances:connect"] = true } or nil,
  }
end

-- ---- whether it is still so

-- After a wait: may the actor go on? What ends a credential marks it. -> true | nil, err
function M.check(actor)
  if actor and actor.credential and actor.credential.revoked then return bad("invalid token") end
  return true
end

-- In an update that gives rights or keeps secrets: the account and the credential are read in it, so that their end and this
-- cannot both be committed. -> true | nil, err
function M.check_in(tx, actor)
  if not actor.user then return true end
  local user = tx:get("user", actor.user)
  local as_admin = actor.admin or actor.admin_for
  if not user or user.status ~= "active" or as_admin and user.role ~= "admin" then return bad("invalid token") end
  local c = actor.credential
  if c and (c.kind == "session" or c.kind == "token") and not tx:get(c.kind, c.id) then return bad("invalid token") end
  return true
end

-- ---- all that a request shows

-- Every credential that is there must be good; the first in this order says who asks.
function M.authenticate(http, with_ticket)
  local first, actor, err
  local authorization, cookies, api_key = http:header("authorization", "cookie", "x-api-key")
  if authorization then
    first, err = bearer(authorization)
    if not first then return nil, err end
  end
  local text = cookies and session_cookie(cookies)
  if text then
    actor, err = cookie(text)
    if not actor then return nil, err end
    if not first then first = setmetatable({ by_cookie = true }, { __index = actor }) end
  end
  if api_key then
    actor, err = key(api_key)
    if not actor then return nil, err end
    first = first or actor
  end
  text = with_ticket and query.value(http:query(), "token")
  if text then
    actor, err = ticket(text)
    if not actor then return nil, err end
    first = first or actor
  end
  if first then return first end
  return errors.fail("unauthorized", "authentication required")
end

-- ---- ending them

-- Ends every session of a user but `except`. -> how many | nil, err
function M.end_sessions(user, by, except)
  local page, err = store.scan("session_user", { prefix = user .. "/" })
  if not page then return nil, err end
  local n = 0
  for _, row in ipairs(page) do
    local id = row.key:sub(#user + 2)
    if id ~= except then
      local ended
      ended, err = M.end_session(user, id, by)
      if err then return nil, err end
      n = n + (ended and 1 or 0)
    end
  end
  return n
end

-- In an update; M.session_ended follows it. -> whether there was one
function M.drop_session(tx, user, id, by)
  local session = tx:get("session", id)
  if not session or session.user ~= user then return false end
  expiring.drop(tx, "session", id)
  tx:log("user", user, "session_ended", { session = id }, by)
  return true
end

function M.session_ended(user, id) M.revoke(("%s/session:%s"):format(user, id), "signed out") end

-- -> true, or false when there is none | nil, err
function M.end_session(user, id, by)
  local ended, err = store.update(function(tx) return M.drop_session(tx, user, id, by) end)
  if ended == nil then return nil, err end
  if ended then M.session_ended(user, id) end
  return ended
end

return M
