-- Decisions as they are kept, in the entry of the log that they belong to: `decision` is the one that the entry comes of,
-- `decisions` are those that were asked on the way and let it pass.
--
--   kept.decision(name, gen, input, verdict, reason [, t]) -> {name =, kind =, verdict =, reason =, generation =, at = RFC 3339
--       of t (unix ms), input =}     name: as in "access.wake". t: of one that is told the time
--   kept.list(decisions) -> the same as a JSON array, or nil when there are none
--   kept.of(data) -> those of an entry's data, the newest first
--   kept.place(decision) -> "policies/access.lua:42", the line that decided, or nil
--   kept.withheld(actor, kind) -> whether what it was told is not for this actor: an API token without the scope `billing`
--   kept.text(actor, text) -> the data of an entry as this actor may read it (JSON)

local json = require "json"
local kinds = require "policy.kinds"
local policy = require "policy"
local time = require "time"

local M = {}

local kind_of = { ["idle.lease"] = "lease" } -- else the word before the dot

function M.decision(name, gen, input, verdict, reason, t)
  return { name = name, kind = kind_of[name] or name:match("^%w+"), verdict = verdict, reason = reason, generation = gen.number,
    at = t and time.rfc3339(t) or nil, input = input }
end

function M.list(decisions) return #decisions > 0 and json.array(decisions) or nil end

function M.of(data)
  local out, list = {}, type(data.decisions) == "table" and data.decisions or {}
  for i = #list, 1, -1 do out[#out + 1] = list[i] end
  if type(data.decision) == "table" then out[#out + 1] = data.decision end
  return out
end

function M.place(d)
  local gen = d.input and policy.of(d.generation)
  if not gen then return nil end
  local spec, kind = kinds.find(d.name)
  local ok, trace = gen:trace(d.name, d.input, spec.now and d.at and math.floor(time.parse(d.at) / 1000) or nil)
  return ok and trace.last > 0 and ("policies/%s:%d"):format(kind.file, trace.last) or nil
end

function M.withheld(actor, kind)
  return kind == "billing" and actor ~= nil and actor.scopes ~= nil and not actor.scopes.billing
end

function M.text(actor, text)
  if not M.withheld(actor, "billing") or not text:find('"billing.decide"', 1, true) then return text end
  local data = json.decode(text)
  for _, d in ipairs(M.of(data)) do
    if d.kind == "billing" then d.input = nil end
  end
  return json.encode(data)
end

return M
