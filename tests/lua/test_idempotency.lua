-- Idempotency-Key: what tests/api (operations, named) cannot bring about.
local t = require "t"
local idempotency = require "idempotency"
local store = require "store"
local vault = require "vault"

assert(store.open { dir = t.tmpdir(), serve = true })

t.test("a key whose answer cannot be kept is free for the next one", function()
  local ticket = assert(idempotency.begin("u", "k", "print"))
  ticket.secret = true
  local seal = vault.seal
  vault.seal = function() error("no key") end
  local ok, why = pcall(ticket.finish, ticket, 201, "{}")
  vault.seal = seal
  t.ok(not ok and why:find("no key", 1, true), "it raises: " .. tostring(why))
  local again, _, err = idempotency.begin("u", "k", "print")
  t.ok(again, tostring(err))
  again:finish(201, "{}")
  local _, answer = idempotency.begin("u", "k", "print")
  t.ok(answer.status == 201 and answer.body == "{}")
end)

return t.done()
