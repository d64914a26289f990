-- Secrets at rest: sealed under the master key (secrets.lua), each for its name alone, so that one cannot be put in
-- another's place. Record "secret", its id the name: {sealed, updated_at}. Their values are in no log, no event and no other
-- record; a backup has them sealed, and the master key is not in it.
--
-- Names: user/ID/anthropic_api_key, user/ID/claude_oauth_token, provider/NAME/token, agent/MACHINE
--
--   vault.setup{current = key32, previous = {key32...}}
--   vault.put(tx, name, text, owner)    vault.del(tx, name)     in an update
--   text | nil, err = vault.get(name)   "not_found"; "denied": sealed under a key that is not here
--   n | nil, err = vault.rekey()        [yields] seals anew what is not under the current key
--   mac, key = vault.mac(text, context[, key])   as secrets.lua has it: what is handed out and must be ours
--   sealed = vault.seal(text, context)   text | nil, err = vault.unseal(sealed, context)      for a record of one's own

local errors = require "errors"
local json = require "json"
local secrets = require "secrets"
local store = require "store"
local time = require "time"

local M = {}

local ring

function M.setup(keys) ring = secrets.open(keys) end

function M.seal(text, context) return ring:seal(text, context) end
function M.unseal(sealed, context) return ring:unseal(sealed, context) end

function M.mac(text, context, key) return ring:mac(text, context, key) end

function M.put(tx, name, text, owner)
  tx:put("secret", name, { sealed = ring:seal(text, name), updated_at = time.rfc3339(tx:now()) }, owner)
end

function M.del(tx, name) return tx:del("secret", name) end

function M.get(name)
  local rec, err = store.get("secret", name)
  if err and type(err) == "table" then return nil, err end
  if not rec then return errors.fail("not_found", "no such secret") end
  return ring:unseal(rec.sealed, name)
end

-- Every record that holds something sealed: [kind] = fn(id, value) -> the table with `sealed` or nil, the context
local holders = {
  secret = function(id, value) return value, id end,
  idempotency = function(id, value) return value.answer and value.answer.sealed and value.answer, "idempotency/" .. id end,
}

-- Seals anew what one record holds, if it needs to be. -> true, false | nil, err
local function reseal(kind, id)
  return store.update(function(tx)
    local rec = tx:get(kind, id)
    local box, context
    if rec then box, context = holders[kind](id, rec) end
    if not box or ring:is_current(box.sealed) then return false end
    local text, err = ring:unseal(box.sealed, context)
    if not text then return nil, errors.new(err.code, kind .. " " .. id .. ": " .. err.message) end
    box.sealed = ring:seal(text, context)
    tx:put(kind, id, rec)
    return true
  end)
end

local function rekey(kind)
  local n, after = 0, nil
  repeat
    local page, err = store.list(kind, { after = after, limit = 200 })
    if not page then return nil, err end
    for _, row in ipairs(page) do
      after = row.id
      local box = holders[kind](row.id, json.decode(row.json))
      if box and not ring:is_current(box.sealed) then
        local done, rerr = reseal(kind, row.id)
        if done == nil then return nil, rerr end
        n = n + (done and 1 or 0)
      end
    end
  until #page < 200
  return n
end

-- One that cannot be opened stops it: no key may be thrown away while it is needed.
function M.rekey()
  local n = 0
  for kind in pairs(holders) do
    local more, err = rekey(kind)
    if not more then return nil, err end
    n = n + more
  end
  return n
end

return M
