-- /levels: how much each module writes into the log of this process, from now until it ends. An admin's.

local app = require "app"
local errors = require "errors"
local json = require "json"
local logging = require "observe.logging"

local function told()
  local levels = logging.levels()
  if next(levels.modules) == nil then levels.modules = {} end
  return levels
end

-- What a module's level is to be; null: none of its own.
local function modules_of(map)
  local out, known = {}, {}
  for _, word in ipairs(logging.words) do known[word] = true end
  for name, level in pairs(map or {}) do
    if not name:match(logging.module_pattern) or #name > 31 then
      return errors.fail("invalid", ("modules: names of small letters and _ expected, not '%s'"):format(name:sub(1, 40)),
        { field = "modules" })
    end
    if level ~= json.null and not known[level] then
      local field, words = "modules." .. name, table.concat(logging.words, ", ")
      return errors.fail("invalid", ("%s: one of %s expected, or null"):format(field, words), { field = field })
    end
    out[name] = level ~= json.null and level
  end
  return out
end

app.get("/levels", {
  scope = "operator", admin = true, does = "How much each module writes into the log", gives = { [200] = "Levels" },
}, function() return 200, told() end)

app.patch("/levels", {
  scope = "operator", admin = true, does = "Changes that, until this process ends", gives = { [200] = "Levels" },
  more = "`modules`: by name `debug`, `info`, `warn` or `error`, or null: none of its own.", example = { level = "info" },
  body = { level = { "string", one_of = { "debug", "info", "warn", "error" } }, modules = { "map", of = { "any" } } },
}, function(req)
  local modules, err = modules_of(req.body.modules)
  if not modules then return nil, err end
  local ok
  ok, err = logging.change(req.body.level, modules, req.actor.email or "operator")
  if not ok then return nil, err end
  return 200, told()
end)
