-- Which providers cannot be asked at the moment: what the records of their machines say may be out of date, and says so.
--
-- freshness.lost(provider, since_text), freshness.found(provider): told by the sweep (reconcile.lua)
-- freshness.mark(text) -> the machine's JSON with "stale_since" when its provider is lost, else untouched

local json = require "json"

local M = {}

local since = {}

function M.lost(provider, text) since[provider] = since[provider] or text end

function M.found(provider) since[provider] = nil end

function M.since(provider) return since[provider] end

function M.mark(text)
  if next(since) == nil then return text end
  local rec = json.decode(text)
  if not since[rec.provider] or rec.status == "DELETED" then return text end
  rec.stale_since = since[rec.provider]
  return json.encode(rec)
end

return M
