-- The set that is tried before it is in force, in the store: one at a time, asked beside the live set without effect, or
-- deciding for a part of the users. The server that runs follows what is written here (policy/canary.lua).
--
-- The record "policy" id "staged": {generation, hash, files = {name = SHA-256}, changed = {names}, author, note, at, percent,
-- guards, promoted_at, promotion = its number, live = {generation, hash} of when it was staged, returned = {at, guard, why,
-- figures, percent}}. The record "policy" id "shadow": what the server has found ({hash, at, promotion, faults, figures, counts,
-- differences}). Events of policy/staged: "staged", "promoted", "unstaged", "canary_returned". When the set comes into force it
-- is staged no longer, in the same commit (policy/history.lua).
--
--   staging.get() -> record | nil
--   staging.stage(gen, author, note) -> record | nil, err        in the place of another one that decides for nobody
--   staging.promote(percent, guards, author) -> record | nil, err      0 to 99: the users that it decides for
--   staging.give_back(record, guard, why, figures) -> record | nil, err     what the server does when a guard trips
--   staging.unstage(author) -> record | nil, err
--   staging.save(hash, found) -> true | nil, err                 while that set is staged
--   staging.changed(record) -> names of files that changed in the live set since it was staged
--   staging.told(record, found) -> what `cchost policy staged --json` and GET /policies/staged show

local errors = require "errors"
local history = require "policy.history"
local json = require "json"
local store = require "store"
local time = require "time"

local M = {}

function M.get() return store.get("policy", "staged") end

local function none() return errors.fail("not_found", "nothing is staged") end

function M.stage(gen, author, note)
  return store.update(function(tx)
    local live, was = tx:get("policy", "live"), tx:get("policy", "staged")
    if not live then return errors.fail("state", "no policies were in force yet: start the server once") end
    if live.hash == gen.hash then return errors.fail("state", "this is what is in force") end
    if was and was.percent > 0 then
      return errors.fail("state", ("generation %d is staged and decides for %g%% of the users: unstage it first"):format(
        was.generation, was.percent))
    end
    local set = history.put(tx, gen, author, note, "staged")
    local rec = {
      generation = set.generation, hash = set.hash, files = set.files, changed = set.changed, author = author, note = note,
      at = set.at, percent = 0, promotion = 0, live = { generation = live.generation, hash = live.hash },
    }
    tx:del("policy", "shadow")
    tx:put("policy", "staged", rec)
    tx:log("policy", "staged", "staged", { generation = rec.generation, hash = rec.hash, changed = rec.changed, note = note },
      author)
    return rec
  end)
end

-- change(tx, record) -> event, its data
local function edit(by, change)
  return store.update(function(tx)
    local rec = tx:get("policy", "staged")
    if not rec then return none() end
    local event, data = change(tx, rec)
    if not event then return rec end
    data.generation = rec.generation
    tx:put("policy", "staged", rec)
    tx:log("policy", "staged", event, data, by)
    return rec
  end)
end

function M.promote(percent, guards, author)
  return edit(author, function(tx, rec)
    rec.percent, rec.guards, rec.promoted_at, rec.returned = percent, guards, time.rfc3339(tx:now()), nil
    rec.promotion = rec.promotion + 1
    return "promoted", { percent = percent, guards = guards }
  end)
end

function M.give_back(record, guard, why, figures)
  return edit("policy", function(tx, rec)
    if rec.hash ~= record.hash or rec.promotion ~= record.promotion or rec.percent == 0 then return nil end
    rec.returned = { at = time.rfc3339(tx:now()), guard = guard, why = why, figures = figures, percent = rec.percent }
    rec.percent = 0
    return "canary_returned", { guard = guard, why = why, figures = figures, percent = rec.returned.percent }
  end)
end

function M.unstage(author)
  return store.update(function(tx)
    local rec = tx:get("policy", "staged")
    if not rec then return none() end
    tx:log("policy", "staged", "unstaged", { generation = rec.generation, percent = rec.percent }, author)
    tx:del("policy", "staged")
    tx:del("policy", "shadow")
    return rec
  end)
end

function M.save(hash, found)
  return store.update(function(tx)
    local rec = tx:get("policy", "staged")
    if rec and rec.hash == hash then tx:put("policy", "shadow", found) end
    return true
  end)
end

function M.changed(rec)
  local live, was = history.live(), history.get(rec.live.generation)
  if not live or live.hash == rec.live.hash then return json.array {} end
  return history.changed(was, live)
end

function M.told(rec, found)
  local live = history.live()
  local out = {}
  for k, v in pairs(rec) do out[k] = v end
  out.live = { staged_beside = rec.live.generation, now = live and live.generation, changed_since = M.changed(rec) }
  if not found or found.hash ~= rec.hash then found = {} end
  out.as_of, out.faults, out.figures = found.at, found.faults, found.figures
  out.counts, out.differences = found.counts or {}, found.differences or json.array {}
  return out
end

return M
