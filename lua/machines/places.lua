-- Where machines may be had: what the provider tells of each of our types.
--
-- places.of(name of a provider) -> {[type] = list of names} | nil     [yields] nil: it has no such thing, or does not tell now
--
-- Kept for ten minutes; that it did not tell for one, so that pages do not wait for a provider that is away.

local json = require "json"
local providers = require "providers"
local time = require "time"
local types = require "types"

local M = {}

local MINUTE, SECONDS = 60000, 5

local kept = {} -- by provider: {till = by time.mono(), places = or nil}

local function ask(name)
  local p = providers.get(name)
  if not p or not p:capabilities().places then return nil end
  local out = {}
  for _, t in ipairs(types.list()) do
    local list = p:places(t.name, { deadline = SECONDS })
    if not list then return nil end
    out[t.name] = json.array(list)
  end
  return out
end

function M.of(name)
  local old = kept[name]
  if old and time.mono() < old.till then return old.places end
  local places = ask(name)
  kept[name] = { till = time.mono() + (places and 10 or 1) * MINUTE, places = places }
  return places
end

return M
