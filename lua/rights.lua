-- Who may do what: the scopes that there are, and whose an object is. Asked once per request, by app.lua, for every route
-- (router.lua refuses one that does not say what it needs); handlers are only reached by those who may.
--
--   rights.allow(actor, options) -> true | nil, err       by the route's `scope`, `admin`, `session`
--   rights.find[kind](actor, key) -> id, text | nil, err  the object that a path names, "not_found" when it is not the actor's
--   rights.owns(actor, owner) -> bool

local errors = require "errors"

local M = {}

-- What an API token can be limited to; sessions and the operator's key have all of it.
M.scopes = {
  ["account:read"] = "who you are, your sessions, tokens and keys",
  ["account:write"] = "your name, SSH keys and settings",
  ["billing"] = "plans, usage and payment",
  ["instances:connect"] = "terminals, commands and connect scripts of machines",
  ["instances:read"] = "machines, volumes, their operations, events, statistics and logs",
  ["instances:write"] = "make, change, start, stop and delete machines and volumes",
  ["metrics"] = "figures of the whole server (an admin's tokens alone)",
  ["networks:read"] = "private networks, their subnets and security groups",
  ["networks:write"] = "make, change and delete those",
  ["webhooks:read"] = "webhooks, and what was delivered to them",
  ["webhooks:write"] = "make, change and remove webhooks: they are told all events, those of the account and of billing, too",
  ["operator"] = "what only an admin may do (an admin's tokens alone)",
}

-- Those that only an admin's token may have.
M.of_admins = { metrics = true, operator = true }

M.scope_names = {}
for name in pairs(M.scopes) do M.scope_names[#M.scope_names + 1] = name end
table.sort(M.scope_names)

function M.owns(actor, owner) return actor.admin or (owner ~= nil and owner == actor.user) end

M.find = {} -- filled by who owns the kind: instances.lua, routes/auth.lua

local for_one_machine = { instance = true, history = true, operation = true }

local function denied(message) return errors.fail("denied", message) end

function M.allow(actor, options)
  local scopes = actor.scopes
  if scopes and options.scope ~= "any" and not scopes[options.scope] then
    return denied(("the token lacks the scope '%s'"):format(options.scope))
  end
  if options.admin and not actor.admin and actor.admin_for ~= options.scope then return denied("only an admin may do this") end
  if options.user and not actor.user then return errors.fail("unauthorized", "not authenticated") end
  if options.session and actor.credential.kind ~= "session" then
    return denied("this needs a session: sign in; an API token cannot do it")
  end
  if actor.machine and not for_one_machine[options.object] then
    return denied("the token is for one machine, and this is about more")
  end
  return true
end

-- For a token of one machine: whether it is this one.
function M.within(actor, id)
  if not actor.machine or actor.machine == id then return true end
  return errors.fail("not_found", "no such machine")
end

return M
