-- Routes by method and path. A pattern's {name} stands for one segment.
--
-- A route whose options have `when` is there as long as that says so.
--
-- router.new() -> r;  r:add("GET", "/instances/{id}", options, handler)
-- r:find(method, path) -> route, values (in the order of the pattern)
--                       | nil, list of the methods that the path has (nil when there is no such path)

local M = {}
M.__index = M

local ANY, METHODS = "/*", "/methods" -- beside segments, which have no "/"

function M.new() return setmetatable({ root = {}, all = {} }, M) end

local function segments(path)
  local out = {}
  for s in path:gmatch("[^/]+") do out[#out + 1] = s end
  return out
end

function M:add(method, pattern, options, handler)
  local node, names = self.root, {}
  for _, s in ipairs(segments(pattern)) do
    local name = s:match("^{(%w+)}$")
    local key = name and ANY or s
    if name then names[#names + 1] = name end
    node[key] = node[key] or {}
    node = node[key]
  end
  local route_name = method .. " " .. pattern
  assert(options.open or options.scope, "a route must say what it needs (open, scope): " .. route_name)
  local for_anything = options.open or options.own and options.admin
  assert(not names[1] or options.object or for_anything, "a route must say which object its {id} is: " .. route_name)
  node[METHODS] = node[METHODS] or {}
  assert(not node[METHODS][method], "a second route for " .. method .. " " .. pattern)
  local route = { method = method, pattern = pattern, options = options, handler = handler, names = names }
  node[METHODS][method] = route
  self.all[#self.all + 1] = route
end

local function is_there(route)
  local when = route.options.when
  return not when or when()
end

-- Walks without making a table: at most two values, no pattern has more.
function M:find(method, path)
  local node, first, second = self.root, nil, nil
  local at, len = 1, #path
  while at <= len do
    local stop = path:find("/", at + 1, true) or len + 1
    local s = path:sub(at + 1, stop - 1)
    if s == "" then
      if stop <= len or at == 1 and len > 1 then return nil end -- "//"; a last "/" is ignored
    else
      local next_node = node[s]
      if not next_node then
        next_node = node[ANY]
        if not next_node then return nil end
        if first then second = s else first = s end
      end
      node = next_node
    end
    at = stop
  end
  local methods = node[METHODS]
  if not methods then return nil end
  local route = methods[method] or (method == "HEAD" and methods.GET)
  if route and is_there(route) then return route, first, second end
  local allowed = {}
  for m, other in pairs(methods) do
    if is_there(other) then allowed[#allowed + 1] = m end
  end
  table.sort(allowed)
  return nil, allowed[1] and allowed or nil
end

return M
