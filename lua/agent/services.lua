-- The services of a machine: named programs that the agent keeps running (agent/supervise.lua says how), as two files name them:
--   /etc/cchost/services.json               the image's, or the operator's
--   ~/.config/cchost/services.json          the user's; one of a name that the first has takes its place
-- {"services": [{"name": "web", "command": ["npm", "run", "dev"], "cwd": "/claude-data/app", "env": {"PORT": "3000"},
--   "restart": "always" or "on-failure", "grace": seconds}, ...]}: name and command are wanted. They start in that order, and end
-- in the opposite one. The files are read when the agent starts, and when it is asked to (POST /services). One with a fault
-- changes nothing: what it said before goes on.

local claude = require "agent.claude"
local errors = require "errors"
local fs = require "fs"
local json = require "json"
local log = require "log"
local service = require "service"
local supervise = require "agent.supervise"
local sys = require "sys"
local task = require "task"
local time = require "time"

local MOST, FILE_MAX, GRACE = 64, 262144, 5
local places = { sys.env "CCHOST_SERVICES" or "/etc/cchost/services.json", claude.home .. "/.config/cchost/services.json" }

-- ---- the files

local function texts(list)
  if type(list) ~= "table" or not json.is_array(list) or #list == 0 or #list > 200 then return false end
  for _, word in ipairs(list) do
    if type(word) ~= "string" or word:find "%z" then return false end
  end
  return list[1] ~= ""
end

local function environment(env)
  if type(env) ~= "table" or json.is_array(env) and #env > 0 then return false end
  local n = 0
  for name, value in pairs(env) do
    n = n + 1
    if not name:match "^[%a_][%w_]*$" or type(value) ~= "string" or value:find "%z" then return false end
  end
  return n <= 100
end

local known = { name = true, command = true, cwd = true, env = true, restart = true, grace = true }

-- What is wrong with one, or nil.
local function wrong(s)
  if type(s) ~= "table" or s == json.null then return "an object expected" end
  for key in pairs(s) do
    if not known[key] then return ("'%s' is not known here"):format(tostring(key)) end
  end
  local name = s.name
  if type(name) ~= "string" or #name > 64 or not name:match "^[%w_][%w._-]*$" then
    return "name: 1 to 64 letters, digits, '.', '_' or '-' expected, no '.' or '-' first"
  end
  if not texts(s.command) then return name .. ": command: a list of 1 to 200 texts expected" end
  if s.cwd ~= nil and (type(s.cwd) ~= "string" or s.cwd:sub(1, 1) ~= "/" or s.cwd:find "%z") then
    return name .. ": cwd: an absolute path expected"
  end
  if s.env ~= nil and not environment(s.env) then return name .. ": env: at most 100 names with texts expected" end
  if s.restart ~= nil and s.restart ~= "always" and s.restart ~= "on-failure" then
    return name .. ": restart: always or on-failure expected"
  end
  if s.grace ~= nil and not (type(s.grace) == "number" and s.grace >= 0 and s.grace <= 60) then
    return name .. ": grace: 0 to 60 seconds expected"
  end
end

-- -> specs | nil, sentence
local function parse(text)
  local doc = json.decode(text)
  local list = type(doc) == "table" and doc ~= json.null and doc.services
  if type(list) ~= "table" or not json.is_array(list) then return nil, '{"services": [...]} expected' end
  if #list > MOST then return nil, ("at most %d services expected"):format(MOST) end
  local out, seen = {}, {}
  for i, s in ipairs(list) do
    local why = wrong(s)
    if not why and seen[s.name] then why = s.name .. " is there twice" end
    if why then return nil, ("services[%d]: %s"):format(i - 1, why) end
    seen[s.name] = true
    out[i] = { name = s.name, command = s.command, cwd = s.cwd or claude.home, env = s.env or {},
      restart = s.restart or "always", grace = s.grace or GRACE }
  end
  return out
end

local lists, faults = { {}, {} }, {} -- what each file said last, without a fault

-- Files that are not there name nothing. [yields]
local function read()
  for i, path in ipairs(places) do
    local info, err = fs.stat(path, true)
    local text, specs
    faults[i] = nil
    if info then text, err = fs.read(path, FILE_MAX) end
    if text then
      specs, err = parse(text)
    elseif err.code == "not_found" then
      specs = {}
    end
    if specs then
      lists[i] = specs
    else
      faults[i] = ("%s: %s"):format(path, type(err) == "table" and err.message or err)
      log.warn("services", "a list of services has a fault; what it said before goes on", { fault = faults[i] })
    end
  end
end

local function all()
  local out, at = {}, {}
  for _, list in ipairs(lists) do
    for _, spec in ipairs(list) do
      if not at[spec.name] then at[spec.name] = #out + 1 end
      out[at[spec.name]] = spec
    end
  end
  return out
end

-- ---- what the supervisor decides, done

local supervisor
local minute -- calls off the look at whether those that crashed are healthy again

local function tell_failing()
  local names = supervisor:failing()
  service.failing(names)
  if minute then minute() end
  minute = nil
  return #names > 0
end

local function after(ms, fn)
  local off = false
  local t = task.spawn(function()
    if task.sleep(ms / 1000) and not off then fn() end
  end)
  return function()
    off = true
    t:cancel "called off"
  end
end

local function look()
  if tell_failing() then minute = after(5000, look) end
end

supervisor = supervise.new {
  now = time.mono,
  after = function(ms, fn)
    return after(ms, function()
      fn()
      look()
    end)
  end,
  start = service.start,
  kill = service.kill,
}

local function listen()
  while true do
    local name, exit = service.ended()
    if not name then return end
    supervisor:ended(name, exit)
    local e
    for _, one in ipairs(supervisor:list()) do if one.name == name then e = one end end
    if e and e.state == "waiting" then
      log.warn("services", "a service has ended, and begins again", { service = name, exit = exit, ms = e.again - time.mono() })
    end
    look()
  end
end

-- The agent is asked to end: they do first.
local ending = false
local function on_term()
  if ending then return end
  ending = true
  supervisor:shutdown(function()
    sys.signal("TERM", nil)
    sys.kill(sys.pid(), "TERM")
  end)
end

local function apply()
  local specs = all()
  if #specs > 0 then sys.signal("TERM", on_term) end
  if not ending then supervisor:set(specs) end
  look()
end

-- ---- what is asked

local function pids()
  local out = {}
  for _, one in ipairs(service.alive()) do out[one.name] = one.pid end
  return out
end

local function when(mono) return mono and time.rfc3339(time.now() - (time.mono() - mono)) or nil end

local function told()
  local out, pid = json.array {}, pids()
  for i, e in ipairs(supervisor:list()) do
    out[i] = { name = e.name, state = e.state, since = when(e.since), restarts = e.restarts, exit = e.exit or json.null,
      pid = pid[e.name] or json.null, again = when(e.again) or json.null, error = e.error or json.null, failing = e.failing }
  end
  local why = json.array {}
  for i = 1, #places do why[#why + 1] = faults[i] end
  return 200, { services = out, faults = why }
end

local function reload()
  read()
  apply()
  return told()
end

local function known_name(name)
  for _, e in ipairs(supervisor:list()) do if e.name == name then return true end end
  return errors.fail("not_found", "there is no such service")
end

local function restart(_, name)
  local ok, err = known_name(name)
  if not ok then return nil, err end
  if not supervisor:restart(name) then return errors.fail("state", "it is on its way out") end
  look()
  return told()
end

local function said(_, name)
  local ok, err = known_name(name)
  if not ok then return nil, err end
  return 200, service.log(name), { ["content-type"] = "text/plain; charset=utf-8", ["x-content-type-options"] = "nosniff" }
end

local M = {}

-- For an agent that takes this one's place (agent/update.lua).
function M.save() return { supervisor = supervisor:save(), lists = lists } end

-- `saved`: what another agent's save() said, or nil. [yields]
function M.begin(saved)
  task.spawn(listen)
  if saved then
    lists = saved.lists
    supervisor:restore(all(), saved.supervisor, pids())
    read()
    return apply()
  end
  read()
  apply()
end

function M.routes(add)
  add("GET", "/services", told)
  add("POST", "/services", reload)
  add("POST", "/services/{name}/restart", restart)
  add("GET", "/services/{name}/log", said)
end

return M
