-- Whether this process is fit to be asked, and how its parts are.
--
-- health.parts() -> {{name =, needed =, ok =, why = sentence or nil, since = RFC 3339: of that it is so, age_seconds =,
--     last_success = RFC 3339 or nil, says = {...}}, ...}, ready
--   Without those that are `needed` it is not to be asked:
--     store     it is open and can be read       policy      a set is in force
--     listener  requests are taken: not before serve is ready, and not once it ends
--   the others are observe/parts.lua's. What is said of one that cannot be looked at is why.
-- health.needed() -> the first of these, ready      waits for nothing, for everybody
-- health.serve()           [serve's] looks every ten seconds, so that `since` is when it became so, and not when somebody looked
-- health.serving(bool)     [serve's]

local parts = require "observe.parts"
local policy = require "policy"
local steady = require "steady"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local LOOK_SECONDS = 10

local serving = false

local needed = {
  { "store", function() return store.stats() ~= nil, "the store is not open" end },
  { "listener", function() return serving, "requests are not taken yet, or no more" end },
  { "policy", function() return policy.number() ~= nil, "no policies are in force" end },
}

local since = {} -- [name] = {ok, at, well_at}

local function part(name, look, is_needed)
  local fine, ok, why, more = pcall(look)
  if not fine then ok, why, more = false, "it cannot be looked at: " .. tostring(ok), nil end
  local was, now = since[name], steady.now()
  if not was or was.ok ~= ok then
    was = { ok = ok, at = now, well_at = was and was.well_at }
    since[name] = was
  end
  if ok then was.well_at = now end
  more = more or {}
  local last = more.last_success or was.well_at and time.rfc3339(was.well_at) or nil
  more.last_success = nil
  return { name = name, needed = is_needed, ok = ok, why = not ok and why or nil, since = time.rfc3339(was.at),
    age_seconds = (now - was.at) / 1000, last_success = last, says = more }
end

function M.needed()
  local out, ready = {}, true
  for i, look in ipairs(needed) do
    out[i] = part(look[1], look[2], true)
    ready = ready and out[i].ok
  end
  return out, ready
end

function M.parts()
  local out, ready = M.needed()
  for _, look in ipairs(parts.list) do out[#out + 1] = part(look[1], look[2], false) end
  return out, ready
end

function M.serving(yes)
  serving = yes
  M.needed()
end

function M.serve()
  task.spawn(function()
    repeat M.parts() until not task.sleep(LOOK_SECONDS)
  end)
end

return M
