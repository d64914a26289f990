-- What a policy file may use: the names that the fence gives it (host/script/fence_lib.c), as the linter wants them.
--
-- allowed.of(kind) -> {globals = {...}, effects =}; kind as in policy/kinds.lua, nil for tests and libraries

local M = {}

local functions = "assert clock day duration error ipairs pairs select tonumber tostring type unpack use"
local members = {
  bit = "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
  json = "list null",
  math = "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi pow rad sin "
    .. "sinh sqrt tan tanh",
  string = "byte char find format gmatch gsub len lower match rep reverse sub upper",
  table = "concat insert remove sort maxn",
}

local function add(list, prefix, names)
  for name in names:gmatch("%S+") do list[#list + 1] = prefix .. name end
end

M.decision = {}
add(M.decision, "", functions)
for library, names in pairs(members) do add(M.decision, library .. ".", names) end
table.sort(M.decision)

function M.of(kind)
  local host = kind and kind.host
  if not host then return { globals = M.decision, effects = false } end
  local globals = { unpack(M.decision) }
  for _, name in ipairs(host) do globals[#globals + 1] = name end
  return { globals = globals, effects = true }
end

return M
