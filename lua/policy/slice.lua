-- Which users a staged set decides for while only a part of them is to have it. Pure.
--
--   slice.place(owner, hash) -> 0 <= place < 100, the same for ever; the set decides for him when place < percent
-- So whoever is in stays in while the percentage grows, and another set tries itself on others.

local crypto = require "crypto"

local M = {}

function M.place(owner, hash)
  local a, b, c, d = crypto.sha256(hash .. " " .. owner):byte(1, 4)
  return (((a * 256 + b) * 256 + c) * 256 + d) / 2 ^ 32 * 100
end

return M
