-- The secret of a machine's agent: whoever asks the agent anything but GET /healthz says it (host/agent/agent.h).
--
-- 32 random bytes, made when the machine is, kept sealed (vault.lua, "agent/ID"). The machine never has it: it is told its
-- SHA-256 by its provider at each start (`agent_key` of the spec, over the way that only this host has), and whoever reads
-- that can ask nothing with it. So there is no moment at which an agent takes what anybody says for its secret, a machine
-- that is made anew knows it, and a lost one is not fatal: it ends with the machine's stop, and a start makes another.
--
-- A machine that runs since before there were secrets has none: its agent asks for none until it is started again. No contact can
-- give it one: that program has no route that takes a key, and none that takes another program, for that came after secrets.
--
--   agent_secret.make(tx, rec)               in an update
--   true | nil, err = agent_secret.ensure(rec)   [yields] before a start: makes one where none can be read
--   text | nil = agent_secret.get(rec)       for options.secret of calls to providers
--   text | nil = agent_secret.header(rec)    the value of Authorization, for its agent
--   text | nil = agent_secret.key(rec)       what the agent compares with, 64 hexadecimal digits
--   agent_secret.forget(tx, id)              in an update

local crypto = require "crypto"
local log = require "log"
local store = require "store"
local vault = require "vault"

local M = {}

local BYTES = 32

local function place(id) return "agent/" .. id end

function M.make(tx, rec) vault.put(tx, place(rec.id), crypto.token(BYTES), rec.owner) end

function M.forget(tx, id) vault.del(tx, place(id)) end

function M.get(rec)
  local text, err = vault.get(place(rec.id))
  if text then return text end
  if err.code ~= "not_found" then
    log.warn("agent", "the secret of a machine cannot be read: stop it and start it", { machine = rec.id, error = err.message })
  end
  return nil
end

function M.ensure(rec)
  if M.get(rec) then return true end
  return store.update(function(tx)
    if tx:get("instance", rec.id) then M.make(tx, rec) end
    return true
  end)
end

function M.header(rec)
  local text = M.get(rec)
  return text and "Bearer " .. text
end

function M.key(rec)
  local text = M.get(rec)
  return text and crypto.hex(crypto.sha256(text))
end

return M
