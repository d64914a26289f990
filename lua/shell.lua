-- Text in shell scripts.
--
--   shell.quote(text) -> text as one word that no shell looks into, whatever is in it. Raises on a NUL, which none can hold.
--   shell.script{lines...} -> a POSIX script that does nothing unless all of it has come
--   shell.failure(message) -> one that says so on stderr and exits 1

local M = {}

function M.quote(text)
  text = tostring(text)
  assert(not text:find("\0", 1, true), "a shell's word cannot hold a NUL")
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

function M.script(lines)
  return "#!/bin/sh\nmain() {\n    " .. table.concat(lines, "\n    ") .. "\n}\nmain\n"
end

function M.failure(message) return M.script { "printf '%s\\n' " .. M.quote(message) .. " >&2", "exit 1" } end

return M
