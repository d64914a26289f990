-- Machines: the rules of their life. Routes and scripts call this; it knows no HTTP.
--
-- An `actor` (accounts/credentials.lua) is {admin = true} (the operator) or {user = id}, or both; every function that takes
-- one answers "not_found" for what is not the actor's. Functions return a value, or nil, err.
-- A decision of a policy acts as {admin = true, by = "policy", reason = sentence, decision = {...}}.
-- For one request an actor may also carry `expects`, the version that the record must have, and `idempotent`
-- (idempotency.lua): its claim goes into the commit that has the effect, and a repeat whose effect took place already
-- only waits for its end. `before` (fn(tx), at a create or extend): what belongs into that commit first, such as its payment.
-- `refusal` (fn(tx), at a restart): the same, and it gives an error when it may not be.

local addresses = require "machines.addresses"
local agent_secret = require "machines.agent_secret"
local attached = require "volumes.machines"
local book = require "billing.book"
local denials = require "policy.denials"
local errors = require "errors"
local fields = require "machines.fields"
local freshness = require "machines.freshness"
local history = require "history"
local ids = require "ids"
local json = require "json"
local kept = require "policy.kept"
local machine_vpc = require "machines.vpc"
local netbird = require "netbird"
local policy = require "policy"
local prepaid_hours = require "billing.prepaid"
local providers = require "providers"
local volume_quota = require "volumes.quota"
local record = require "machines.record"
local requested = require "requested"
local rights = require "rights"
local runner = require "runner"
local schema = require "schema"
local slices = require "slices"
local snapshots = require "snapshots"
local standing = require "billing.standing"
local statuses = require "statuses"
local store = require "store"
local time = require "time"
local types = require "types"
local users = require "accounts.users"
local vpcs = require "networks.vpcs"
local when = require "when"
local workflow = require "workflow"
local workflows = require "machines.workflows"

local M = {}

M.operator = { admin = true }

-- settings of this process
M.settings = { provider = "local", quota = 0 }

-- Called when a machine is about to stop or to be deleted: whoever holds connections to it may end them with a reason.
function M.on_leaving(id, verb) end -- luacheck: ignore 212

-- A machine's stored JSON as clients see it; and when it was last used (RFC 3339), or nil. idle.lua knows both.
function M.as_seen(text) return text end
function M.last_used(id) end -- luacheck: ignore 212
-- Why a machine whose hours are over may not be started, and that decision; or nil (expiry.lua).
function M.refuses_start(rec) end -- luacheck: ignore 212

local WAIT_SECONDS = 30
local MAX_QUEUE = 16

-- ---- whose it is

-- Whose a new machine is, and whose names are meant: the operator's own have the owner "operator".
local function owner_of(actor) return actor.user or "operator" end

local by = users.by

local function not_found() return errors.fail("not_found", "no such machine") end

-- The uuid that `key` (uuid, short, or the name of one of the actor's own) stands for, or nil.
function M.resolve(actor, key)
  if #key > 128 then return nil end
  if ids.is_uuid(key) then return key:lower() end
  if ids.is_short(key) then return store.lookup("instance_short", key:lower()) end
  return store.lookup("instance_name", owner_of(actor) .. "/" .. key)
end

-- ---- reading

-- A machine: its id and its stored JSON text, the fast path of GET. What is as long as a uuid is looked up as one.
-- -> id, text | nil, err
function M.find(actor, key)
  local id = #key == 36 and key or nil
  local text, owner
  if id then text, owner = store.raw("instance", id) end
  if not text then
    id = M.resolve(actor, key)
    if id then text, owner = store.raw("instance", id) end
  end
  if text and rights.owns(actor, owner) then return id, M.as_seen(freshness.mark(text)) end
  return not_found()
end
rights.find.instance = M.find

-- The same, and for an admin also a machine whose record is gone and that has a past; it has no text.
function rights.find.history(actor, key)
  local id, text = M.find(actor, key)
  if id or not actor.admin then return id, text end
  id = M.resolve(actor, key)
  if id and store.history("instance", id, { limit = 1 })[1] then return id end
  return nil, text
end

-- The text alone. -> text | nil, err
function M.text(actor, key)
  local id, text = M.find(actor, key)
  if not id then return nil, text end
  return text
end

-- -> record | nil, err
function M.get(actor, key)
  local id, text = M.find(actor, key)
  if not id then return nil, text end
  return json.decode(text)
end

-- The record as it was at a time (when.lua: how it is written). -> record | nil, err
function M.at(actor, key, text)
  local ms, err = when.parse(text, time.now())
  if not ms then return errors.fail("invalid", "at: " .. err.message, { field = "at" }) end
  local id = M.resolve(actor, key)
  if not id or not rights.owns(actor, select(2, store.raw("instance", id))) then return not_found() end
  return history.instance(id, ms)
end

-- Machines that are not deleted, by id [yields]: {texts = {json...}, keys = {cursor...}, after = cursor or nil}.
function M.list(actor, after, limit)
  local index, prefix = "instance_live", ""
  if not actor.admin then index, prefix = "instance_owner", actor.user .. "/" end
  local texts, keys, pause = {}, {}, slices.new()
  local page = store.scan(index, { prefix = prefix, after = after and prefix .. after, limit = limit + 1 })
  for i = 1, math.min(#page, limit) do
    after = page[i].key:sub(#prefix + 1)
    local text = store.raw("instance", after)
    if text then texts[#texts + 1], keys[#keys + 1] = M.as_seen(freshness.mark(text)), after end
    pause() -- each may have to look ahead for when it stops
  end
  return { texts = texts, keys = keys, after = #page > limit and after or nil }
end

-- ---- changing

-- Runs change(tx, old, rec) -> operation id or nil | nil, err on a machine of the actor's and saves nothing itself.
-- -> record, operation id (nil: nothing is under way for it) | nil, err
local function edit(actor, key, change)
  local id = M.resolve(actor, key)
  if not id then return not_found() end
  if netbird.configured() then policy.live() end -- its steps are a policy's: an update waits for none to be built
  local again = actor.idempotent and actor.idempotent.claimed
  if again then return store.get("instance", again.machine), again.operation end
  local current
  local rec, op = store.update(function(tx)
    local old = record.get(tx, id)
    if not old or not rights.owns(actor, old.owner) then return not_found() end
    local stale = requested.outdated(actor, old)
    if stale then return nil, stale end
    local rec = record.edit(old)
    local op, err = change(tx, old, rec)
    if err then return nil, err end
    if actor.idempotent then actor.idempotent:claim(tx, rec, op) end
    current = op
    return rec, op
  end)
  if not rec then
    denials.note(op, by(actor))
    return nil, op
  end
  return rec, current
end

local function refuse(rec, verb)
  local words = { stop = "stopped", start = "started", delete = "deleted", resize = "resized",
    attach = "given a volume", detach = "taken a volume from", suspend = "suspended", snapshot = "kept in a snapshot",
    snapshot_delete = "relieved of a snapshot", restore = "restored", restart = "restarted" }
  return errors.fail("state", ("the machine is %s and cannot be %s now"):format(rec.status, words[verb] or verb),
    { status_now = rec.status })
end

local function queue_full(rec)
  return errors.new("conflict", ("%d operations wait for this machine already"):format(MAX_QUEUE), { status_now = rec.status })
end

local function name_taken(tx, rec)
  if tx:lookup("instance_name", rec.owner .. "/" .. rec.name) then
    return errors.new("exists", "name: there is a machine called '" .. rec.name .. "' already", { field = "name" })
  end
end

-- How many machines an account of this plan may have; 0: any number. The plan does not count those of prepaid hours.
local function most_of(gen, plan, prepaid)
  local known = not prepaid and book.plan(gen:data("plans"), plan)
  local most, quota = known and known.machines or 0, M.settings.quota
  if most == 0 or quota == 0 then return math.max(most, quota) end
  return math.min(most, quota)
end

local function most_by(gen, input) return "most", most_of(gen, input.plan, input.prepaid) end
policy.derived["access.create"], policy.derived["access.wake"] = most_by, most_by

local function plan_of(tx, owner)
  local account = tx:get("user", owner)
  return account and account.plan or policy.data("plans", owner).default
end

-- One machine a user, the seeds' rule, is a conflict with that one and no matter of too many requests.
local function one_of_plan(plan, owner)
  return book.plan(policy.data("plans", owner), plan).machines == 1
end

-- Below, `asked` is a list that each decision is put into: it is kept with what it let pass, or with what it refused.
local function ask_policy(name, input, asked)
  local gen, verdict, reason = policy.ask_for(input.owner, name, input)
  asked[#asked + 1] = kept.decision(name, gen, input, verdict, reason)
  return verdict, reason
end

-- May its owner have it as a `type`, beside `others`? -> why not, an error, or nil
local function not_allowed(tx, rec, type, others, asked)
  local plan, prepaid = plan_of(tx, rec.owner), prepaid_hours.counts(rec)
  local verdict, reason = ask_policy("access.create", {
    owner = rec.owner, plan = plan, machines = others, most = most_of(policy.for_owner(rec.owner), plan, prepaid), type = type,
    provider = rec.provider, prepaid = prepaid,
  }, asked)
  if verdict == "allow" then return nil end
  return errors.new("quota", reason, { http_status = one_of_plan(plan, rec.owner) and not prepaid and 409 or nil })
end

-- Why the policy, or what is paid, does not let its owner have one more machine, or nil.
local function over_quota(tx, rec, actor, asked)
  if rec.owner == "operator" then return end
  local prepaid = prepaid_hours.counts(rec)
  local denied = not_allowed(tx, rec, rec.type, record.counted(tx, rec.owner, prepaid), asked)
  if denied then return denied end
  if not prepaid and not actor.admin then return standing.refusal(tx, rec.owner, asked) end
end

-- Why it may not become another type, or nil: its hours are paid at the price of the one that it is, and a plan has its types.
local function not_resized(tx, rec, type, actor, asked)
  if rec.owner == "operator" then return end
  if not actor.admin and prepaid_hours.lasts(rec) then
    return errors.new("state", ("its prepaid hours are of the type %s; buy hours of a new machine of the type %s, or resize it "
      .. "when they are over"):format(rec.type, type), { status_now = rec.status })
  end
  return not_allowed(tx, rec, type, math.max(0, record.counted(tx, rec.owner, prepaid_hours.counts(rec)) - 1), asked)
end

-- The operation that will have the last word on a machine as things are, or nil.
local function last_word(tx, rec)
  local last = rec.queue[#rec.queue]
  return last and tx:get("operation", last) or workflow.current(tx, rec)
end

local RUNS = { RUNNING = true, STARTING = true }

-- Whether it runs, or will when what is under way is done: a start that waits behind a stop is not asked again when it begins.
local function is_to_run(tx, rec)
  if RUNS[rec.status] then return true end
  if statuses.settled(rec.status) and not workflow.current(tx, rec) then return false end
  local op = last_word(tx, rec)
  return rec.desired == "RUNNING" or op ~= nil and workflows.leads(op) == "RUNNING"
end

-- How many others of its owner's run: of prepaid hours only beside one of those, which are not its plan's.
local function running_beside(tx, rec)
  local n, owner, prepaid = 0, rec.owner, prepaid_hours.counts(rec)
  for _, row in ipairs(store.scan("instance_owner", { prefix = owner .. "/" })) do
    local other = tx:get("instance", row.key:sub(#owner + 2))
    if other and other.id ~= rec.id and (prepaid or not prepaid_hours.counts(other)) and is_to_run(tx, other) then n = n + 1 end
  end
  return n
end

-- Why the policy, or what is paid, does not let a machine be started, or nil.
local function not_woken(tx, rec, actor, asked)
  local ended, decision = M.refuses_start(rec)
  if ended then
    asked[#asked + 1] = decision
    return errors.new("denied", ended)
  end
  if rec.owner == "operator" then return end
  local plan, prepaid = plan_of(tx, rec.owner), prepaid_hours.counts(rec)
  local verdict, reason = ask_policy("access.wake", {
    owner = rec.owner, plan = plan, machines = record.counted(tx, rec.owner, prepaid),
    most = most_of(policy.for_owner(rec.owner), plan, prepaid), type = rec.type, running = running_beside(tx, rec),
    prepaid = prepaid,
  }, asked)
  if verdict ~= "allow" then return errors.new("denied", reason) end
  if not prepaid_hours.lasts(rec) and not actor.admin then return standing.refusal(tx, rec.owner, asked) end
end

local function check_create(actor, spec)
  local ok, err = schema.check(fields.create, spec)
  if not ok then return nil, err end
  if not actor.admin and (spec.network == "host" or (spec.image or ""):sub(1, 1) == "/") then
    return errors.fail("denied", "only the operator may use the host's network, or a path of the host as an image")
  end
  return true
end

-- Where the policy wants a new machine; what it names must be there. -> place, the decision as it is kept | nil, err
local function place_for(owner, spec)
  local account = owner ~= "operator" and users.find(owner)
  local home = not spec.provider and attached.provider_of(owner, spec.volumes or {})
  local wanted = spec.provider or home or nil
  local input = {
    owner = owner, plan = account and account.plan or policy.data("plans", owner).default, provider = wanted,
    type = spec.type or types.default, location = spec.location, default = M.settings.provider, labels = spec.labels or {},
    image = spec.image or providers.default_image(wanted or M.settings.provider),
  }
  local gen, place, reason = policy.ask_for(owner, "placement.place", input)
  local p, err = providers.get(place.provider)
  if not p then return nil, err end
  if home and place.provider ~= home then
    return errors.fail("conflict", ("its volumes are at the provider %s, and the policy places it at %s"):format(home,
      place.provider), { field = "volumes" })
  end
  if not types.get(place.type) then
    return errors.fail("invalid", ("the policy places it on the type '%s', which there is not"):format(place.type),
      { field = "type" })
  end
  return place, kept.decision("placement.place", gen, input, nil, reason)
end

-- Whose a new machine or volume is: the actor's, or that of an account which an admin names. -> owner | nil, err
function M.owner_for(actor, user_id)
  if user_id == nil then return owner_of(actor) end
  if not actor.admin then return errors.fail("denied", "only the operator may name a user_id") end
  local user = users.find(user_id)
  if user and user.status ~= "deleted" then return user.id end
  return errors.fail("invalid", "user_id: no such user", { field = "user_id" })
end

local function keys_of(account)
  local list = json.array {}
  for i, key in ipairs(account.ssh_keys) do list[i] = key.key end
  return list
end

-- Makes a machine. Its name and its place in the quota are taken, the record, its operation and its first event are
-- written in one commit; the work itself goes on after the answer. -> record, operation id | nil, err
function M.create(actor, spec)
  local ok, err = check_create(actor, spec)
  if not ok then return nil, err end
  local owner, oerr = M.owner_for(actor, spec.user_id)
  if not owner then return nil, oerr end
  local place, placed = place_for(owner, spec)
  if not place then return nil, placed end
  local misplaced = machine_vpc.fault(spec, place)
  if misplaced then return nil, misplaced end
  local rec, werr = store.update(function(tx)
    local account = tx:get("user", owner)
    if account and account.status ~= "active" then return errors.fail("denied", "the account is " .. account.status) end
    if actor.before then actor.before(tx) end
    local rec = fields.new_record(spec, owner, place)
    if not spec.ssh_keys and account then rec.ssh_keys = keys_of(account) end
    local asked, new = {}, {}
    local why = name_taken(tx, rec) or attached.refusal(tx, rec, rec.volumes, new)
      or prepaid_hours.ask(tx, rec, spec.hours, actor) or over_quota(tx, rec, actor, asked)
      or volume_quota.refusal(tx, rec.owner, rec.provider, #new, #new * rec.resources.disk_gib, asked)
    if why then return nil, denials.mark(why, "create", rec, asked) end
    if spec.hours then prepaid_hours.buy(tx, rec, spec.hours, by(actor), "bought") end
    local held, full = machine_vpc.join(tx, rec, spec)
    if held then held, full = addresses.take(tx, rec, { place, unpack(place.fallbacks or {}) }) end
    if not held then return nil, full end
    workflow.ask(tx, "instance", rec, "create", { fallbacks = machine_vpc.fallbacks(rec, place.fallbacks) }, by(actor))
    agent_secret.make(tx, rec)
    record.save(tx, nil, rec, "created", by(actor), { decision = placed, decisions = kept.list(asked) })
    if actor.idempotent then actor.idempotent:claim(tx, rec, rec.operation, 201) end
    return rec
  end)
  return requested.begun("instance", rec, werr, by(actor))
end

local wish = { stop = "STOPPED", start = "RUNNING", delete = "DELETED" }
local wish_of = { STOPPED = "stop", RUNNING = "start", DELETED = "delete" }

-- strict forms of seed 000/001: pause only what runs, wake only what is stopped
local strict = { pause = { verb = "stop", from = "RUNNING" }, wake = { verb = "start", from = "STOPPED", suspended = true },
  resume = { verb = "start", suspended = true } }

-- Why the strict form does not fit what the machine is, or nil.
local function strict_fault(rec, form)
  if form.suspended and rec.suspended_at or form.from == rec.status then return end
  if not form.from and not form.suspended then return end
  local only = form.verb == "stop" and "only one that is RUNNING can be paused"
    or form.from and "only one that is STOPPED, or suspended, can be woken" or "only one that is suspended can be resumed"
  return errors.new("state", ("the machine is %s; %s"):format(rec.status, only), { status_now = rec.status })
end

-- What is under way last, if it leads where `verb` would.
local function underway(tx, rec, verb)
  local op = last_word(tx, rec)
  return op and workflows.leads(op) == wish[verb] and op or nil
end

-- Asks for what `verb` wants, unless it is so or on its way. -> operation id or nil | nil, err
local function ask(tx, actor, old, rec, form)
  local verb = form.verb
  local to = statuses.accepts(rec.status, verb)
  local fault = strict_fault(rec, form)
  if fault then return nil, fault end
  if not to then return refuse(rec, verb) end
  if rec.status == "DELETED" then return nil end
  if rec.provider == "foreign" and verb ~= "delete" then
    return errors.fail("unsupported", "this machine came from instances.json: its server is not driven by cchost")
  end
  local same = underway(tx, rec, verb)
  if same then return same.id end
  if verb == "stop" and rec.status == "DELETING" then return rec.operation end -- its end is a stop, too
  if to == rec.status and statuses.settled(to) and not workflow.current(tx, rec) then return nil end
  if verb ~= "delete" and #rec.queue >= MAX_QUEUE then return nil, queue_full(rec) end
  local held = verb == "start" and attached.not_started(tx, rec)
  if held then return nil, held end
  local asked = {}
  local again = rec.desired == "DELETED" and verb ~= "delete" and over_quota(tx, rec, actor, asked) -- it counts again
  local denied = again or verb == "start" and not_woken(tx, rec, actor, asked)
  if denied then return nil, denials.mark(denied, verb, rec, asked) end
  rec.desired = wish[verb]
  rec.reason = actor.reason
  local used = verb ~= "start" and M.last_used(rec.id)
  if used then rec.last_activity_at = used end
  local op = workflow.ask(tx, "instance", rec, verb, { was = old.status }, by(actor))
  record.save(tx, old, rec, verb .. "_asked", by(actor), {
    verb = verb, reason = actor.reason, decision = actor.decision, decisions = kept.list(asked),
  })
  return op
end

-- stop, start, delete, pause, wake, resume. Waits at most `seconds` (30) for the end.
-- -> record, true when done | record, false, operation id while it goes on | nil, err
function M.move(actor, key, verb, seconds)
  local form = strict[verb] or { verb = verb }
  local rec, op = edit(actor, key, function(tx, old, rec) return ask(tx, actor, old, rec, form) end)
  if not rec then return nil, op end
  if form.verb == "delete" then runner.interrupt("instance", rec.id) end
  if form.verb ~= "start" then M.on_leaving(rec.id, form.verb) end
  return requested.finished("instance", rec, op, seconds)
end

-- Other groups for a machine in a network of its owner's, which is asked to take it so. -> err or nil
local function regroup(tx, actor, rec, groups)
  if not machine_vpc.has(rec) then
    return errors.new("conflict", "security_groups: the machine is in no network of its owner's", { field = "security_groups" })
  end
  local ok, err = machine_vpc.regroup(tx, rec, groups)
  if not ok then return err end
  return select(2, vpcs.change(tx, rec.vpc_id, by(actor), "machine_regrouped", { machine = rec.id }))
end

-- Changes name, labels, env (env is read when the machine next starts), security_groups.
function M.patch(actor, key, change)
  local ok, err = schema.check(fields.patch, change)
  if not ok then return nil, err end
  local rec, why = edit(actor, key, function(tx, old, rec)
    if rec.status == "DELETED" then return refuse(rec, "changed") end
    for k, v in pairs(change) do rec[k] = v end
    if not record.differs(old, rec) then return end
    local fault = rec.name ~= old.name and name_taken(tx, rec)
      or change.security_groups and regroup(tx, actor, rec, change.security_groups)
    if fault then return nil, fault end
    record.save(tx, old, rec, "changed", by(actor))
  end)
  if rec and change.security_groups then runner.drive("vpc", rec.vpc_id) end
  return rec, why
end

-- It was given hours, and runs by them. -> operation id | nil, err
local function start_again(tx, actor, old, rec, asked)
  if not statuses.accepts(rec.status, "start") then return refuse(rec, "start") end
  local held = attached.not_started(tx, rec)
  if held then return nil, held end
  local denied = #rec.queue >= MAX_QUEUE and queue_full(rec) or not_woken(tx, rec, actor, asked)
  if denied then return nil, denials.mark(denied, "extend", rec, asked) end
  rec.desired, rec.reason = "RUNNING", json.null
  return workflow.ask(tx, "instance", rec, "start", { was = old.status }, by(actor))
end

-- expires_at = max(now, expires_at) + hours; they are paid like those of a new machine (billing/prepaid.lua). One that does not
-- run and has none, or whose hours have ended, is started: they begin when it runs. -> record, operation id or nil | nil, err
function M.extend(actor, key, hours)
  if type(hours) ~= "number" or hours % 1 ~= 0 or hours < 1 or hours > 87600 then
    return errors.fail("invalid", "hours: a whole number from 1 to 87600 expected", { field = "hours" })
  end
  local rec, op = edit(actor, key, function(tx, old, rec)
    if rec.status == "DELETED" then return refuse(rec, "extended") end
    if rec.desired == "DELETED" then
      return errors.fail("state", "the machine is to be deleted: hours for it would be lost", { status_now = rec.status })
    end
    if actor.before then actor.before(tx) end
    local fault = prepaid_hours.ask(tx, rec, hours, actor) or prepaid_hours.extend(rec, hours)
    if fault then return nil, fault end
    prepaid_hours.buy(tx, rec, hours, by(actor), ("%d"):format(old.version))
    local ended = old.expiry and old.expiry.verdict == "stop" and old.desired == "STOPPED"
    local begins = prepaid_hours.pending(rec) and not prepaid_hours.pending(old)
    local resumed, asked = nil, {}
    if (ended or begins) and not underway(tx, rec, "start") then
      resumed, fault = start_again(tx, actor, old, rec, asked)
      if fault then return nil, fault end
    end
    local left_plan = prepaid_hours.counts(rec) and not prepaid_hours.counts(old) or nil
    record.save(tx, old, rec, "extended", by(actor), {
      hours = hours, left_plan = left_plan, decisions = kept.list(asked),
    }, true)
    return resumed
  end)
  if rec and op then runner.drive("instance", rec.id) end
  return rec, op
end

-- ---- changes for which a machine that runs is stopped and started again; they wait and answer like move

-- plan(rec, tx, asked) -> input of the workflow, or nil when nothing is to do | nil, err
local function rebuild(actor, key, verb, seconds, plan)
  local rec, op = edit(actor, key, function(tx, old, rec)
    if not statuses.accepts(rec.status, verb) or workflow.current(tx, rec) or rec.provider == "foreign" then
      return refuse(rec, verb)
    end
    local asked = {}
    local input, err = plan(rec, tx, asked)
    if not input then return nil, err end
    local why = actor.refusal and actor.refusal(tx)
    if why then return nil, why end
    input.ran = rec.status == "RUNNING"
    local op = workflow.ask(tx, "instance", rec, verb, input, by(actor))
    if verb == "attach" then attached.reserve(tx, rec, input.volume.id, op, by(actor)) end
    record.save(tx, old, rec, verb .. "_asked", by(actor), {
      verb = verb, reason = actor.reason, decision = actor.decision, decisions = kept.list(asked),
    })
    return op
  end)
  if not rec then return nil, op end
  if rec.status == "STOPPING" or verb == "suspend" then M.on_leaving(rec.id, verb == "suspend" and verb or "stop") end
  return requested.finished("instance", rec, op, seconds)
end

-- Off and on again, as one operation.
function M.restart(actor, key, seconds)
  return rebuild(actor, key, "restart", seconds, function() return {} end)
end

-- It stands still and keeps its memory, until a start, wake or resume. What is suspended is so already.
function M.suspend(actor, key, seconds)
  return rebuild(actor, key, "suspend", seconds, function(rec)
    if rec.suspended_at then return nil end
    local ok, err = providers.able(rec.provider, "suspend", "cannot suspend machines: stop them")
    if not ok then return nil, err end
    return {}
  end)
end

function M.resize(actor, key, type_name, seconds)
  if not types.get(type_name) then
    return errors.fail("invalid", "type: " .. fields.type_fault(type_name), { field = "type" })
  end
  return rebuild(actor, key, "resize", seconds, function(rec, tx, asked)
    if rec.type == type_name then return nil end
    local denied = not_resized(tx, rec, type_name, actor, asked)
    if denied then return nil, denials.mark(denied, "resize", rec, asked) end
    local keeps = providers.able(rec.provider, "grows_disk", "")
    return { type = type_name, from = rec.type, disk_gib = keeps and rec.resources.disk_gib or nil }
  end)
end

local function volume_of(rec, id)
  for _, v in ipairs(rec.volumes) do
    if v.id == id then return v end
  end
end

-- Gives a machine a volume {id, path}; one that is not there yet is made.
function M.attach(actor, key, volume, seconds)
  return rebuild(actor, key, "attach", seconds, function(rec, tx, asked)
    local there = volume_of(rec, volume.id)
    if there and there.path == volume.path then return nil end
    if there then
      return errors.fail("conflict", ("the volume is attached at %s; detach it first"):format(there.path), { field = "path" })
    end
    for _, v in ipairs(rec.volumes) do
      if v.path == volume.path then
        return errors.fail("conflict", ("path: the volume %s is there"):format(v.id), { field = "path" })
      end
    end
    if #rec.volumes >= fields.MAX_VOLUMES then
      return errors.fail("invalid", ("a machine has at most %d volumes"):format(fields.MAX_VOLUMES))
    end
    local new = {}
    local why = attached.refusal(tx, rec, { volume }, new)
      or volume_quota.refusal(tx, rec.owner, rec.provider, #new, #new * rec.resources.disk_gib, asked)
    if why then return nil, denials.mark(why, "attach", rec, asked) end
    return { volume = volume }
  end)
end

-- Takes a volume away; its data stay. One that is not attached is "not_found".
function M.detach(actor, key, id, seconds)
  return rebuild(actor, key, "detach", seconds, function(rec)
    local there = volume_of(rec, id)
    if not there then return errors.fail("not_found", "no such volume at the machine") end
    return { volume = there }
  end)
end

-- ---- snapshots of a machine; those of volumes are their own

-- Keeps the machine's disk, and the volume that was made for it, as they are. -> as move
function M.snapshot(actor, key, name, seconds)
  return rebuild(actor, key, "snapshot", seconds, function(rec)
    local ok, err = providers.able(rec.provider, "machine_snapshots", "has no snapshots of machines")
    if not ok then return nil, err end
    if snapshots.find(rec.snapshots, name) then
      return errors.fail("exists", ("name: there is a snapshot called '%s' already"):format(name), { field = "name" })
    end
    if #(rec.snapshots or {}) >= fields.MAX_SNAPSHOTS then
      return errors.fail("conflict", ("a machine has at most %d snapshots"):format(fields.MAX_SNAPSHOTS))
    end
    return { snapshot = name }
  end)
end

local function of_snapshot(verb)
  return function(actor, key, name, seconds)
    return rebuild(actor, key, verb, seconds, function(rec)
      if not snapshots.find(rec.snapshots, name) then return errors.fail("not_found", "the machine has no such snapshot") end
      return { snapshot = name }
    end)
  end
end

M.restore, M.delete_snapshot = of_snapshot "restore", of_snapshot "snapshot_delete"

function M.snapshots(actor, key)
  local rec, err = M.get(actor, key)
  if not rec then return nil, err end
  return json.array(rec.snapshots or {})
end

-- ---- owners

-- Machines that came with an address as their owner (imports of instances.json) become those of the account that has
-- it. Called at every sign-in: without any it is one look at an index. -> true | nil, err
function M.give(address, owner)
  local page, err = store.scan("instance_owner", { prefix = address .. "/" })
  if not page then return nil, err end
  for _, row in ipairs(page) do
    local ok, uerr = store.update(function(tx)
      local old = record.get(tx, row.key:sub(#address + 2))
      if not old or old.owner ~= address then return true end
      local rec = record.edit(old)
      rec.owner = owner
      if name_taken(tx, rec) then rec.name = "cc-" .. rec.short end
      record.save(tx, old, rec, "given", "system", { from = address })
      return true
    end)
    if not ok then return nil, uerr end
  end
  return true
end
users.on_sign_in = function(user) return M.give(user.email, user.id) end

-- ---- operations

-- An operation, for who may see its machine. -> id, text | nil, err
function rights.find.operation(actor, id)
  local text, owner
  id = id:lower()
  if ids.is_uuid(id) then text, owner = store.raw("operation", id) end
  if not text or not rights.owns(actor, owner) then return errors.fail("not_found", "no such operation") end
  if actor.machine and json.decode(text).machine ~= actor.machine then return errors.fail("not_found", "no such operation") end
  return id, text
end

-- The same, decoded; waits until it is over, `seconds` at most. -> operation | nil, err
function M.operation(actor, key, seconds)
  local id, text = rights.find.operation(actor, key)
  if not id then return nil, text end
  if not seconds or seconds == 0 then return json.decode(text) end
  return runner.wait(id, seconds)
end

-- After an operation that waited was taken out: wanted is what the rest leads to, or else what is.
local function want_what_remains(tx, rec)
  local op = last_word(tx, rec)
  local wanted = op and workflows.leads(op) or rec.status
  if wish_of[wanted] then rec.desired = wanted end
end

-- Ends an operation and undoes what it did. -> operation | nil, err
function M.cancel(actor, id, seconds)
  local op, err = M.operation(actor, id)
  if not op then return nil, err end
  if actor.idempotent and actor.idempotent.claimed then return runner.wait(op.id, seconds or WAIT_SECONDS) end
  local ok, cerr = store.update(function(tx)
    local now = tx:get("operation", op.id)
    local stale = requested.outdated(actor, now)
    if stale then return nil, stale end
    if workflow.over(now) then return errors.fail("state", "the operation is " .. now.state .. " and cannot be cancelled") end
    local adapter = workflow.adapter(now.subject)
    local old = adapter.get(tx, now.machine)
    local rec = adapter.edit(old)
    local done, why = workflow.cancel(tx, rec, now)
    if not done then return nil, why end
    if now.state == "cancelled" then want_what_remains(tx, rec) end
    adapter.save(tx, old, rec, "cancel_asked", by(actor), { operation = now.id, verb = now.kind })
    if actor.idempotent then actor.idempotent:claim(tx, rec, now.id) end
    return true
  end)
  if not ok then return nil, cerr end
  runner.interrupt(op.subject, op.machine)
  runner.drive(op.subject, op.machine)
  return runner.wait(op.id, seconds or WAIT_SECONDS)
end

return M
