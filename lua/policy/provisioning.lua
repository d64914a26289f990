-- The workflow "create" as policies/provision.lua has it. Operations carry the generation that they began under and end on it.

local json = require "json"
local log = require "log"
local policy = require "policy"
local waiting = require "policy.waiting"

local M = {}

-- What a step is told. The environment is left out: it may hold secrets.
local function told(x)
  local rec = x.rec
  return {
    attempt = x.op.attempts, results = x.op.results,
    machine = {
      id = rec.id, short = rec.short, name = rec.name, owner = rec.owner, type = rec.type, image = rec.image,
      provider = rec.provider, location = rec.location, network = rec.network, labels = rec.labels, plan = rec.plan,
      volumes = rec.volumes,
    },
  }
end

-- steps.N.FIELD of a generation as what runner.lua calls. effects: {name = fn(x, ...) -> result | nil, err}
local function caller(gen, field, effects)
  return function(x)
    local host = {
      ["log.info"] = function(text) log.info("provision", tostring(text), { machine = x.rec.id }) return true end,
      ["log.warn"] = function(text) log.warn("provision", tostring(text), { machine = x.rec.id }) return true end,
    }
    for name, fn in pairs(effects) do host[name] = function(...) return fn(x, ...) end end
    local result, err = waiting.run(gen, "provision.lua", field, host, told(x))
    if result == nil and not err then return true end
    return result, err
  end
end

-- -> definition like `base`, with the steps of that generation. effects as above; after(rec, result): what a result says
-- of the record
function M.definition(gen, base, effects, after)
  if gen.provision then return gen.provision end
  local def = {}
  for k, v in pairs(base) do def[k] = v end
  def.steps = {}
  for i, step in ipairs(gen:data("provision").steps) do
    local at = ("steps.%d."):format(i)
    local has_undo = gen.fence:find("policies/provision.lua", at .. "undo")
    def.steps[i] = {
      name = step.name, run = caller(gen, at .. "run", effects), undo = has_undo and caller(gen, at .. "undo", effects) or nil,
      when = step.needs and function(rec) return rec[step.needs] ~= json.null and #rec[step.needs] > 0 end or nil,
      done = function(rec, result) if type(result) == "table" then after(rec, result) end end,
    }
    def.steps[step.name] = def.steps[i]
  end
  gen.provision = def
  return def
end

function M.stamp(rec) return policy.number(rec.owner) end

return M
