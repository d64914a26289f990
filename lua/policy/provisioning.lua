-- Workflows as policies have them: the steps in which a machine is made (policies/provision.lua), and what joins in from
-- other files (policies/netbird.lua): prepare before a machine is made, or made anew, finalize once it runs, teardown when it
-- is deleted. Operations carry the generation that they began under and end on it.
--
--   provisioning.join(kind, {            another file's steps; kind: of policy/kinds.lua
--     applies = fn(data, rec) -> whether new machines like this one are prepared and finalized; data: the file's table
--     leaves = fn(data, rec) -> whether one that is deleted is torn down
--     effects = {name = fn(x, ...)}, told = fn(x) -> {...},        for its steps, beside what all are told and may call
--     user_data = fn(rec) -> text or nil })                        what such a machine is told at its making
--   provisioning.definition(gen, base, effects, after) -> definition    base with the steps of that generation
--   provisioning.prepare(x, effects) -> true | nil, err    now, and outside of any step: a machine is made anew unforeseen
--   provisioning.stamp(rec)
--
-- A machine that is joined to something has a field `mesh`: {network = the file's kind, ...}, from the commit before the first
-- step that acts for it. A machine of a provider that keeps its disk over a stop is not prepared again when it starts.

local json = require "json"
local log = require "log"
local policy = require "policy"
local providers = require "providers"
local waiting = require "policy.waiting"

local M = {}

local joined = {} -- {{kind =, file =, applies =, ...}...}

function M.join(kind, o)
  local part = { kind = kind, file = kind .. ".lua" }
  for k, v in pairs(o) do part[k] = v end
  joined[#joined + 1] = part
end

-- ---- what a step is told, and how it is called

-- The environment is left out: it may hold secrets.
local function told(x, part)
  local rec = x.rec
  local out = part and part.told(x) or {}
  out.attempt, out.operation, out.results = x.op.attempts, x.op.kind, {}
  for name, result in pairs(x.op.results) do
    out.results[part and name:match("^" .. part.kind .. "%.(.+)$") or name] = result
  end
  out.machine = {
    id = rec.id, short = rec.short, name = rec.name, owner = rec.owner, type = rec.type, image = rec.image,
    provider = rec.provider, location = rec.location, network = rec.network, labels = rec.labels, plan = rec.plan,
    volumes = rec.volumes, address = rec.address, mesh = rec.mesh,
  }
  return out
end

-- FIELD of a file of a generation as what runner.lua calls. effects: {name = fn(x, ...) -> result | nil, err}
local function caller(gen, file, field, effects, part)
  return function(x)
    local host = {
      ["log.info"] = function(text) log.info("provision", tostring(text), { machine = x.rec.id }) return true end,
      ["log.warn"] = function(text) log.warn("provision", tostring(text), { machine = x.rec.id }) return true end,
    }
    for _, list in ipairs { effects, part and part.effects or nil } do
      for name, fn in pairs(list) do host[name] = function(...) return fn(x, ...) end end
    end
    local result, err = waiting.run(gen, file, field, host, told(x, part))
    if result == nil and not err then return true end
    return result, err
  end
end

-- ---- the steps of provision.lua

local function own_steps(gen, effects, after)
  local out = {}
  for i, step in ipairs(gen:data("provision").steps) do
    local at = ("steps.%d."):format(i)
    local has_undo = gen.fence:find("policies/provision.lua", at .. "undo")
    out[i] = {
      name = step.name, run = caller(gen, "provision.lua", at .. "run", effects),
      undo = has_undo and caller(gen, "provision.lua", at .. "undo", effects) or nil,
      when = step.needs and function(rec) return rec[step.needs] ~= json.null and #rec[step.needs] > 0 end or nil,
      done = function(rec, result) if type(result) == "table" then after(rec, result) end end,
    }
  end
  return out
end

-- ---- the steps of other files

local function keeps_disk(rec)
  local p = providers.get(rec.provider)
  return not p or p:capabilities().stop_keeps_disk ~= false
end

-- Whether the machine will be, or was just made, another one than before.
local function is_new(rec, op)
  local started = op.results.start
  return op.kind == "create" or not keeps_disk(rec) or not (rec.mesh and rec.mesh.peer)
    or type(started) == "table" and started.anew == true
end

local function enter(part)
  return function(rec)
    if not rec.mesh then rec.mesh = { network = part.kind } end
  end
end

-- What a result says of the machine's place in the network.
local function note(part)
  return function(rec, result)
    if type(result) ~= "table" or not result.peer then return end
    rec.mesh = { network = part.kind, peer = result.peer, address = result.address }
  end
end

local function forget(rec, op)
  if op.kind == "create" then rec.mesh = nil end
end

local function part_steps(gen, part, list, effects, when)
  local out, data = {}, gen:data(part.kind)
  for i, step in ipairs(data and data[list] or {}) do
    local at = ("%s.%d."):format(list, i)
    local has_undo = gen.fence:find("policies/" .. part.file, at .. "undo")
    out[i] = {
      name = part.kind .. "." .. (list == "teardown" and "teardown_" or "") .. step.name,
      run = caller(gen, part.file, at .. "run", effects, part),
      undo = has_undo and caller(gen, part.file, at .. "undo", effects, part) or nil,
      when = function(rec, op) return when(part, data, rec, op) end,
      enter = list ~= "teardown" and enter(part) or nil, done = list ~= "teardown" and note(part) or nil,
      undone = i == 1 and list == "prepare" and forget or nil,
    }
  end
  return out
end

local function all_of(gen, list, effects, when)
  local out = {}
  for _, part in ipairs(joined) do
    for _, step in ipairs(part_steps(gen, part, list, effects, when)) do out[#out + 1] = step end
  end
  return out
end

local function add(to, list)
  for _, step in ipairs(list) do to[#to + 1] = step end
end

-- A step before or behind one that starts the machine: when that is done, too.
local function beside(start)
  return function(part, data, rec, op)
    if start and start.when and not start.when(rec, op) then return false end
    return part.applies(data, rec) and is_new(rec, op)
  end
end

local function composed(gen, base, effects, after)
  local out = {}
  if base.kind == "create" then
    add(out, all_of(gen, "prepare", effects, beside()))
    add(out, own_steps(gen, effects, after))
    add(out, all_of(gen, "finalize", effects, beside()))
    return out
  end
  for _, step in ipairs(base.steps) do
    local starts = step.name == "start"
    if starts then add(out, all_of(gen, "prepare", effects, beside(step))) end
    out[#out + 1] = step
    if starts then add(out, all_of(gen, "finalize", effects, beside(step))) end
  end
  if base.kind == "delete" then
    add(out, all_of(gen, "teardown", effects, function(part, data, rec) return part.leaves(data, rec) end))
  end
  return out
end

function M.definition(gen, base, effects, after)
  gen.workflows = gen.workflows or {}
  if gen.workflows[base.kind] then return gen.workflows[base.kind] end
  local def = {}
  for k, v in pairs(base) do def[k] = v end
  def.steps = composed(gen, base, effects, after)
  for _, step in ipairs(def.steps) do def.steps[step.name] = step end
  gen.workflows[base.kind] = def
  return def
end

function M.prepare(x, effects)
  if is_new(x.rec, x.op) and x.op.state ~= "undoing" then return true end -- its own steps have done it
  local gen = policy.for_owner(x.rec.owner)
  for _, step in ipairs(all_of(gen, "prepare", effects, function(part, data, rec) return part.applies(data, rec) end)) do
    if step.when(x.rec, x.op) then
      local ok, err = step.run(x)
      if ok == nil then return nil, err end
    end
  end
  return true
end

-- Of the machine's parts, what it is told at its making; or nil.
function M.user_data(rec)
  for _, part in ipairs(joined) do
    local text = part.user_data(rec)
    if text then return text end
  end
end

function M.stamp(rec) return policy.number(rec.owner) end

return M
