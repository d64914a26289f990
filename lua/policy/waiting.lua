-- Runs policy code that waits: routes, schedules, steps of workflows. It lives in a fence like every policy; what it wants of
-- the world it asks of host functions, which suspend it, run here, and hand it plain data. So it has budgets between two
-- waits, sees what its kind declares and nothing else, and whatever it does to itself ends with its fence.
--
--   waiting.run(gen, file, field, host, ...) -> results... | nil, err    [yields]
--     field: as in "routes.1.handle"; host: {["instances.get"] = fn(...) -> value | nil, err}. What a host function raises
--     comes back to the policy as an error of code "invalid". err.code: "policy" (the code failed: err.message says where),
--     or what cancelled this task.

local errors = require "errors"
local log = require "log"

local M = {}

local function pack(...) return select("#", ...), { ... } end

-- One call of the host for the policy. An error value crosses as plain data.
local function answer(host, name, ...)
  local fn = host[name]
  if not fn then return 2, { nil, { code = "invalid", message = name .. ": not here" } } end
  local n, out = pack(xpcall(fn, debug.traceback, ...))
  if not out[1] then
    log.warn("policy", "a host function refused its arguments", { call = name, traceback = out[2] })
    return 2, { nil, { code = "invalid", message = name .. ": " .. tostring(out[2]):match("^[^\n]*") } }
  end
  return n - 1, { unpack(out, 2, n) }
end

local function failed(gen, field, err)
  log.error("policy", "a policy failed", { where = field, why = err.message, generation = gen.number })
  if gen.on_failure then gen.on_failure() end
  return errors.fail("policy", err.message)
end

function M.run(gen, file, field, host, ...)
  local fence = gen:borrow()
  local fn = fence:find("policies/" .. file, field)
  if not fn then
    gen:give_back(fence)
    return errors.fail("policy", ("%s: there is no function %s"):format(file, field))
  end
  local task, terr = fence:begin(fn)
  if not task then
    gen:give_back(fence)
    return failed(gen, field, terr)
  end
  local n, said = pack(fence:resume(task, ...))
  while said[1] == true do
    local m, result = answer(host, said[2], unpack(said, 3, n))
    local err = result[1] == nil and result[2]
    if err and err.code == "cancelled" then
      fence:finish(task)
      gen:give_back(fence)
      return nil, err
    end
    n, said = pack(fence:resume(task, unpack(result, 1, m)))
  end
  gen:give_back(fence)
  if said[1] == nil then return failed(gen, field, said[2]) end
  return unpack(said, 2, n)
end

return M
