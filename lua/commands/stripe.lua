-- cchost stripe: what is queued in matters of Stripe, and what the operator does about it.

local command = require "command"
local json = require "json"
local store = require "store"
local queue = require "stripe.queue"
local time = require "time"
local walk = require "walk"
require "stripe.cancels"
require "stripe.inbox"
require "stripe.orders"
require "stripe.usage"

local M = {}

M.help = [[
usage: cchost stripe [--all] [--json]
       cchost stripe show ID
       cchost stripe retry ID | --parked

Prints one line for each event of Stripe, paid order, report of usage and cancelled subscription that waits to be worked on or
is parked: status, what it is, id, type, attempts, since when, and the last error. A running server works on them.

  show      one of them, whole, as JSON
  retry     has one that is parked tried again; --parked: all that are
  --all     also those that are done and not yet forgotten
  --json    one JSON object a line
]]

local KINDS = { "stripe_event", "stripe_order", "stripe_report", "stripe_cancel" }

-- Calls fn(kind, id, record, text) for all.
local function each(fn)
  for _, kind in ipairs(KINDS) do
    for row in walk.kind(kind) do fn(kind, row.id, json.decode(row.json), row.json) end
  end
end

local function list(options)
  each(function(kind, id, rec, text)
    if rec.status == "done" and not options.all then return end
    if options.json then return command.out('{"kind":"%s","id":%s,"record":%s}', kind, json.encode(id), text) end
    command.out("%-8s %-13s %-36s %-36s %3d  %s  %s", rec.status, kind, id, rec.type or rec.what or "", rec.attempts,
      time.rfc3339(rec.since), rec.error or rec.note or "")
  end)
end

-- -> kind, text; ends the command when there is none
local function find(id)
  for _, kind in ipairs(KINDS) do
    local text = store.raw(kind, id)
    if text then return kind, text end
  end
  command.fail("there is nothing with the id %s", id)
end

local function retry(kind, id)
  command.must(queue.all[kind]:retry(id))
  command.tell({ kind = kind, id = id }, "%s is tried again", id)
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost stripe [show ID | retry ID | retry --parked] [--all] [--json]",
    options = { all = "flag", json = "flag", parked = "flag" }, words = { 0, 2 },
  })
  local action, id = words[1], words[2]
  if action and action ~= "show" and action ~= "retry" then command.usage("stripe: show or retry expected") end
  if action and not id and not (action == "retry" and options.parked) then command.usage("stripe %s: an id expected", action) end
  command.open(settings)
  if not action then return list(options) end
  if action == "show" then return command.out("%s", select(2, find(id))) end
  if id then return retry((find(id)), id) end
  each(function(kind, parked, rec)
    if rec.status == "parked" then retry(kind, parked) end
  end)
end

return M
