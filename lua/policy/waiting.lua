-- Runs policy code that waits: routes, schedules, steps of workflows. It lives in a fence like every policy; what it wants of
-- the world it asks of host functions, which suspend it, run here, and hand it plain data. So it has budgets between two
-- waits, sees what its kind declares and nothing else, and whatever it does to itself ends with its fence.
--
--   waiting.run(gen, file, field, host, ...) -> results... | nil, err    [yields]
--     field: as in "routes.1.handle"; host: {["instances.get"] = fn(...) -> value | nil, err}. What a host function raises
--     comes back to the policy as an error of code "invalid". err: a table whose code and message are texts. err.code: "policy"
--     (the code failed: err.message says where), what the policy says, or what cancelled this task.
-- Others run between two of its calls as soon as it has had 2 ms, and it ends after M.seconds (a job's and a step's own
-- deadline cancels it before) or M.calls calls of the host.

local errors = require "errors"
local log = require "log"
local sys = require "sys"
local task = require "task"
local time = require "time"

local M = { seconds = 3600, calls = 100000 }

local SLICE_MS = 2

local function pack(...) return select("#", ...), { ... } end

-- One call of the host for the policy. An error value crosses as plain data.
local function answer(host, name, ...)
  local fn = host[name]
  if not fn then return 2, { nil, { code = "invalid", message = name .. ": not here" } } end
  local n, out = pack(xpcall(fn, debug.traceback, ...))
  if not out[1] then
    log.warn("policy", "a host function refused its arguments", { call = name, traceback = out[2] })
    return 2, { nil, { code = "invalid", message = name .. ": it cannot be asked so; the log says why" } }
  end
  return n - 1, { unpack(out, 2, n) }
end

local function failed(gen, file, field, message)
  local path = "policies/" .. file
  if message:sub(1, #path) ~= path then message = path .. ": " .. message end
  log.error("policy", "a policy failed", { where = field, why = message, generation = gen.number })
  if gen.on_failure then gen.on_failure() end
  return errors.fail("policy", message)
end

-- Why this cannot be the error that a policy gives back, or nil.
local function error_fault(err)
  if type(err) == "string" then return "it gives back nil and, in place of an error {code =, message =}: " .. err:sub(1, 500) end
  if type(err) ~= "table" then return "it gives back nil, and behind it no error {code =, message =}" end
  if type(err.code) ~= "string" or not err.code:match("^[%l_]+$") then return "its error has no code of small letters" end
  if type(err.message) ~= "string" then return "its error '" .. err.code .. "' has no message that is a text" end
end

-- Between two calls: lets others run, and ends what goes on for ever. -> true | nil, err
local function go_on(limit)
  limit.calls = limit.calls + 1
  if limit.calls > M.calls then return errors.fail("policy", ("more than %d calls of the host"):format(M.calls)) end
  if time.mono() > limit.ends then return errors.fail("policy", ("it takes longer than %d s"):format(M.seconds)) end
  if sys.cpu_ms() - limit.begun < SLICE_MS then return true end
  local ok, err = task.sleep(0)
  limit.begun = sys.cpu_ms()
  return ok, err
end

function M.run(gen, file, field, host, ...)
  local fence = gen:borrow()
  local fn = fence:find("policies/" .. file, field)
  if not fn then
    gen:give_back(fence)
    return errors.fail("policy", ("%s: there is no function %s"):format(file, field))
  end
  local thread, terr = fence:begin(fn)
  if not thread then
    gen:give_back(fence)
    return failed(gen, file, field, terr.message)
  end
  local limit = { calls = 0, begun = sys.cpu_ms(), ends = time.mono() + M.seconds * 1000 }
  local n, said = pack(fence:resume(thread, ...))
  while said[1] == true do
    local m, result = answer(host, said[2], unpack(said, 3, n))
    local err = result[1] == nil and result[2]
    if not (err and err.code == "cancelled") then
      local ok, why = go_on(limit)
      err = not ok and why
    end
    if err then
      fence:finish(thread)
      gen:give_back(fence)
      if err.code == "policy" then return failed(gen, file, field, err.message) end
      return nil, err
    end
    n, said = pack(fence:resume(thread, unpack(result, 1, m)))
  end
  gen:give_back(fence)
  if said[1] == nil then return failed(gen, file, field, said[2].message) end
  if said[2] == nil and said[3] ~= nil then
    local fault = error_fault(said[3])
    if fault then return failed(gen, file, field, fault) end
    return nil, task.error(said[3]) -- it came as plain data, and is said as every other
  end
  return unpack(said, 2, n)
end

return M
