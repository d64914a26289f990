-- The jobs of policies/schedule.lua, run by schedule/jobs.lua: once, however many processes share the store.
--
--   own_jobs.list(gen) -> jobs | nil, err    err: which job's rule cannot be     [yields] a zone may have to be read
--   own_jobs.serve()                         runs those in force, and those that take their place

local asked = require "policy.asked"
local calendar = require "schedule.calendar"
local errors = require "errors"
local generation = require "policy.generation"
local host_http = require "http"
local instances = require "instances"
local jobs = require "schedule.jobs"
local log = require "log"
local netbird = require "netbird"
local policy = require "policy"
local retention = require "retention"
local runner = require "runner"
local steady = require "steady"
local task = require "task"
local time = require "time"
local waiting = require "policy.waiting"
local zone = require "schedule.zone"

local M = {}

local AGAIN = 10 -- seconds until they are tried again, as a file of a zone that could not be read, say

local operator = { admin = true, by = "schedule" }

local function host_of(name)
  local host = {
    ["housekeeping.forget"] = function() retention.tidy(steady.now()) return true end,
    ["housekeeping.netbird"] = function() return netbird.sweep() end,
    ["housekeeping.processes"] = function() runner.tidy() return true end,
    ["instances.get"] = asked.key(function(id) return instances.get(operator, id) end),
    ["instances.list"] = function(after, limit) return asked.page(operator, after, limit) end,
    ["http.request"] = function(spec) return host_http.request(spec) end,
    ["time.now"] = function() return math.floor(time.now() / 1000) end,
    ["log.info"] = function(line) log.info("schedule", tostring(line), { job = name }) return true end,
    ["log.warn"] = function(line) log.warn("schedule", tostring(line), { job = name }) return true end,
  }
  for _, verb in ipairs { "start", "stop", "delete" } do
    host["instances." .. verb] = asked.key(function(id)
      local rec, err = instances.move(operator, id, verb)
      if rec == nil then return nil, err end
      return rec
    end)
  end
  return host
end

function M.list(gen)
  local out = {}
  for i, job in ipairs(gen:data("schedule").jobs) do
    local rule, err = calendar.parse { every = job.every, at = job.at, zone = job.zone }
    if not rule then return errors.fail("invalid", ("jobs[%d] (%s): %s"):format(i, job.name, err.message)) end
    local field = ("jobs.%d.run"):format(i)
    out[i] = {
      name = job.name, rule = rule, missed = job.missed, deadline = job.deadline,
      run = function(due)
        local result, err2 = waiting.run(gen, "schedule.lua", field, host_of(job.name), due)
        if result == nil and err2 then return nil, errors.new(err2.code, err2.message) end
        return true
      end,
    }
  end
  local ok, err = jobs.check(out)
  if not ok then return nil, err end
  return out
end

generation.checks[#generation.checks + 1] = function(gen)
  local list, err = M.list(gen)
  for i, job in ipairs(list or {}) do
    if not job.rule:next(time.now() / 1000) then
      local text = ("the job '%s' never comes: there is no such day as its at says"):format(job.name)
      local warning = generation.fault_at(gen, "schedule.lua", ("jobs[%d].at"):format(i))
      warning.text = text
      gen.warnings[#gen.warnings + 1] = warning
    end
  end
  return not list and err.message or nil, "schedule"
end

function M.serve()
  policy.on_change(function(gen)
    task.spawn(function()
      zone.forget()
      local list, err = M.list(gen)
      if list then return jobs.replace(list) end
      log.error("schedule", "the jobs cannot be used", { error = tostring(err) })
    end)
  end)
  task.spawn(function()
    repeat
      local ok, why = pcall(function() jobs.run(assert(M.list(policy.live()))) end)
      if not ok then log.error("schedule", "the jobs were interrupted; they begin again soon", { error = tostring(why) }) end
    until ok or not task.sleep(AGAIN)
  end)
end

return M
