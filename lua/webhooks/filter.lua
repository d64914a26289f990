-- Which entries of the log a webhook is told. Its `events` are words: "instance" is all of a kind, "instance.stopped" one type
-- of it; none is everything that its owner sees in GET /events.
--
--   filter.word      the form of such a word, and filter.hint
--   filter.set(events) -> {[word] = true} or nil: all      filter.matches(set, entry) -> bool
--   filter.actor(hook) -> the actor as whom it reads, or nil: its owner may do nothing now
--   filter.told(set, actor, entry) -> bool

local events = require "events"
local store = require "store"

local M = {}

M.word, M.hint = "^[a-z_]+%.?[a-z_]*$", "a kind of events, or KIND.TYPE"

function M.set(list)
  if #list == 0 then return nil end
  local set = {}
  for _, word in ipairs(list) do set[word:gsub("%.$", "")] = true end
  return set
end

function M.matches(set, e) return not set or set[e.kind] or set[e.kind .. "." .. e.type] or false end

-- One that is told all is an admin's for as long as he is one.
function M.actor(hook)
  if hook.user == nil then return { admin = true } end
  local user = store.get("user", hook.user)
  if not user or user.status ~= "active" then return nil end
  return { user = user.id, admin = hook.all and user.role == "admin" }
end

function M.told(set, actor, e) return M.matches(set, e) and events.may_see(actor, e) end

return M
