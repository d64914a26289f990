-- Error values and what HTTP makes of them. The codes are part of the interface.

local task = require "task"

local M = {}

M.status = {
  invalid = 400, unauthorized = 401, denied = 403, not_found = 404, exists = 409, conflict = 409, state = 409,
  precondition = 412, limit = 413, too_many = 429, cancelled = 503, internal = 500, unsupported = 400,
  unavailable = 503, failed = 502, key_reused = 422, quota = 429, payment = 402,
  timeout = 504, io = 503, full = 507, corrupt = 500,
}

-- errors.new(code, message [, fields]) -> err
function M.new(code, message, fields)
  local e = { code = code, message = message, retryable = false }
  for k, v in pairs(fields or {}) do e[k] = v end
  return task.error(e)
end

-- For functions that end with it: return errors.fail("not_found", "...")
function M.fail(code, message, fields) return nil, M.new(code, message, fields) end

return M
