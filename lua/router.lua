-- Routes by method and path. A pattern's {name} stands for one segment; "*" at its end for all that follows, also nothing but
-- a "/", or segments that are empty. What is there without it counts more.
--
-- A route whose options have `when` is there as long as that says so.
--
-- router.new() -> r;  r:add("GET", "/instances/{id}", options, handler)
-- r:find(method, path) -> route, values (in the order of the pattern)
--                       | nil, list of the methods that the path has (nil when there is no such path)

local M = {}
M.__index = M

local ANY, METHODS, REST = "/any", "/methods", "/rest" -- beside segments, which have no "/"

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
    if s == "*" then key = REST end
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

local function route_of(node, method)
  local methods = node and node[METHODS]
  local route = methods and (methods[method] or (method == "HEAD" and methods.GET))
  return route and is_there(route) and route or nil
end

local function methods_of(node)
  local allowed = {}
  for m, other in pairs(node and node[METHODS] or {}) do
    if is_there(other) then allowed[#allowed + 1] = m end
  end
  table.sort(allowed)
  return allowed[1] and allowed or nil
end

-- Walks without making a table: at most two values, no pattern has more.
function M:find(method, path)
  local node, first, second = self.root, nil, nil
  local rest, rest_first, rest_second -- the last node on the way that takes whatever follows
  local at, len = 1, #path
  while node and at <= len do
    local stop = path:find("/", at + 1, true) or len + 1
    local s = path:sub(at + 1, stop - 1)
    if node[REST] then rest, rest_first, rest_second = node[REST], first, second end
    if s == "" then
      if stop <= len or at == 1 and len > 1 then node = nil end -- "//"; a last "/" is ignored
    else
      local next_node = node[s]
      if not next_node then
        next_node = node[ANY]
        if next_node and first then second = s elseif next_node then first = s end
      end
      node = next_node
    end
    at = stop
  end
  local route = route_of(node, method)
  if route and not (rest and path:sub(-1) == "/" and rest == node[REST]) then return route, first, second end
  route = route_of(rest, method)
  if route then return route, rest_first, rest_second end
  return nil, methods_of(node) or methods_of(rest)
end

return M
