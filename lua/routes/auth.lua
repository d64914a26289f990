-- /auth: signing in, and what is one's own: the account, sessions, API tokens, SSH keys, settings.

local app = require "app"
local credentials = require "accounts.credentials"
local errors = require "errors"
local json = require "json"
local lists = require "lists"
local log = require "log"
local limits = require "limits"
local mailer = require "accounts.mailer"
local origin = require "origin"
local page = require "page"
local query = require "query"
local reading = require "billing.reading"
local rights = require "rights"
local sessions = require "accounts.sessions"
local settings = require "accounts.settings"
local store = require "store"
local task = require "task"
local tokens = require "accounts.tokens"
local users = require "accounts.users"

local M = {}

M.base_url = nil      -- where links lead, without a last slash
M.frontend_url = nil  -- whose dashboard a browser goes to once it is signed in; nil: ours
M.dev_login = false   -- whoever is on this host signs in as anybody

local MAX_BODY = 8192

local function about(http) return { address = http:remote(), agent = http:header("user-agent") } end

-- ---- signing in

-- A page of another site must not sign its reader in as somebody.
local function from_elsewhere(http)
  local from = http:header("origin")
  if from and not origin.is_ours(http, from) then
    return errors.new("denied", "refused: the request comes from a page of another site")
  end
end

local loopback = { localhost = true, ["::1"] = true, ["[::1]"] = true }

local function came_by_proxy(http)
  for _, name in ipairs { "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via" } do
    if http:header(name) then return true end
  end
end

-- Development's short cut is for this host's own clients: not through a proxy, nor for a page that has made its name
-- lead here (DNS rebinding).
local function may_sign_in_at_once(http)
  if not M.dev_login or came_by_proxy(http) then return false end
  local host = (http:header("host") or ""):lower():gsub(":%d+$", "")
  local remote = http:remote() or ""
  local near = remote == "unix" or loopback[remote] or remote:match("^127%.")
  return (loopback[host] or host:match("^127%.%d+%.%d+%.%d+$") or remote == "unix") and near ~= nil and near ~= false
end

local function link_url(token) return M.base_url .. "/auth/verify?token=" .. token end

-- A link to sign in, for the log and for `make run`. -> url | nil, err
function M.link(address)
  local token, err = sessions.link(address)
  if not token then return nil, err end
  return link_url(token)
end

local function sign_in_at_once(http, address)
  local url, err = M.link(address)
  if not url then return nil, err end
  log.info("auth", "magic link", { email = address, url = url })
  local session
  session, err = sessions.at_once(address, about(http))
  if not session then return nil, err end
  local headers = app.session_cookie(http, session.token)
  headers["Cache-Control"] = "no-store"
  return 200, { message = "dev login successful", token = session.token, expires_at = session.expires_at }, headers
end

local function send_link(address)
  local url, err = M.link(address)
  if not url then return nil, err end
  return mailer.send_link(address, url, credentials.link_minutes)
end

-- Where an address may sign up the answer waits for the mail server; where not, it must not tell who has an account, not
-- even by how long it takes.
local function mail_link(address)
  if sessions.open_to(address) then
    local ok, err = send_link(address)
    if ok then return true end
    log.warn("auth", "a magic link could not be sent", { code = err.code, error = err.message })
    return errors.fail(err.code == "invalid" and "invalid" or "unavailable", "failed to send magic link", { retry_after = 30 })
  end
  if sessions.invited(address) then
    task.spawn(function()
      local ok, err = send_link(address)
      if not ok then log.warn("auth", "a magic link could not be sent", { code = err.code, error = err.message }) end
    end)
  end
  return true
end

app.post("/auth/login", {
  open = true, rate = "auth", body = { email = { "string", max = 320 } }, body_max = MAX_BODY,
  does = "Sends a link to sign in by mail",
  more = "In development on loopback `token` at once, and the link in the log. 503 when mail cannot be sent.",
  gives = { [200] = "LoginAnswer" }, fails = { 403, 503 }, example = { email = "ann@example.org" },
}, function(req)
  local elsewhere = from_elsewhere(req.http)
  if elsewhere then return nil, elsewhere end
  if not req.body.email then return errors.fail("invalid", "email is required", { field = "email" }) end
  local address, err = users.address(req.body.email)
  if not address then return nil, err end
  if may_sign_in_at_once(req.http) then return sign_in_at_once(req.http, address) end
  if not mailer.configured() then return errors.fail("unavailable", "signing in by mail is not set up here (SMTP_HOST)") end
  local too_many = limits.mail(address)
  if too_many then return nil, too_many end
  local ok
  ok, err = mail_link(address)
  if not ok then return nil, err end
  return 200, { message = "magic link sent" }
end)

-- A HEAD uses nothing up, whatever it accepts.
local function wants_json(http)
  return http:method() ~= "HEAD" and (http:header("accept") or ""):lower():find("application/json", 1, true) ~= nil
end

local function redeem_for_program(http, token)
  local session, err = sessions.redeem(token, about(http))
  if not session then return nil, err end
  return 200, { token = session.token, expires_at = session.expires_at }, { ["Cache-Control"] = "no-store" }
end

local function error_page(err)
  return page.answer(errors.status[err.code] or 500, "That did not work",
    ("<p>%s. Ask for a <a href=\"%s/auth/login\">new link</a> and use it within %d minutes.</p>")
      :format(page.escape(err.message), page.escape(M.frontend_url or ""), credentials.link_minutes))
end

local function confirm_page(token)
  local address, err = sessions.peek(token)
  if not address then return error_page(err) end
  return page.answer(200, "Sign in", ([[<p>Sign in as <b>%s</b>?</p>
<form method="post" action="/auth/verify"><input type="hidden" name="token" value="%s"><button>Sign in</button></form>]])
    :format(page.escape(address), page.escape(token)), { form_to = M.frontend_url })
end

-- A program's GET uses the link up; for a browser it is a page whose button does, as what scans mail opens links, too.
app.get("/auth/verify", {
  open = true, rate = "auth", others = true, does = "Uses a link up", -- mailers add parameters of theirs to links
  more = "With `Accept: application/json`; for a browser a page whose button does.",
  query = { token = { "string", about = "That of the link" } },
  gives = { [200] = "SignedIn" }, fails = { 400, 401 }, also = "text/html",
}, function(req)
  local token = app.query(req.http, "token") or ""
  local json_wanted = wants_json(req.http)
  if token == "" then
    local err = errors.new("invalid", "missing token", { field = "token" })
    if json_wanted then return nil, err end
    return error_page(err)
  end
  if json_wanted then return redeem_for_program(req.http, token) end
  return confirm_page(token)
end)

-- -> token, is it a form | nil, err
local function posted_token(http)
  local text, err = http:body(MAX_BODY)
  if not text then return nil, err end
  local is_form = (http:header("content-type") or ""):lower():find("application/x-www-form-urlencoded", 1, true) ~= nil
  local token
  if is_form then
    token = query.value(text, "token")
  else
    local body = json.decode(text == "" and "{}" or text)
    token = type(body) == "table" and body.token or nil
  end
  if type(token) ~= "string" or token == "" then return errors.fail("invalid", "missing token", { field = "token" }) end
  return token, is_form
end

local function signed_in(http, session)
  local headers = app.session_cookie(http, session.token)
  headers.Location = (M.frontend_url or "") .. "/dashboard"
  return 303, "", headers
end

local link_token = { "object", fields = { token = { "string", required = true, about = "That of the link" } } }

app.post("/auth/verify", {
  open = true, rate = "auth", body = "raw", does = "Uses a link up, also by the page's form", others = true,
  more = "The form: a cookie, and 303 to `/dashboard`, of `FRONTEND_URL` where there is one.",
  takes = { ["application/json"] = link_token, ["application/x-www-form-urlencoded"] = link_token },
  gives = { [200] = "SignedIn", [303] = false }, fails = { 400, 401, 403 },
}, function(req)
  local elsewhere = from_elsewhere(req.http)
  if elsewhere then return nil, elsewhere end
  local token, is_form = posted_token(req.http)
  if not token then return nil, is_form end
  if not is_form then return redeem_for_program(req.http, token) end
  local session, err = sessions.redeem(token, about(req.http))
  if not session then return error_page(err) end
  return signed_in(req.http, session)
end)

-- ---- one's account

local function me(user)
  local secret = settings.have(user.id)
  return {
    id = user.id, number = user.number, email = user.email, name = user.name, plan = user.plan, role = user.role,
    status = user.status, created_at = user.created_at, last_sign_in_at = user.last_sign_in_at, version = user.version,
    has_anthropic_key = secret.anthropic_api_key, has_oauth_token = secret.claude_oauth_token,
    subscription_status = user.subscription_status or "inactive", usage_hours = reading.hours(user.id),
  }
end

-- One's own account's.
local function reads(o)
  o.scope, o.user = "account:read", true
  return o
end
local function writes(o)
  o.scope, o.user = "account:write", true
  return o
end

app.get("/auth/me", reads { does = "One's account", gives = { [200] = "Me" } }, function(req)
  return 200, me(users.get(req.actor.user))
end)

app.patch("/auth/me", writes {
  body = users.self_fields, does = "Changes one's name", gives = { [200] = "Me" }, versioned = true, example = { name = "Ann" },
}, function(req)
  local user, err = users.patch(req.actor, req.actor.user, req.body)
  if not user then return nil, err end
  return 200, me(user)
end)

app.post("/auth/logout", {
  scope = "any", user = true, body = {}, does = "Ends the session, its tickets and its open terminals", gives = { [204] = false },
}, function(req)
  local c = req.actor.credential
  if c.kind ~= "session" then
    return errors.fail("invalid", "this is no session; an API token is ended by DELETE /auth/tokens/" .. c.id)
  end
  local ended, err = credentials.end_session(req.actor.user, c.id, req.actor.user)
  if ended == nil then return nil, err end
  return 204, "", { ["Set-Cookie"] = app.no_cookie }
end)

-- What is one's own and nobody else's, not an admin's either.
local function personal(kind)
  return function(actor, id)
    local text, owner
    if #id <= 64 then text, owner = store.raw(kind, id) end
    if text and owner == actor.user then return id, text end
    return errors.fail("not_found", "no such " .. kind)
  end
end

rights.find.session, rights.find.token = personal "session", personal "token"

-- ---- sessions

local function current(actor) return actor.credential.kind == "session" and actor.credential.id or nil end

app.get("/auth/sessions", lists.route(reads {
  does = "One's sessions", of = "Session", filters = { "current" }, sort = { "created_at", "expires_at" }, order = "-created_at",
}), function(req)
  local list, err = sessions.list(req.actor.user, current(req.actor))
  if not list then return nil, err end
  return lists.answer(req, { items = list })
end)

app.delete("/auth/sessions/{id}", writes { object = "session", does = "Ends one", gives = { [204] = false } }, function(req)
  local ended, err = credentials.end_session(req.actor.user, req.id, req.actor.user)
  if ended == nil then return nil, err end
  return 204, "", req.id == current(req.actor) and { ["Set-Cookie"] = app.no_cookie } or nil
end)

-- Signs out everywhere, here too; ?others=true: everywhere else.
app.delete("/auth/sessions", writes {
  does = "Signs out everywhere", gives = { [204] = false },
  query = { others = { "string", one_of = { "true", "false" }, about = "`true`: everywhere else", example = "true" } },
}, function(req)
  local others = app.query(req.http, "others") == "true"
  local n, err = credentials.end_sessions(req.actor.user, req.actor.user, others and current(req.actor) or nil)
  if not n then return nil, err end
  return 204, "", not others and { ["Set-Cookie"] = app.no_cookie } or nil
end)

-- ---- API tokens: made in a session alone, so that a token cannot breed

app.get("/auth/tokens", lists.route(reads {
  does = "One's API tokens, without their secrets", of = "Token", filters = { "name", "instance" },
  sort = { "id", "name", "created_at", "expires_at", "last_used_at" }, order = "id",
}), function(req)
  local list, err = tokens.list(req.actor.user)
  if not list then return nil, err end
  return lists.answer(req, { items = list })
end)

app.post("/auth/tokens", {
  scope = "any", user = true, session = true, secret = true, body = tokens.fields, does = "Makes an API token",
  more = "For 90 days unless said, for one machine if said.", gives = { [201] = "NewToken" },
  example = { name = "ci", scopes = { "instances:read" }, days = 30 },
}, function(req)
  local machine, err
  if req.body.instance then
    machine, err = rights.find.instance(req.actor, req.body.instance)
    if not machine then return errors.fail("invalid", "instance: " .. err.message, { field = "instance" }) end
  end
  local token
  token, err = tokens.create(req.actor, req.body, machine)
  if not token then return nil, err end
  return 201, token, { ["Cache-Control"] = "no-store" }
end)

app.delete("/auth/tokens/{id}", writes { object = "token", does = "Revokes one", gives = { [204] = false } }, function(req)
  local ok, err = tokens.revoke(req.actor.user, req.id, req.actor.user)
  if not ok then return nil, err end
  return 204, ""
end)

-- ---- SSH keys

function rights.find.ssh_key(actor, id)
  local user = actor.user and users.get(actor.user)
  for _, key in ipairs(user and user.ssh_keys or {}) do
    if key.id == id then return id end
  end
  return errors.fail("not_found", "no such SSH key")
end

app.get("/auth/ssh-keys", lists.route(reads {
  does = "One's SSH keys", of = "SshKey", filters = { "type", "name" }, sort = { "name", "created_at" }, order = "created_at",
}), function(req)
  return lists.answer(req, { items = users.get(req.actor.user).ssh_keys })
end)

local key_fields = { key = { "string", required = true, max = 16384 }, name = users.self_fields.name }

app.post("/auth/ssh-keys", writes {
  body = key_fields, does = "Adds one", more = "ed25519, or RSA of 4096 bits and more.", gives = { [201] = "SshKey" },
  example = { key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEf3B2HLpAcGEzYg1GxPBvg3kqd+ZPEbcDzTJmlRdF ann@laptop",
    name = "laptop" },
}, function(req)
  local key, err = users.add_key(req.actor, req.actor.user, req.body)
  if not key then return nil, err end
  return 201, key
end)

app.delete("/auth/ssh-keys/{id}", writes { object = "ssh_key", does = "Removes one", gives = { [204] = false } }, function(req)
  local user, err = users.remove_key(req.actor, req.actor.user, req.id)
  if not user then return nil, err end
  return 204, ""
end)

-- ---- settings: credentials for the user's machines

app.get("/auth/settings", reads { does = "Credentials for Claude on one's machines, masked", gives = { [200] = "Settings" } },
  function(req)
  local values, err = settings.masked(req.actor.user)
  if not values then return nil, err end
  return 200, values
end)

app.put("/auth/settings", writes {
  body = settings.fields, does = "Sets them", gives = { [200] = "Status" }, example = { anthropic_api_key = "" },
  more = "An empty text clears, absent keeps; machines that run are told at once (docs/agent.md).",
}, function(req)
  local ok, err = settings.put(req.actor, req.body)
  if not ok then return nil, err end
  return 200, { status = "updated" }
end)

return M
