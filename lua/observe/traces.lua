-- Traces leave the server: what is recorded, by the settings, and the duty that sends it.
--
-- traces.open(settings, version)    [serve's] from here on spans are recorded, when there is somewhere to send them to; those
--                                   of a process that was killed are taken over
-- traces.serve()                    [a duty's] sends them, every few seconds or when there are many
-- traces.finish()                   [yields] sends what is left, some seconds at most; what stays is for the next process
--
-- Nobody waits for any of it. What cannot be sent is tried again some times and then dropped, like what finds no room
-- (host/observe/span.h); both are counted, and told in the log.

local crypto = require "crypto"
local fs = require "fs"
local log = require "log"
local otlp = require "observe.otlp"
local spans = require "observe.spans"
local task = require "task"
local time = require "time"
local trace = require "trace"
local workflow = require "workflow"

local M = {}

local MANY = 512                -- spans that are sent without waiting for more, and at most at once
local TRIES, LONGEST = 5, 30    -- of one sending; seconds between two, whatever we are asked for
local LAST = 5                  -- seconds at the end of the process
local TELL = 60000              -- ms between two lines about what was dropped, or refused

local every, send, posting, posted, finishing
local place -- where they are sent to, for the log
local told = { dropped = 0, at = 0, failing = false, refused = 0, refused_at = -TELL }

local RATIO = { always_on = 1, always_off = 0, parentbased_always_on = 1, parentbased_always_off = 0 }

local function sample(settings)
  local how = settings.OTEL_TRACES_SAMPLER
  trace.sampler(RATIO[how] or settings.OTEL_TRACES_SAMPLER_ARG, how:find("^parentbased") ~= nil)
end

-- What earlier processes have left in the folder.
local function adopt(folder, own)
  for _, name in ipairs(fs.list(folder) or {}) do
    local n, notes
    if name ~= own then n, notes = trace.adopt(folder .. "/" .. name) end
    local err = not n and notes or nil
    if n then spans.missed(notes) end
    if n and n > 0 then log.info("traces", "spans of a process that has ended are taken over", { spans = n }) end
    if err and err.code ~= "exists" then log.warn("traces", "spans are left", { file = name, error = tostring(err) }) end
  end
end

function M.open(settings, version)
  if not settings.OTEL_EXPORTER_OTLP_ENDPOINT then return end
  local folder = settings.DATA_DIR .. "/traces"
  local ok, err = fs.mkdir(folder, tonumber("700", 8))
  if ok then ok, err = trace.open(folder .. "/" .. workflow.me) end
  if not ok then return log.warn("traces", "none are recorded", { error = tostring(err) }) end
  sample(settings)
  spans.active = true
  adopt(folder, workflow.me)
  every = settings.OTEL_BSP_SCHEDULE_DELAY / 1000
  place = settings.OTEL_EXPORTER_OTLP_ENDPOINT:gsub("//[^/@]*@", "//"):match("^[^?#]*")
  send, posted = otlp.sender(settings, workflow.me, version), task.signal()
end

-- ---- sending

local function tell_dropped()
  local dropped = trace.stats().dropped
  if dropped == told.dropped or time.mono() - told.at < TELL then return end
  log.warn("traces", "spans were dropped", { spans = dropped - told.dropped })
  told.dropped, told.at = dropped, time.mono()
end

-- Of what it refuses, at once and then once a minute: a collector that wants none of them refuses some in each sending.
local function tell_refused(refused, why)
  told.refused = told.refused + refused
  if told.refused == 0 or time.mono() - told.refused_at < TELL then return end
  log.warn("traces", "the collector refused spans", { spans = told.refused, why = why })
  told.refused, told.refused_at = 0, time.mono()
end

-- A collector that fails is told of once, and once when it takes them again.
local function tell_failing(err)
  if err and not told.failing then log.warn("traces", "spans cannot be sent", { to = place, error = tostring(err) }) end
  if not err and told.failing then log.info("traces", "spans are sent again", {}) end
  told.failing = err ~= nil
end

-- -> true | nil, err
local function post(text, seconds)
  posting = true
  local ok, refused, why = send(text, seconds)
  posting = false
  posted:fire()
  if not ok then return nil, refused end
  trace.sent(refused)
  tell_refused(refused, why)
  tell_failing(nil)
  return true
end

local function pause_after(try, err)
  return math.min(LONGEST, math.max(2 ^ (try - 1) * (0.75 + crypto.random(1):byte() / 512), err.retry_after or 0))
end

-- -> true: it is over, one way or the other | nil: this process ends
local function deliver(text)
  for try = 1, TRIES do
    local ok, err = post(text, 60)
    if ok then return true end
    if finishing or err.code == "cancelled" then return nil end
    tell_failing(err)
    tell_dropped()
    if not err.retryable then break end
    if try < TRIES and (not task.sleep(pause_after(try, err)) or finishing) then return nil end
  end
  trace.lost()
  return true
end

local function run()
  while trace.wait(every, MANY) and not finishing do
    repeat
      local text, n = trace.take(MANY)
      if n > 0 and not deliver(text) then return end
      tell_dropped()
    until n < MANY or finishing
  end
end

-- Whether any are sent, and the last sending failed.
function M.state() return { on = send ~= nil, failing = told.failing or false } end

function M.serve()
  if send then task.duty(run) end
end

function M.finish()
  if not send then return end
  local ends = time.mono() + LAST * 1000
  local function left() return math.max(0.1, (ends - time.mono()) / 1000) end
  finishing = true -- the duty may be held (an upgrade): it is not waited for, but for what it sends just now
  if posting then posted:wait(left()) end
  local ok, err = true, nil
  while ok and time.mono() < ends do
    local text, n = trace.take(MANY)
    if n == 0 then break end
    ok, err = post(text, left())
  end
  if not ok and not err.retryable then trace.lost() end
  told.at, told.refused_at = -TELL, -TELL
  tell_dropped()
  tell_refused(0)
  trace.close()
end

return M
