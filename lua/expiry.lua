-- Machines whose hours end: warned, stopped, kept for a while, deleted, as policies/expiry.lua decides, within a second of the
-- time. Also what becomes of one that is started again after its end.
--
-- Each machine with `expires_at` (the index instance_expires) is decided when it changes and when its verdict does: the
-- second at which it will is looked for beforehand, a day ahead at most. The clock is that of deadlines (steady.lua): a wall
-- clock that is set ends nobody's hours. What was last decided stands in the record:
-- "expiry": {verdict, reason}.
--
--   expiry.serve()
--   expiry.refusal(rec) -> why it may not be started now, the decision as it is kept; or nil

local prepaid = require "billing.prepaid"
local due = require "due"
local idle = require "idle"
local instances = require "instances"
local json = require "json"
local changes = require "machines.changes"
local record = require "machines.record"
local policy = require "policy"
local kept = require "policy.kept"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local time = require "time"
local walk = require "walk"

local M = {}

local AHEAD, STEP = 86400, 900 -- seconds
local watched = { RUNNING = true, STOPPED = true, ERROR = true }

local function input_of(rec)
  local user = rec.owner ~= "operator" and store.get("user", rec.owner)
  return {
    id = rec.id, name = rec.name, type = rec.type, labels = rec.labels, owner = rec.owner,
    plan = user and user.plan or policy.data("plans", rec.owner).default, status = rec.status,
    created_at = math.floor(time.parse(rec.created_at) / 1000), expires_at = math.floor(time.parse(rec.expires_at) / 1000),
    refunded = prepaid.refunded(rec),
  }
end

-- Hours that have not begun do not end.
local function expires(rec)
  return rec and rec.expires_at ~= json.null and watched[rec.status] and rec.provider ~= "foreign" and not prepaid.pending(rec)
end

-- The first second behind `now` at which the policy says something else, a day ahead at most. [yields]
local function next_change(gen, input, now, verdict, reason)
  local failed, pause = false, slices.new() -- failed: then there is nothing to look for: it is asked again after a step
  local function differs(at)
    if failed then return true end
    local ok, v, r = gen:ask("expiry.decide", input, at)
    failed = not ok
    pause()
    return failed or v ~= verdict or r ~= reason
  end
  local before = now
  for at = now + STEP, now + AHEAD, STEP do
    if differs(at) then
      if failed then return now + STEP end
      local low, high = before, at
      while high - low > 1 do
        local middle = math.floor((low + high) / 2)
        if differs(middle) then high = middle else low = middle end
      end
      return high
    end
    before = at
  end
  return now + AHEAD
end

local function note(id, generation, verdict, reason)
  return store.update(function(tx)
    local old = record.get(tx, id)
    if not old then return true end
    local rec = record.edit(old)
    rec.expiry = { verdict = verdict, reason = reason, generation = generation }
    if verdict == "warn" then idle.mail_owner(tx, rec.owner, rec.name, "stops: " .. reason) end
    if verdict == "keep" then
      record.save(tx, old, rec, "expiry_changed", "policy")
    else
      record.save(tx, old, rec, verdict == "warn" and "expiry_warning" or "expiry", "policy", {
        reason = reason, decision = { kind = "expiry", verdict = verdict, generation = rec.expiry.generation },
      })
    end
    return true
  end)
end

local function act(rec, generation, verdict, reason)
  local known = rec.expiry
  if not known and verdict == "keep" then return true end
  if not known or known.verdict ~= verdict or known.reason ~= reason then
    local ok, err = note(rec.id, generation, verdict, reason)
    if not ok then return nil, err end
  end
  local verb = verdict == "stop" and rec.status == "RUNNING" and "stop" or verdict == "delete" and "delete"
  if not verb then return true end
  local now = store.get("instance", rec.id)
  if not now or now.expires_at ~= rec.expires_at or now.status ~= rec.status then return true end -- it is decided anew
  local done, err = instances.move({ admin = true, by = "policy", reason = reason, expects = now.version, decision = {
    kind = "expiry", verdict = verdict, generation = generation, at = time.rfc3339(steady.now()),
  } }, rec.id, verb, 0)
  if done == nil and err.code == "precondition" then return true end
  return done, err
end

-- -> unix ms of the next decision, what carries this one out (due.lua)
local function decide(id)
  local rec = store.get("instance", id)
  if not expires(rec) then return nil end
  local now = math.floor(steady.now() / 1000)
  local input = input_of(rec)
  local gen, verdict, reason = policy.ask_for(rec.owner, "expiry.decide", input, now)
  return next_change(gen, input, now, verdict, reason) * 1000, function() return act(rec, gen.number, verdict, reason) end
end

local ends = due.new("expiry", decide)

-- A machine that changed is decided anew, at once: it may have been extended.
local function on_change(id, type)
  if type == "expiry_warning" or type == "expiry" or type == "expiry_changed" then return end
  if expires(store.get("instance", id)) then ends:soon(id) else ends:forget(id) end
end

local function all()
  local pause = slices.new()
  for row in walk.index("instance_expires") do
    ends:soon(row.key)
    if not pause() then return end
  end
end

function M.serve()
  changes.on("instance", on_change)
  local function anew() ends:anew() end
  policy.on_change(anew)
  policy.on_split(anew)
  all()
  ends:serve()
end

function M.refusal(rec)
  if rec.expires_at == json.null or prepaid.pending(rec) then return nil end
  local input = input_of(rec)
  input.status = "STOPPED"
  local now = steady.now()
  local gen, verdict, reason = policy.ask_for(rec.owner, "expiry.decide", input, math.floor(now / 1000))
  if verdict ~= "stop" and verdict ~= "delete" then return nil end
  return reason .. "; extend it first", kept.decision("expiry.decide", gen, input, verdict, reason, now)
end
instances.refuses_start = M.refusal

return M
