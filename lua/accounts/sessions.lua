-- Signing in by a link that is sent, and the sessions that come of it.
--
-- A magic link is a token of purpose "magic_link" and the record "magic_link" of its jti, {email, user (the account's id, if
-- there was one), expires_at}: whoever
-- brings it takes the record away in the same commit that makes the session (and the account, if there was none), so it is
-- good once. A session is a token of purpose "session" and the record "session" of its jti, {user, created_at, expires_at,
-- address, agent}: without the record the token is worth nothing.
--
-- `about` is {address =, agent =}: from where, for the list that the user sees.

local credentials = require "accounts.credentials"
local crypto = require "crypto"
local denials = require "policy.denials"
local errors = require "errors"
local expiring = require "accounts.expiring"
local json = require "json"
local kept = require "policy.kept"
local log = require "log"
local plain = require "plain"
local policy = require "policy"
local store = require "store"
local task = require "task"
local time = require "time"
local users = require "accounts.users"

local M = {}

local MAX_SESSIONS = 50 -- of an account; with one more the oldest ends

M.signup = "open" -- the setting SIGNUP, which policies/access.lua is told

-- Whether this address may make an account. -> true | false, the decision as it is kept: without the address
function M.open_to(address)
  if address == users.admin_email then return true end
  local counter = store.get("counter", "user")
  local input = {
    email = address, domain = address:match("@(.*)$") or "", setting = M.signup, accounts = counter and counter.last or 0,
  }
  local gen, verdict, reason = policy.ask_for(nil, "access.signup", input)
  if verdict == "allow" then return true end
  input = plain.copy(input) -- who was told of it meanwhile has the other one
  input.email = ""
  return false, kept.decision("access.signup", gen, input, verdict, reason)
end

-- Somebody who has no account was not let make one. It is kept beside the answer, which must not tell by its time.
local function refused(decision)
  task.spawn(denials.refused, { owner = "operator", what = "signup", decision = decision, by = "nobody" })
end

-- A link's token for an address (as users.address gives it). -> token | nil, err
function M.link(address)
  local jti = crypto.token(16)
  local user = users.resolve(address)
  local now = time.now()
  local ends = now + credentials.link_minutes * 60000
  local ok, err = store.update(function(tx)
    expiring.put(tx, "magic_link", jti, { email = address, user = user, expires_at = time.rfc3339(ends) })
    return true
  end)
  if not ok then return nil, err end
  return credentials.sign({ user_id = user or "", email = address, purpose = "magic_link", jti = jti }, now, ends)
end

-- Whether a link is sent to this address. To every one that may sign up: that it is suspended is told to whoever brings the
-- link back, and to nobody else.
function M.invited(address)
  local open, decision = M.open_to(address)
  if open then return true end
  local id = users.resolve(address)
  local user = id and users.get(id)
  if not user then refused(decision) end
  return user ~= nil and user.status == "active"
end

-- The address that a link is for, when it is still good; it stays so. -> address | nil, err
function M.peek(token)
  local user_id, purpose, jti, email = credentials.verify(token)
  if not user_id then return errors.fail("unauthorized", "invalid or expired token") end
  if purpose ~= "magic_link" then return errors.fail("unauthorized", "invalid token purpose") end
  local link = jti ~= "" and #jti <= 64 and expiring.live(store.get("magic_link", jti))
  if not link or link.email ~= email then return errors.fail("unauthorized", "invalid or expired token") end
  return email, jti
end

-- In an update: the oldest sessions end, so that there is room for one. -> ids of those
local function make_room(tx, user, by)
  local held, ended = expiring.held(tx, "session", user), {}
  for i = 1, #held - MAX_SESSIONS + 1 do
    credentials.drop_session(tx, user, held[i], by)
    ended[i] = held[i]
  end
  return ended
end

-- In an update: a new session of an account. -> session, user, ids of sessions that ended for it | nil, err
local function begin(tx, user, about, by)
  if user.status ~= "active" then return errors.fail("denied", "this account is suspended") end
  local now = tx:now()
  local ended = make_room(tx, user.id, by)
  local session = {
    id = crypto.token(16), user = user.id, created_at = time.rfc3339(now),
    expires_at = time.rfc3339(now + credentials.session_hours * 3600000),
    address = about.address or json.null, agent = about.agent and json.text(about.agent:sub(1, 200)) or json.null,
  }
  expiring.put(tx, "session", session.id, session, user.id)
  local signed = {}
  for k, v in pairs(user) do signed[k] = v end
  signed.last_sign_in_at = session.created_at
  if users.admin_email and user.email == users.admin_email then signed.role = "admin" end
  users.save(tx, user, signed, "signed_in", by, { session = session.id })
  return session, signed, ended
end

local function answer(session, user)
  local token = credentials.sign({ user_id = user.id, email = user.email, purpose = "session", jti = session.id },
    time.parse(session.created_at), time.parse(session.expires_at))
  return { token = token, expires_at = session.expires_at, user = user }
end

-- Runs fn(tx) -> user | nil, err and begins a session of that user in the same commit. -> {token, expires_at, user} | nil, err
local function sign_in(fn, about)
  local session, user, ended
  local ok, err = store.update(function(tx)
    local found, why = fn(tx)
    if not found then return nil, why end
    session, user, ended = begin(tx, found, about, found.id)
    if not session then return nil, user end
    return true
  end)
  if not ok then return nil, err end
  for _, id in ipairs(ended) do credentials.session_ended(user.id, id) end
  ok, err = users.on_sign_in(user)
  if not ok then
    log.warn("sessions", "what comes with a sign-in was not done; the next one does it", { error = tostring(err) })
  end
  return answer(session, user)
end

-- Uses a link up. -> {token =, expires_at =, user =} | nil, err
function M.redeem(token, about)
  local address, jti = M.peek(token)
  if not address then return nil, jti end
  local turned_away
  local session, err = sign_in(function(tx)
    turned_away = nil
    local link = expiring.drop(tx, "magic_link", jti)
    if not link then return errors.fail("unauthorized", "invalid or expired token") end
    if not link.user then -- nobody had the address then
      local open, decision = M.open_to(address)
      if open or tx:lookup("user_email", address) then return users.find_or_create(tx, address) end
      turned_away = decision
      return errors.fail("unauthorized", "invalid or expired token")
    end
    local user = tx:get("user", link.user)
    if user and user.status ~= "deleted" and user.email == address then return user end
    return errors.fail("unauthorized", "invalid or expired token")
  end, about)
  if turned_away then refused(turned_away) end
  return session, err
end

-- A session for whoever says that this is his address: development alone.
function M.at_once(address, about)
  return sign_in(function(tx) return users.find_or_create(tx, address) end, about)
end

-- The sessions of a user, newest first. `current`: the id of the one that asks. -> list | nil, err
function M.list(user, current)
  local page, err = store.scan("session_user", { prefix = user .. "/" })
  if not page then return nil, err end
  local list = {}
  for _, row in ipairs(page) do
    local session = expiring.live(store.get("session", row.key:sub(#user + 2)))
    if session then
      session.user, session.current = nil, session.id == current
      list[#list + 1] = session
    end
  end
  table.sort(list, function(a, b)
    if a.created_at ~= b.created_at then return a.created_at > b.created_at end
    return a.id < b.id
  end)
  return json.array(list)
end

return M
