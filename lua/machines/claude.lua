-- Brings a user's Claude credentials to his machines: when one starts, and when they change while it runs. What cannot be told
-- now is told later, for as long as the machine runs; what the user took away is taken from his machines, too.
--
--   claude.serve()                  [serve's]

local agent = require "machines.agent"
local changes = require "machines.changes"
local due = require "due"
local errors = require "errors"
local json = require "json"
local log = require "log"
local marks = require "accounts.claude"
local settings = require "accounts.settings"
local store = require "store"
local workflows = require "machines.workflows"

local M = {}

local SECONDS = 5

-- Those of its owner, as the agent takes them. -> text | nil, err
local function wanted(rec)
  local body = {}
  for _, name in ipairs(marks.names) do
    local text, err = settings.get(rec.owner, name)
    if not text and err.code ~= "not_found" then return nil, err end
    body[name] = text or json.null
  end
  return json.encode(body)
end

-- -> true | nil, err, whether no other try would change that before the machine starts again: its agent is an older one, or
-- knows another secret, or there is none
local function tell(rec, seconds)
  local body, err = wanted(rec)
  if not body then return nil, err end
  local answer
  answer, err = agent.request(rec, {
    method = "PUT", path = "/auth/credentials", body = body, timeout = seconds, max_body = 65536,
    headers = { ["Content-Type"] = "application/json" },
  })
  if not answer then return nil, err, err.code == "unsupported" end
  if answer.status == 200 then return true end
  local why = errors.new("unavailable", ("the machine's agent answered %d"):format(answer.status))
  return nil, why, answer.status == 401 or answer.status == 404
end

local function clear(key, token)
  return store.update(function(tx)
    marks.clear(tx, key, token)
    return true
  end)
end

-- -> true | nil, err
local function deliver(rec, token, seconds)
  local ok, err, hopeless = tell(rec, seconds)
  if not ok and not hopeless then return nil, err end
  if not ok then
    log.info("claude", "a machine is not told its owner's credentials", { machine = rec.id, error = err.message })
  end
  return clear(rec.id, token)
end

-- In the step that starts a machine, once: what fails is left to serve's.
workflows.on_up = function(rec, seconds)
  local token = store.lookup("claude_due", rec.id)
  if token then deliver(rec, token, math.min(seconds, SECONDS)) end
end

local function up(rec) return rec and (rec.status == "RUNNING" or rec.status == "STARTING") end

local queue

-- All machines of a user that may have been told something else. -> true | nil, err
local function spread(user, token)
  for _, row in ipairs(store.scan("instance_owner", { prefix = user .. "/" })) do
    local id = row.key:sub(#user + 2)
    if up(store.get("instance", id)) then
      local marked, err = store.update(function(tx)
        if up(tx:get("instance", id)) then marks.mark_machine(tx, id) end
        return true
      end)
      if not marked then return nil, err end
      queue:soon(id)
    end
  end
  return clear("user/" .. user, token)
end

-- One that is starting is told by its start, one that is suspended when it goes on.
local function decide(key)
  local token = store.lookup("claude_due", key)
  if not token then return nil end
  local user = key:match("^user/(.+)$")
  if user then return nil, function() return spread(user, token) end end
  local rec = store.get("instance", key)
  if not rec or rec.status ~= "RUNNING" or rec.suspended_at then return nil end
  return nil, function() return deliver(rec, token, SECONDS) end
end

queue = due.new("claude", decide)

local function on_change(key)
  if store.lookup("claude_due", key) then queue:soon(key) end
end

function M.serve()
  changes.on("instance", on_change)
  changes.on("user", function(id) on_change("user/" .. id) end)
  for _, row in ipairs(store.scan "claude_due") do queue:soon(row.key) end
  queue:serve()
end

return M
