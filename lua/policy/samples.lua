-- Inputs of real decisions, kept to try new policies on: of each function and verdict the last few, and some by chance.
--
--   samples.note(name, input, now, verdict, reason)    cheap; keeps a copy of few
--   samples.copy_input(name, input) -> a copy, without what is personal
--   samples.all() -> {[name] = {{input =, now =, results = {verdict, reason}}, ...}}
--   samples.load(), samples.save()                     [yields] the record policy_sample of each function

local json = require "json"
local kinds = require "policy.kinds"
local plain = require "plain"
local store = require "store"

local M = {}

local MOST = 64  -- of a function
local EVERY, MANY = 16, 1000 -- beyond the first: one decision in so many is kept, in the place of the oldest; of a fleet's fewer

local kept = {} -- [name] = {list =, at = the next place, seen =, verdicts = {}, dirty =}

local function of(name)
  local k = kept[name]
  if not k then
    k = { list = {}, at = 1, seen = 0, verdicts = {} }
    kept[name] = k
  end
  return k
end

-- Without what is personal.
function M.copy_input(name, input)
  local fields, out = kinds.find(name).input, plain.copy(input)
  for field in pairs(input) do
    if fields[field] and fields[field].personal then out[field] = "not kept" end
  end
  return out
end

function M.note(name, input, now, verdict, reason)
  local k = of(name)
  k.seen = k.seen + 1
  local key = type(verdict) == "string" and verdict or "answered"
  local n = k.verdicts[key] or 0
  if n >= 4 and k.seen % (k.seen < MANY and EVERY or MANY) ~= 0 then return end
  k.verdicts[key] = n + 1
  k.list[k.at] = { input = M.copy_input(name, input), now = now, results = { plain.copy(verdict), plain.copy(reason) } }
  k.at = k.at % MOST + 1
  k.dirty = true
end

function M.all()
  local out = {}
  for name, k in pairs(kept) do out[name] = { unpack(k.list) } end
  return out
end

function M.load()
  kept = {}
  for _, row in ipairs(store.list("policy_sample")) do
    local list = json.decode(row.json).samples
    local k = of(row.id)
    k.list, k.at = list, #list % MOST + 1
  end
end

-- What is new since the last time. -> true | nil, err
function M.save()
  local list = {}
  for name, k in pairs(kept) do
    if k.dirty then
      list[name] = json.array { unpack(k.list) }
      k.dirty = nil
    end
  end
  if next(list) == nil then return true end
  return store.update(function(tx)
    for name, samples in pairs(list) do tx:put("policy_sample", name, { samples = samples }) end
    return true
  end)
end

return M
