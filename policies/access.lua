-- Who may come in, and how often somebody may ask.
--
-- signup(r) -> "allow" | "deny", reason       may an address that is not known make an account?
-- create(r) -> "allow" | "deny", reason       may this account have one more machine?
-- wake(r)   -> "allow" | "deny", reason       may this machine be started?
-- volume(r) -> "allow" | "deny", reason       may this account have so much more of volumes?
-- limit(r)  -> requests a minute, burst, reason     per account, else per client address
-- mails(r)  -> links to sign in that one address is sent in an hour (0: no limit), reason
-- The reason of a refusal is what the client reads.

local P = { kind = "access", name = "default", version = 1 }

function P.signup(r)
  if r.setting == "closed" then return "deny", "no new accounts are made here; ask the operator" end
  return "allow", "anybody may sign up"
end

local function among(list, name)
  for _, v in ipairs(list) do
    if v == name then return true end
  end
end

-- What the plan does not have, or nil. Who has a plan that there is not any more has the default one.
local function beyond(r)
  local all = use("plans")
  local plan = all.plans[r.plan] or all.plans[all.default]
  if r.prepaid then return end
  if plan.types and not among(plan.types, r.type) then
    return ("machines of the type %s are not in the plan %s"):format(r.type, r.plan)
  end
  if plan.providers and not among(plan.providers, r.provider) then
    return ("machines at %s are not in the plan %s"):format(r.provider, r.plan)
  end
end

function P.create(r)
  local other = beyond(r)
  if other then return "deny", other end
  if r.most > 0 and r.machines >= r.most then
    return "deny", r.most .. (r.most == 1 and " machine is" or " machines are") .. " all that you may have; delete one first"
  end
  return "allow", "within the plan"
end

function P.wake(r)
  if r.most > 0 and r.running >= r.most then
    local machines = r.most .. (r.most == 1 and " machine" or " machines")
    return "deny", machines .. " may run at once in the plan " .. r.plan .. "; stop one first"
  end
  return "allow", "its account is in order"
end

function P.volume(r)
  if r.most_gib > 0 and r.gib + r.size_gib > r.most_gib then
    return "deny", ("%d GiB of volumes are all that you may have in the plan %s, and you have %d; delete one first"):format(
      r.most_gib, r.plan, r.gib)
  end
  return "allow", "within the plan"
end

function P.limit(r)
  return r.base, r.base, "the setting"
end

-- Nobody is locked out by others asking in his name: each link that they make him get is good, and is his.
function P.mails()
  return 20, "more is no person who waits for his mail"
end

function P.selftest(is)
  is(P.mails {}, 20)
  is(P.limit { class = "api", base = 60, who = "user", plan = "free" }, 60)
  is(P.signup { email = "a@b.c", domain = "b.c", setting = "closed", accounts = 0 }, "deny")
  is(P.wake { running = 1, most = 1, machines = 3, owner = "u", plan = "free", type = "small" }, "deny")
  is(P.wake { running = 0, most = 1, machines = 3, owner = "u", plan = "free", type = "small" }, "allow")
  is(P.create { machines = 1, most = 1, owner = "u", plan = "free", type = "small", provider = "local" }, "deny")
  is(P.volume { gib = 40, size_gib = 20, most_gib = 50, volumes = 2, owner = "u", plan = "free", provider = "local" }, "deny")
  is(P.volume { gib = 30, size_gib = 20, most_gib = 50, volumes = 2, owner = "u", plan = "free", provider = "local" }, "allow")
  is(P.volume { gib = 30, size_gib = 20, most_gib = 0, volumes = 2, owner = "u", plan = "free", provider = "local" }, "allow")
  is(P.create { machines = 5, most = 0, owner = "u", plan = "pro", type = "small", provider = "local" }, "allow")
end

return P
