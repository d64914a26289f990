-- The escape of a terminal client, as ssh has it: "~." at the beginning of a line leaves, "~~" there is one "~".
--
--   local typed = escape.new()
--   bytes, leave = typed(bytes)   what is to be sent of them; true when the rest was typed behind "~."

local M = {}

function M.new()
  local at_start, held = true, false -- a "~" at the beginning waits for what follows
  return function(bytes)
    local out = {}
    for c in bytes:gmatch(".") do
      if held and c == "." then return table.concat(out), true end
      if held then
        held = false
        out[#out + 1] = c == "~" and "~" or "~" .. c
        at_start = c == "\r" or c == "\n"
      elseif at_start and c == "~" then
        held = true
      else
        out[#out + 1] = c
        at_start = c == "\r" or c == "\n"
      end
    end
    return table.concat(out), false
  end
end

return M
