-- What tests of billing look at, on the store of DATA_DIR beside a server: cchost tests/billing/books.lua queues | books
-- queues: a JSON list of what the queues of stripe/ hold; books: every account's balances and entries, and what verify finds.

local json = require "json"
local ledger = require "billing.ledger"
local script = require "script"
local store = require "store"
local sys = require "sys"

script.open()

local out = json.array {}
if (...) == "queues" then
  for _, kind in ipairs { "stripe_event", "stripe_order", "stripe_report", "stripe_cancel" } do
    for _, row in ipairs(store.list(kind)) do
      local rec = json.decode(row.json)
      rec.kind, rec.id = kind, row.id
      out[#out + 1] = rec
    end
  end
else
  local proof = ledger.verify()
  out = { faults = json.array(proof.faults), accounts = {}, entries = {} }
  for _, row in ipairs(store.list("ledger")) do
    out.accounts[row.id], out.entries[row.id] = json.decode(row.json), json.array(ledger.entries(row.id, { limit = 1e9 }))
  end
end
sys.stdout(json.encode(out) .. "\n")
