-- When a staged set that decides for a part of the users is taken back by itself. Pure.
--
--   guards.list              {{name =, option =, default =, doc =}...}: what can be set
--   guards.with(given) -> guards, all of them; `given` in the place of defaults. false: that guard is off
--   guards.tripped(guards, figures) -> which ("errors", "stops", "denials", "spend"), a sentence | nil
--   trial = guards.trial(figures or nil)      counts what the staged set does to those that it decides for
--     trial:asked(ok)                         it was asked; not ok: it failed
--     trial:pair(name, input, staged, live)   what both sets say to the same input, of which `staged` counts
--     trial:gone(id)                          a machine that runs no longer
--     trial:figures() -> {asked, failed, stops, live_stops, denials, live_denials, running, kept}
-- Stops, and restarts of what fails, are counted by machine, however often one is told to stop; denials by decision. `kept` are
-- the machines that the live set would have stopped by now and that run on: the share of `running` by which the bill grows.

local M = {}

M.list = {
  { name = "max_errors", default = 3, doc = "it fails more often than so" },
  { name = "max_error_percent", default = 1, doc = "so much of at least 200 decisions fail" },
  { name = "max_stop_ratio", default = 2, doc = "it stops more than so many times the machines that the live set would" },
  { name = "min_stops", default = 5, doc = "and at least so many" },
  { name = "max_denial_ratio", default = 2, doc = "it denies more than so many times what the live set would" },
  { name = "min_denials", default = 5, doc = "and at least so many" },
  { name = "max_spend_percent", default = 20, doc = "so much of the machines run that the live set would have stopped" },
  { name = "min_kept", default = 5, doc = "and at least so many" },
}
for _, g in ipairs(M.list) do g.option = g.name:gsub("_", "-") end

local ENOUGH = 200 -- decisions, before a share of failures says anything

function M.with(given)
  local out = {}
  for _, g in ipairs(M.list) do
    out[g.name] = g.default
    if given and given[g.name] ~= nil then out[g.name] = given[g.name] end
  end
  return out
end

-- More than `ratio` times as many, and at least `least`.
local function many(n, live, ratio, least) return ratio and n >= (least or 0) and n > ratio * live end

function M.tripped(g, f)
  if g.max_errors and f.failed > g.max_errors then
    return "errors", ("%d of its %d decisions failed; %g may"):format(f.failed, f.asked, g.max_errors)
  end
  if g.max_error_percent and f.asked >= ENOUGH and f.failed * 100 > g.max_error_percent * f.asked then
    return "errors", ("%d of its %d decisions failed; %g%% may"):format(f.failed, f.asked, g.max_error_percent)
  end
  if many(f.stops, f.live_stops, g.max_stop_ratio, g.min_stops) then
    return "stops", ("it stops %d machines, the live set %d; %g times as many may be"):format(f.stops, f.live_stops,
      g.max_stop_ratio)
  end
  if many(f.denials, f.live_denials, g.max_denial_ratio, g.min_denials) then
    return "denials", ("it denies %d requests, the live set %d; %g times as many may be"):format(f.denials, f.live_denials,
      g.max_denial_ratio)
  end
  if g.max_spend_percent and f.kept >= (g.min_kept or 0) and f.kept * 100 > g.max_spend_percent * f.running then
    return "spend", ("%d of %d machines run that the live set would have stopped; %g%% may"):format(f.kept, f.running,
      g.max_spend_percent)
  end
end

-- ---- counting

local Trial = {}
Trial.__index = Trial

function M.trial(saved)
  saved = saved or {}
  return setmetatable({
    n = { asked = saved.asked or 0, failed = saved.failed or 0, stops = saved.stops or 0, live_stops = saved.live_stops or 0,
      denials = saved.denials or 0, live_denials = saved.live_denials or 0, running = 0, kept = 0 },
    stopped = {}, live_stopped = {}, -- [id] = true
    machines = {},                   -- [id] = whether it is kept; those that run
  }, Trial)
end

function Trial:asked(ok)
  self.n.asked = self.n.asked + 1
  if not ok then self.n.failed = self.n.failed + 1 end
end

local function once(self, set, counter, id)
  if set[id] then return end
  set[id] = true
  self.n[counter] = self.n[counter] + 1
end

local ends = { stop = true, delete = true, restart = true }

function Trial:gone(id)
  local kept = self.machines[id]
  if kept == nil then return end
  self.machines[id] = nil
  self.n.running = self.n.running - 1
  if kept then self.n.kept = self.n.kept - 1 end
end

local function runs(self, id, kept)
  self:gone(id)
  self.machines[id] = kept
  self.n.running = self.n.running + 1
  if kept then self.n.kept = self.n.kept + 1 end
end

function Trial:pair(name, input, staged, live)
  if name == "idle.decide" or name == "expiry.decide" or name == "health.decide" then
    if ends[staged] then once(self, self.stopped, "stops", input.id) end
    if ends[live] then once(self, self.live_stopped, "live_stops", input.id) end
  elseif name == "access.create" or name == "access.wake" or name == "access.volume" then
    if staged == "deny" then self.n.denials = self.n.denials + 1 end
    if live == "deny" then self.n.live_denials = self.n.live_denials + 1 end
  end
  if name ~= "idle.decide" then return end
  if ends[staged] then self:gone(input.id) else runs(self, input.id, ends[live] or false) end
end

function Trial:figures() return self.n end

return M
