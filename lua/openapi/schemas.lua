-- The shared schemas of answers, by name.

local M = {}

for _, part in ipairs { "accounts", "agent", "machines", "money", "webhooks" } do
  for name, field in pairs(require("openapi.schemas." .. part)) do
    assert(not M[name], "two schemas are called " .. name)
    M[name] = field
  end
end

return M
