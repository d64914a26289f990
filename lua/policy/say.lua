-- Sentences of explain (policy/explain.lua): "would have stayed up with input 14 s later (15:42:14 UTC), or a busy lease". Pure.
--
--   say.change(name, field, from, to, now) -> "input 14 s later (15:42:14 UTC)"
--   say.flips(spec, verdict, flips [, partial]) -> the sentence of all; partial: not all of the grid was looked at
--   say.value(field, value, now) -> a value as people read it
--   say.duration(seconds)

local json = require "json"

local M = {}

local MOST = 3 -- changes named for one verdict, and "or a busy lease"

function M.duration(s)
  local out = {}
  for _, unit in ipairs { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } } do
    local n = math.floor(s / unit[1])
    if n > 0 then out[#out + 1] = ("%d %s"):format(n, unit[2]) end
    s = s - n * unit[1]
  end
  return #out > 0 and table.concat(out, " ") or "0 s"
end

local function clock(t, now)
  local same_day = now and math.floor(t / 86400) == math.floor(now / 86400)
  return os.date(same_day and "!%H:%M:%S UTC" or "!%Y-%m-%d %H:%M:%S UTC", t)
end

local function number(n) return ("%.10g"):format(n) end

local shown = {}
function shown.time(_, v, now) return clock(v, now) end
function shown.number(f, v) return f.unit == "s" and M.duration(v) or number(v) end
function shown.count(_, v) return number(v) end
function shown.flag(_, v) return tostring(v) end
function shown.enum(_, v) return v end

function M.value(f, v, now)
  if v == nil then return "-" end
  if f and shown[f[1]] and type(v) ~= "table" then return shown[f[1]](f, v, now) end
  return json.encode(v)
end

-- ---- a change

local function moved(name, f, from, to, now)
  local what = f.say and f.say.moved or name
  if f[1] == "time" then
    return ("%s %s %s (%s)"):format(what, M.duration(math.abs(to - from)), to > from and "later" or "earlier", clock(to, now))
  end
  if f.unit == "s" or f.say then return ("%s of %s"):format(what, M.value(f, to)) end
  return ("%s %s instead of %s"):format(what, M.value(f, to), M.value(f, from))
end

local function given(name, f, to, now)
  local what = f.say and f.say.given
  if f[1] == "time" and f.future and what then return what end
  if f[1] == "time" then return ("%s at %s"):format(what or name, clock(to, now)) end
  return ("%s %s"):format(what or name, M.value(f, to))
end

function M.change(name, f, from, to, now)
  if f[1] == "flag" and f.say then return to and f.say.given or f.say.gone end
  if to == nil then return f.say and f.say.gone or "no " .. name end
  if from == nil then return given(name, f, to, now) end
  return moved(name, f, from, to, now)
end

-- ---- all of them

local function joined(list)
  if #list <= 2 then return table.concat(list, ", or ") end
  return table.concat(list, ", ", 1, #list - 1) .. ", or " .. list[#list]
end

local function would(spec, was, is)
  local phrase = spec.would and spec.would[is]
  if type(phrase) == "table" then phrase = phrase[was] or phrase[next(phrase)] end
  return phrase or spec.otherwise or "been answered otherwise"
end

function M.flips(spec, verdict, flips, partial)
  local but = partial and " (not all of the grid was looked at: the decision is too slow)" or ""
  if #flips == 0 then return "no single change of an input would have changed it" .. but end
  local order, groups = {}, {}
  for _, flip in ipairs(flips) do
    local phrase = would(spec, verdict, flip.verdict)
    local group = groups[phrase]
    if not group then
      group = {}
      groups[phrase] = group
      order[#order + 1] = phrase
    end
    if #group < MOST or flip.apart and #group <= MOST then group[#group + 1] = flip.text end
  end
  for i, phrase in ipairs(order) do order[i] = ("would have %s with %s"):format(phrase, joined(groups[phrase])) end
  return table.concat(order, "; ") .. but
end

return M
