-- Fields of answers that many have, for the tables in openapi/schemas/.

local M = {}

local function with(f, name)
  local out = {}
  if type(f) == "string" then out[1], out.to = "ref", f end
  for k, v in pairs(type(f) == "table" and f or {}) do out[k] = v end
  out[name] = true
  return out
end

function M.maybe(f) return with(f, "maybe") end -- it may be absent
function M.null(f) return with(f, "null") end   -- null may stand there

function M.list(of, about) return { "list", of = of, about = about } end
function M.map(of, about) return { "map", of = of, about = about } end
function M.object(fields, about) return { "object", fields = fields, about = about } end
function M.word(...) return { "string", one_of = { ... } } end
function M.text(about) return { "string", about = about } end
function M.count(about) return { "integer", min = 0, about = about } end
function M.any(about) return { "any", about = about } end

M.flag = { "boolean" }
M.number = { "number" }
M.string = { "string" }
M.id = { "string", format = "uuid" }
M.time = { "string", format = "date-time" }
M.ms = { "integer", about = "Unix time in milliseconds" }
M.version = { "integer", min = 1, about = "Grows with each change: what `ETag` says, and If-Match takes" }
M.money = { "string", pattern = "^%-?%d+%.%d+$", about = "An exact decimal" }
M.micro = { "integer", about = "Micro-units of the currency" }

return M
