-- Machines whose agent is another build than this program carries get that one, without an end of their terminals (PUT /update,
-- docs/agent.md): looked at after each start of theirs and of ours, and every AGENT_CHECK_SECONDS, for an agent that crashed was
-- begun anew from the disk. One machine at a time gets it. An agent that says it is busy, in a turn of a chat for one, is asked
-- again later; one that says no is left alone until its machine starts again, and so is one of another architecture, or so old
-- that it does not tell its build. One that does not come back as what it was given gets it once more, and where three in a row
-- of an owner did not, no other of his gets it from this process; where those of three owners did not, nobody does: who has every
-- right in his own machines can have them fail as he likes, and must not hold it up for others. Nobody at all gets one that is
-- not what was built.
--
--   update.serve()                  [serve's]
--   update.seconds                  set by setup.lua
--   update.of(id) -> {version =, build =, update =, why =} | nil    what is known of a machine's agent. update: "current",
--                                   "waiting", "refused", "failed", "held", "unknown" (it cannot be told), "away"
--   update.count() -> {current = 3, ...}
--   update.build() -> {arch =, sha256 =, digest =, whole =}    what is carried: sha256 in hexadecimal digits, digest as bytes;
--                                   whole: it is what was built
--   update.program() -> its bytes

local crypto = require "crypto"
local due = require "due"
local json = require "json"
local log = require "log"
local agent = require "machines.agent"
local changes = require "machines.changes"
local slices = require "slices"
local steady = require "steady"
local store = require "store"
local sys = require "sys"
local task = require "task"
local utf8 = require "utf8"
local walk = require "walk"

local M = {}

local BUSY_FIRST, BUSY_MOST, NEXT = 5000, 60000, 500 -- ms until the next try: it is busy; others are at it
local CONFIRM = 30                                -- seconds in which the new one answers; a hung one is ended after 20
local MOST, TRIES, IN_A_ROW = 16, 2, 3            -- looked at at once; times that one machine gets it; failures of an owner's
                                                  -- machines until no other of his does, and owners until nobody does

M.seconds = 300

local build
local known = {}                                  -- [id]: what of() tells, and wait, refused, failures; while its machine is up
local looking, giving = 0, false
local failures = {}                               -- [owner]: of his in a row
local failing, owners = {}, 0                     -- whose did, since any went well, and how many these are

function M.program() return sys.carried "cchost-agent" end

function M.build()
  if not build then
    local digest = crypto.sha256(M.program())
    build = { arch = sys.arch(), digest = digest, sha256 = crypto.hex(digest) }
    local built = sys.carried "cchost-agent.sha256":match "%x+"
    build.whole = build.sha256 == built
    if not build.whole then
      log.error("update", "the agent in this server's program is damaged: no machine that runs gets it", {
        sha256 = build.sha256, built = built,
      })
    end
  end
  return build
end

function M.of(id)
  local k = known[id]
  if not k or not k.update then return nil end
  return { version = k.version, build = k.build, update = k.update, why = k.why }
end

function M.count()
  local out = {}
  for _, k in pairs(known) do
    if k.update then out[k.update] = (out[k.update] or 0) + 1 end
  end
  return out
end

-- ---- one machine

-- What its agent says of itself. -> table | nil
local function health(rec)
  local answer = agent.request(rec, { path = "/healthz", timeout = 5, max_body = 65536 })
  local body = answer and answer.status == 200 and json.decode(answer.body)
  return type(body) == "table" and body ~= json.null and body or nil
end

local function version_of(said) return type(said.version) == "string" and utf8.cut(said.version, 40) or nil end

-- What has come of it: it refused everything when it answered 202, so what answers as before has given up, or was begun anew.
-- -> "current", what it says | "waiting" | "failed"
local function outcome(rec, was, want)
  local begun = steady.now()
  repeat
    local now = health(rec)
    if now and now.build == want then return "current", now end
    if now then
      local up, before = tonumber(now.uptime_ms) or 0, tonumber(was.uptime_ms) or 0
      return up >= before + (steady.now() - begun) / 2 and "waiting" or "failed"
    end
  until steady.now() > begun + CONFIRM * 1000 or not task.sleep(0.2)
  return "failed"
end

-- How it stands. Said in the log when that is new. -> ms until it is to be looked at again
local function note(rec, k, how, why, level, text)
  if text and (k.update ~= how or k.why ~= why) then
    log[level]("update", text, { machine = rec.id, from = k.version, why = why })
  end
  if how ~= "waiting" then k.wait = nil end
  k.update, k.why = how, why
  return M.seconds * 1000
end

local function busy(rec, k, body)
  local said = body and json.decode(body)
  local why = type(said) == "table" and type(said.error) == "string" and utf8.cut(said.error, 200) or "it is busy"
  note(rec, k, "waiting", why, "info", "an agent is busy: its update waits")
  k.wait = math.min(k.wait and 2 * k.wait or BUSY_FIRST, BUSY_MOST)
  return k.wait
end

local function held(owner) return owners >= IN_A_ROW or (failures[owner] or 0) >= IN_A_ROW end

-- Says so when it is the one that makes it too many.
local function count_failure(owner)
  local n = (failures[owner] or 0) + 1
  failures[owner] = n
  if n == IN_A_ROW then
    log.error("update", "no other agent of this owner gets this build until the server starts again: too many failed", {
      build = M.build().sha256, owner = owner, failures = n,
    })
  end
  if failing[owner] then return end
  failing[owner], owners = true, owners + 1
  if owners == IN_A_ROW then
    log.error("update", "no other agent gets this build until the server starts again: those of too many owners failed", {
      build = M.build().sha256, owners = owners,
    })
  end
end

local function count_success(owner)
  failures[owner] = nil
  failing, owners = {}, 0
end

local function failed(rec, k)
  k.failures = (k.failures or 0) + 1
  local why = "it did not come back as the build that it was given"
  if k.failures >= TRIES then why = why .. ", twice: it gets it no more until its machine starts anew" end
  local wait = note(rec, k, "failed", why, "warn", "an agent does not answer as the build that it was given")
  count_failure(rec.owner)
  return wait
end

local function give(rec, k, was)
  local ours = M.build()
  local answer, err = agent.request(rec, {
    method = "PUT", path = "/update?sha256=" .. ours.sha256, body = M.program(), timeout = 120, max_body = 65536,
  })
  if not answer then return note(rec, k, "away", err.message, "warn", "an agent could not be given another build") end
  if answer.status == 409 then return busy(rec, k, answer.body) end
  if answer.status ~= 202 then
    k.refused = k.build
    return note(rec, k, "refused", ("it answered %d"):format(answer.status), "warn",
      "an agent does not take another build; it goes on as it is")
  end
  local how, now = outcome(rec, was, ours.sha256)
  if how == "failed" then return failed(rec, k) end
  if how == "waiting" then return busy(rec, k) end
  count_success(rec.owner)
  log.info("update", "an agent was updated", { machine = rec.id, from = k.version })
  k.version, k.build, k.failures = version_of(now), now.build, nil
  return note(rec, k, "current")
end

local function look(rec, k)
  local is, ours = health(rec), M.build()
  if not is then return note(rec, k, "away", "it does not answer") end
  k.version = version_of(is)
  k.build = type(is.build) == "string" and is.build:match "^%x+$" and is.build:sub(1, 64) or nil
  if k.build == ours.sha256 then return note(rec, k, "current") end
  if not k.build then return note(rec, k, "unknown", "it tells no build: it gets another when its machine starts anew") end
  if is.arch ~= ours.arch then return note(rec, k, "unknown", "it is of another architecture than this server") end
  if not ours.whole then return note(rec, k, "held", "what this server carries is damaged") end
  if k.refused == k.build or (k.failures or 0) >= TRIES then return M.seconds * 1000 end
  if held(rec.owner) then
    return note(rec, k, "held", "other agents did not come back as the build that they were given")
  end
  if giving then
    k.update = k.update or "waiting"
    return NEXT
  end
  giving = true
  local ok, wait = xpcall(give, debug.traceback, rec, k, is)
  giving = false
  if not ok then error(wait, 0) end
  return wait
end

-- ---- all of them

local queue

local function up(rec) return rec ~= nil and rec.status == "RUNNING" and not rec.suspended_at end

local function act(rec, k)
  local ok, wait = xpcall(look, debug.traceback, rec, k)
  looking = looking - 1
  if not ok then error(wait, 0) end
  if known[rec.id] == k then queue:later(rec.id, wait) end
  return true
end

local function decide(id)
  local k = known[id]
  if not k then return nil end
  if looking >= MOST or giving and k.update == "waiting" then return steady.now() + NEXT end
  local rec = store.get("instance", id)
  if not up(rec) then
    known[id] = nil
    return nil
  end
  looking = looking + 1
  return nil, function() return act(rec, k) end
end

queue = due.new("update", decide)

local function on_change(id)
  if not up(store.get("instance", id)) then
    known[id] = nil
    return
  end
  if known[id] then return end
  known[id] = {}
  queue:soon(id)
end

local function all_that_run()
  M.build() -- says whether it is damaged
  local pause = slices.new()
  for row in walk.index("instance_running") do
    on_change(row.value)
    if not pause() then return end
  end
end

function M.serve()
  changes.on("instance", on_change)
  task.spawn(all_that_run)
  queue:serve()
end

return M
