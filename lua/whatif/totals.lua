-- What replays come to, side by side: per plan, in total, per day, and whom it hits most. Pure.
--
--   t = totals.new()
--   totals.add(t, past, before, after)     the results of one machine (whatif/replay.lua)
--   totals.finish(t) -> {machines =, recorded_ms =, decisions =, undone =, total = {before =, after =}, plans = {{plan =,
--       before =, after =}, ...}, days = {{day =, before = ms, after = ms}, ...}, users = ten of {owner =, before =, after =}}
-- Memory: a few numbers for each account, plan and day.

local M = {}

local FIELDS = { "ms", "micro", "stops", "at_work", "agents", "wakes", "early" }
M.FIELDS = FIELDS

local function zero()
  local out = {}
  for _, f in ipairs(FIELDS) do out[f] = 0 end
  return out
end

local function pair_of(map, key)
  if not map[key] then map[key] = { before = zero(), after = zero() } end
  return map[key]
end

local function add(sum, more)
  for _, f in ipairs(FIELDS) do sum[f] = sum[f] + more[f] end
end

function M.new()
  return { machines = 0, recorded_ms = 0, decisions = 0, undone = 0, total = { before = zero(), after = zero() }, plans = {},
    days = {}, users = {} }
end

function M.add(t, past, before, after)
  t.machines, t.recorded_ms = t.machines + 1, t.recorded_ms + past.ran
  t.decisions = t.decisions + before.decisions + after.decisions
  t.undone = t.undone + after.undone
  for name, r in pairs { before = before, after = after } do
    for plan, p in pairs(r.plans) do
      add(t.total[name], p)
      add(pair_of(t.plans, plan)[name], p)
      add(pair_of(t.users, past.owner)[name], p)
    end
    for day, ms in pairs(r.days) do
      t.days[day] = t.days[day] or { before = 0, after = 0 }
      t.days[day][name] = t.days[day][name] + ms
    end
  end
end

local function sorted(map, name)
  local out = {}
  for key, v in pairs(map) do out[#out + 1] = { [name] = key, before = v.before, after = v.after } end
  table.sort(out, function(a, b) return a[name] < b[name] end)
  return out
end

local function more(u, f) return u.after[f] - u.before[f] end

-- How much worse (or better) somebody is off: work that was ended counts first, then waiting, then time.
local function affected(u)
  return math.abs(more(u, "agents") + more(u, "at_work")), math.abs(more(u, "early")), math.abs(more(u, "ms"))
end

local function worst(users)
  local list = {}
  for _, u in ipairs(users) do
    local a, b, c = affected(u)
    if a + b + c > 0 then list[#list + 1] = { u = u, a, b, c } end
  end
  table.sort(list, function(x, y)
    for i = 1, 3 do
      if x[i] ~= y[i] then return x[i] > y[i] end
    end
    return x.u.owner < y.u.owner
  end)
  local out = {}
  for i = 1, math.min(10, #list) do out[i] = list[i].u end
  return out
end

function M.finish(t)
  return {
    machines = t.machines, recorded_ms = t.recorded_ms, decisions = t.decisions, undone = t.undone, total = t.total,
    plans = sorted(t.plans, "plan"), days = sorted(t.days, "day"), users = worst(sorted(t.users, "owner")),
  }
end

return M
