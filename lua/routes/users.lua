-- /users: accounts, as an admin sees and changes them. {id} is a uuid, a number or an email address.

local accounts = require "billing.accounts"
local app = require "app"
local credentials = require "accounts.credentials"
local closing = require "accounts.closing"
local errors = require "errors"
local json = require "json"
local lists = require "lists"
local reading = require "billing.reading"
local rights = require "rights"
local store = require "store"
local users = require "accounts.users"

function rights.find.user(_, key)
  local user, err = users.find(key)
  if not user then return nil, err end
  return user.id
end

-- The record, and what the ledger says of it: a reading, which is not stored. As text, it stands at the end (app.tagged).
local function told(user)
  user.subscription_status = user.subscription_status or "inactive"
  return ('%s,"usage_hours":%s}'):format(json.encode(user):sub(1, -2), json.encode(reading.hours(user.id)))
end

local function answer(user, err)
  if not user then return nil, err end
  return 200, told(user), { ETag = ('"%d"'):format(user.version) }
end

local function admins(o)
  o.scope, o.admin = "operator", true
  return o
end

app.get("/users", lists.route(admins {
  does = "Accounts", of = "User", filters = { "email", "plan", "role", "status", "subscription_status" },
  sort = { "number", "email", "name", "plan", "created_at", "last_sign_in_at", "usage_hours" },
}), function(req)
  local function scan(after, limit)
    local page, err = users.list(after, limit)
    if not page then return nil, err end
    for i, user in ipairs(page.users) do page.users[i] = told(user) end
    return { texts = page.users, keys = page.keys, after = page.after }
  end
  return lists.answer(req, { scan = scan })
end)

local create_fields = {
  email = { "string", required = true, max = 320 }, name = users.admin_fields.name, plan = users.admin_fields.plan,
  role = users.admin_fields.role, reason = users.admin_fields.reason,
}

app.post("/users", admins {
  body = create_fields, does = "Makes an account", gives = { [201] = "User" },
  example = { email = "ben@example.org", name = "Ben", plan = "free", role = "user" },
}, function(req)
  local address, err = users.address(req.body.email)
  if not address then return nil, err end
  local plan, reason, by = req.body.plan, req.body.reason, users.by(req.actor)
  if reason and not plan then
    return errors.fail("invalid", "reason: it is that of a plan, and none is given", { field = "reason" })
  end
  local spec = { email = address, name = req.body.name, role = req.body.role, plan = plan,
    granted = plan and accounts.granted(plan, by, reason) }
  local text, headers
  local ok
  ok, err = store.update(function(tx)
    local stands, refusal = credentials.check_in(tx, req.actor)
    if not stands then return nil, refusal end
    local user, why = users.create(tx, spec, by)
    if not user then return nil, why end
    text, headers = json.encode(user), { Location = "/users/" .. user.id, ETag = ('"%d"'):format(user.version) }
    if req.actor.idempotent then req.actor.idempotent:answered(tx, 201, text, headers) end
    return true
  end)
  if not ok then return nil, err end
  return 201, text, headers
end)

app.get("/users/{id}", admins { object = "user", does = "One account", gives = { [200] = "User", [304] = false } }, function(req)
  return app.tagged(req.http, told(users.get(req.id)))
end)

app.patch("/users/{id}", admins {
  object = "user", body = users.admin_fields, does = "Changes it", gives = { [200] = "User" }, fails = { 409 }, versioned = true,
  more = "`plan`: given by the operator, it needs no subscription; `granted` says by whom and why (`reason`).",
  example = { plan = "free", reason = "a trial" },
}, function(req)
  return answer(users.patch(req.actor, req.id, req.body))
end)

app.post("/users/{id}/suspend", admins {
  object = "user", body = {}, does = "Signs it out and lets it do nothing", more = "Its machines go on.",
  gives = { [200] = "User" }, versioned = true,
}, function(req)
  return answer(users.suspend(req.actor, req.id))
end)

app.post("/users/{id}/resume", admins {
  object = "user", body = {}, does = "Lets it do again what it may", gives = { [200] = "User" }, versioned = true,
}, function(req)
  return answer(users.resume(req.actor, req.id))
end)

app.get("/users/{id}/export", admins {
  object = "user", does = "All that is the account's", more = "Secrets are left out.", gives = { [200] = "Export" },
}, function(req)
  local export, err = closing.export(users.get(req.id))
  if not export then return nil, err end
  return 200, export, { ["Cache-Control"] = "no-store" }
end)

-- The answer is the export of what was his.
app.delete("/users/{id}", admins {
  object = "user", does = "Deletes the account",
  more = "The answer is the same export. With machines and volumes only by `machines=delete`, else 409.",
  query = { machines = { "string", one_of = { "delete" } } }, gives = { [200] = "Closed" }, fails = { 409 }, versioned = true,
}, function(req)
  local machines = app.query(req.http, "machines")
  if machines ~= nil and machines ~= "delete" then
    return errors.fail("invalid", "machines: 'delete' expected", { field = "machines" })
  end
  local done, err = closing.delete(req.actor, req.id, machines == "delete")
  if not done then return nil, err end
  local text = ('{"export":%s,"operations":%s}'):format(done.export, json.encode(done.operations))
  return 200, text, { ["Cache-Control"] = "no-store" }
end)
