-- The tables of docs/api.md: every route, by group, from what routes say of themselves.
--
--   markdown.text() -> the part of that document between its two marks

local names = require "openapi.names"
local routes = require "openapi.routes"
local sorted_keys = require "sorted_keys"

local M = {}

local function cell(text) return (text:gsub("|", "\\|")) end

-- "{cmd, timeout}": what a body may have.
local function body_of(d)
  local spec = d.body or d.route.options.fields
  if not spec or not next(spec) then return "" end
  return (" `{%s}`"):format(table.concat(sorted_keys(spec), ", "))
end

local function address(d)
  local list = {}
  for i, p in ipairs(d.query) do list[i] = p.name .. "=" end
  return d.path .. (list[1] and "?" .. table.concat(list, "&") or "")
end

local function needs(o)
  local words = {}
  if o.open then words[1] = "open" end
  if o.scope then words[#words + 1] = "`" .. o.scope .. "`" end
  for _, name in ipairs { "admin", "user", "session" } do
    if o[name] then words[#words + 1] = name end
  end
  return table.concat(words, ", ")
end

local function answers(d)
  local good = sorted_keys(d.gives)
  for i, status in ipairs(good) do good[i] = ("%d"):format(status) end
  local own = {}
  for _, status in ipairs(d.route.options.fails or {}) do own[#own + 1] = ("%d"):format(status) end
  return table.concat(good, ", ") .. (own[1] and "; " .. table.concat(own, ", ") or "")
end

local function row(d)
  local about = d.does .. (d.more and ". " .. d.more or "")
  return ("| `%s %s`%s | %s | %s | %s |"):format(d.method, cell(address(d)), body_of(d), cell(about), needs(d.route.options),
    answers(d))
end

-- Routes that differ in their method alone, and not in what is said of them, are one line.
local function same(a, b)
  return a and a.path == b.path and a.does == b.does and a.more == b.more
end

function M.text()
  local groups, keys = {}, {}
  for _, d in ipairs(routes.all()) do
    local list = groups[d.group]
    if not list then
      list = {}
      groups[d.group], keys[#keys + 1] = list, d.group
    end
    local last = list[#list]
    if same(last, d) then
      last.methods = last.methods .. ", " .. d.method
    else
      d.methods = d.method
      list[#list + 1] = d
    end
  end
  table.sort(keys, function(a, b) return names.groups[a][1] < names.groups[b][1] end)
  local out = {}
  for _, key in ipairs(keys) do
    local title, about = unpack(names.groups[key])
    out[#out + 1] = ("### %s\n\n%s\n\n| route | does | needs | answers |\n|---|---|---|---|"):format(title, about)
    for _, d in ipairs(groups[key]) do
      d.method = d.methods
      out[#out + 1] = row(d)
    end
    out[#out + 1] = ""
  end
  return table.concat(out, "\n")
end

return M
