-- Busy leases: "this machine is busy until T because R", said from outside. It is not stopped for idleness meanwhile, as long
-- as policies/idle.lua takes notice; how long one may be held is that policy's decision, too (lease).
--
-- The record "lease" (id: MACHINE/LEASE) {id, machine, reason, by, since, expires_at} ends by itself (accounts/expiring.lua).
-- The record "lease_hold" (id: MACHINE) {since, until} says since when one or another has been held without a pause of a
-- quarter of an hour: that is what the policy caps, so that a new lease does not begin the count anew. What the agent's own
-- leases add to that is in the signals of a machine that runs (idle/timeline.lua).
--
--   leases.take(actor, machine id, {reason =, ttl = seconds, id =}) -> lease | nil, err    `id`: one that is to be prolonged
--   leases.release(actor, machine id, lease id) -> true | nil, err
--   leases.of(machine id) -> {lease...}, those that are held, oldest first
-- Those that the machine's own agent holds are in its report, not here.

local crypto = require "crypto"
local denials = require "policy.denials"
local errors = require "errors"
local expiring = require "accounts.expiring"
local json = require "json"
local kept = require "policy.kept"
local policy = require "policy"
local record = require "machines.record"
local rights = require "rights"
local store = require "store"
local time = require "time"
local users = require "accounts.users"

local M = {}

local MOST = 16       -- at once, on one machine
local PAUSE = 900000  -- ms without a lease, after which holding begins anew

M.fields = {
  reason = { "string", required = true, min = 1, max = 200, pattern = "^[^%c]+$",
    hint = "a sentence without control characters" },
  ttl = { "integer", required = true, min = 1, max = 30 * 86400 },
  id = { "string", min = 1, max = 32, pattern = "^[%w_-]+$", hint = "the id of a lease" },
}

-- Called when a lease was taken or given back: (machine id, lease id, until in ms by the wall clock, reason).
function M.on_change() end

-- Since when leases of any kind, also the agent's, are held on it without a pause (ms, likewise), or nil; idle.lua knows.
function M.held_since(machine) end -- luacheck: ignore 212
-- Called when one was refused by the policy.
function M.on_refused(machine) end -- luacheck: ignore 212

function M.of(machine)
  local list = {}
  for _, row in ipairs(store.list("lease", { prefix = machine .. "/" })) do
    local lease = expiring.live(json.decode(row.json))
    if lease then list[#list + 1] = lease end
  end
  table.sort(list, function(a, b) return a.since < b.since end)
  return json.array(list)
end

-- Seconds that the policy grants. -> seconds, reason, the decision as it is kept
local function granted(tx, rec, spec, since, now)
  local account = tx:get("user", rec.owner)
  local input = {
    owner = rec.owner, plan = account and account.plan or policy.data("plans", rec.owner).default,
    reason = spec.reason, ttl = spec.ttl,
    held = math.max(0, math.floor((now - since) / 1000)),
  }
  local gen, seconds, reason = policy.ask_for(rec.owner, "idle.lease", input)
  return seconds, reason, kept.decision("idle.lease", gen, input, seconds, reason)
end

local function machine_of(tx, actor, id)
  local rec = record.get(tx, id)
  if not rec or not rights.owns(actor, rec.owner) then return errors.fail("not_found", "no such machine") end
  if rec.status == "DELETED" then return errors.fail("state", "the machine is deleted", { status_now = rec.status }) end
  return rec
end

function M.take(actor, machine, spec)
  policy.live()
  local lease, err = store.update(function(tx)
    local rec, why = machine_of(tx, actor, machine)
    if not rec then return nil, why end
    local now = tx:now()
    local id = spec.id or crypto.token(6)
    local held = expiring.live(tx:get("lease", machine .. "/" .. id))
    if not held and #M.of(machine) >= MOST then
      return errors.fail("limit", ("%d leases are held on this machine already"):format(MOST))
    end
    local hold = tx:get("lease_hold", machine)
    local holding = hold and now - time.parse(hold["until"]) < PAUSE and time.parse(hold.since) or now
    holding = math.min(holding, M.held_since(machine) or holding)
    local since = held and time.parse(held.since) or now
    local seconds, reason, decision = granted(tx, rec, spec, holding, now)
    if seconds < 1 then return nil, denials.mark(errors.new("denied", reason), "lease", rec, { decision }) end
    local ends = now + seconds * 1000
    tx:put("lease_hold", machine, {
      since = time.rfc3339(holding),
      ["until"] = hold and time.rfc3339(math.max(ends, time.parse(hold["until"]))) or time.rfc3339(ends),
    }, rec.owner)
    local new = {
      id = id, machine = machine, reason = spec.reason, by = users.by(actor), since = time.rfc3339(since),
      expires_at = time.rfc3339(ends), shortened = seconds < spec.ttl and reason or nil,
    }
    if held then expiring.drop(tx, "lease", machine .. "/" .. id) end
    expiring.put(tx, "lease", machine .. "/" .. id, new, rec.owner)
    if not held then
      tx:log("instance", machine, "lease_taken", {
        lease = id, reason = spec.reason, expires_at = new.expires_at, decision = decision,
      }, users.by(actor))
    end
    return new
  end)
  if not lease then
    if err.code == "denied" then M.on_refused(machine) end
    denials.note(err, users.by(actor))
    return nil, err
  end
  M.on_change(machine, lease.id, time.parse(lease.expires_at), lease.reason)
  return lease
end

function M.release(actor, machine, id)
  local ok, err = store.update(function(tx)
    local rec, why = machine_of(tx, actor, machine)
    if not rec then return nil, why end
    if not expiring.drop(tx, "lease", machine .. "/" .. id) then return errors.fail("not_found", "no such lease") end
    tx:log("instance", machine, "lease_released", { lease = id }, users.by(actor))
    local hold, now = tx:get("lease_hold", machine), tx:now()
    for _, other in ipairs(M.of(machine)) do
      if other.id ~= id then now = math.max(now, time.parse(other.expires_at)) end
    end
    tx:put("lease_hold", machine, { since = hold.since, ["until"] = time.rfc3339(now) }, rec.owner)
    return true
  end)
  if not ok then return nil, err end
  M.on_change(machine, id, 0, "")
  return true
end

return M
