-- Every set of policies that was ever in force, in the store: who put it there, when, what changed; and its sources, so that
-- a restart with a broken file still runs, and an old decision can be taken again by the policy that took it.
--
-- Records: "policy_set" (id: the generation, ten digits) {generation, hash, files = {name = SHA-256}, author, note, at,
-- changed = {names}, before = the generation in force until then, state = "staged" of one that was only tried}; "policy_source"
-- (id: SHA-256) {text}; "policy" id "live": the set in force; "policy" id "numbers" {last}: the newest generation of either
-- sort. What was proposed by `cchost policy apply` waits in "policy" id "proposed" {hash, author, note} until its files are seen.
--
--   history.live() -> set | nil                     history.get(generation) -> set | nil
--   history.sources(set) -> {name = text} | nil, err
--   history.list(after, limit) -> {set...}, newest first; after: a generation
--   history.before(set) -> the generation that was in force before it, 0: none
--   history.add(gen, author, note) -> set | nil, err          the same hash as the live one: that one, nothing is written
--   history.put(tx, gen, author, note, state) -> set          in an update: a set with a number of its own
--   history.propose(hash, author, note) -> true | nil, err

local errors = require "errors"
local json = require "json"
local store = require "store"
local time = require "time"

local M = {}

local function id_of(generation) return ("%010d"):format(generation) end

function M.live() return store.get("policy", "live") end

function M.get(generation) return store.get("policy_set", id_of(generation)) end

function M.sources(set)
  local out = {}
  for name, hash in pairs(set.files) do
    local kept = store.get("policy_source", hash)
    if not kept then
      return errors.fail("not_found", ("the source of %s in generation %d is not kept"):format(name, set.generation))
    end
    out[name] = kept.text
  end
  return out
end

function M.list(after, limit)
  local out = {}
  for _, row in ipairs(store.list("policy_set", { after = after and id_of(after), limit = limit, reverse = true })) do
    out[#out + 1] = json.decode(row.json)
  end
  return out
end

function M.before(set) return set.before or set.generation - 1 end

-- Names of files that differ between two sets; `was` may be nil. Sorted.
function M.changed(was, is)
  local out, old = json.array {}, was and was.files or {}
  for name, hash in pairs(is.files) do
    if old[name] ~= hash then out[#out + 1] = name end
  end
  for name in pairs(old) do
    if not is.files[name] then out[#out + 1] = name end
  end
  table.sort(out)
  return out
end

function M.propose(hash, author, note)
  return store.update(function(tx)
    tx:put("policy", "proposed", { hash = hash, author = author, note = note })
    return true
  end)
end

local function keep_sources(tx, gen)
  for name, hash in pairs(gen.files) do
    if not tx:get("policy_source", hash) then tx:put("policy_source", hash, { text = gen.sources[name] }) end
  end
end

function M.put(tx, gen, author, note, state)
  local live, numbers = tx:get("policy", "live"), tx:get("policy", "numbers")
  local last = math.max(live and live.generation or 0, numbers and numbers.last or 0)
  local set = {
    generation = last + 1, hash = gen.hash, files = gen.files, author = author, note = note, at = time.rfc3339(tx:now()),
    before = live and live.generation or 0, state = state, shipped = gen.shipped or nil,
  }
  set.changed = M.changed(live, set)
  keep_sources(tx, gen)
  tx:put("policy_set", id_of(set.generation), set)
  tx:put("policy", "numbers", { last = set.generation })
  return set
end

-- A set that comes into force is no longer staged. -> the number that it had while it was, or nil
local function end_staging(tx, hash)
  local staged = tx:get("policy", "staged")
  if not staged or staged.hash ~= hash then return nil end
  tx:del("policy", "staged")
  tx:del("policy", "shadow")
  return staged.generation
end

function M.add(gen, author, note)
  return store.update(function(tx)
    local was = tx:get("policy", "live")
    if was and was.hash == gen.hash then return was end
    local proposed = tx:get("policy", "proposed")
    if proposed and proposed.hash == gen.hash then author, note = proposed.author, proposed.note end
    local set = M.put(tx, gen, author, note)
    tx:put("policy", "live", set)
    tx:log("policy", "live", "policies_changed", { generation = set.generation, hash = set.hash, changed = set.changed,
      note = note, staged = end_staging(tx, gen.hash) }, author)
    return set
  end)
end

return M
