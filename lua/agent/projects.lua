-- Projects are folders that have a .git; a new one is cloned.

local errors = require "errors"
local files = require "files"
local json = require "json"
local machine = require "machine"
local paths = require "agent.paths"
local process = require "process"
local sys = require "sys"
local time = require "time"

local LEVELS, MOST = 3, 1000
local CONFIG_MAX = 65536
local AT_ONCE = 8
local cloning = 0

-- As it may be shown: without the name and password that one can write into it.
local function shown(url) return json.text((url:gsub("^(https?://)[^/@]*@", "%1"))) end

-- The URL of the remote "origin", else of the first one.
local function remote_of(config)
  local first, remote
  for line in config:gmatch("[^\r\n]+") do
    local section = line:match("^%s*%[(.-)%]")
    if section then remote = section:match('^remote%s+"(.*)"$') end
    local url = remote and line:match("^%s*url%s*=%s*(.-)%s*$")
    if url and remote == "origin" then return url end
    first = first or url
  end
  return first
end

local function project(path)
  local f = files.open(path .. "/.git/config")
  local config = f and f.type == "file" and f:read(0, CONFIG_MAX) or ""
  if f then f:close() end
  local url = remote_of(config)
  return { name = json.text(path:match("[^/]*$")), path = paths.full(path), remoteUrl = url and shown(url) or json.null }
end

local function list()
  local found, err = files.repositories("", LEVELS, MOST)
  if not found then return nil, err end
  local out = json.array()
  for i, path in ipairs(found) do out[i] = project(path) end
  return 200, out
end

-- ---------------------------------------------------------------- clone

local function plain(text, most) return type(text) == "string" and #text <= most and not text:find("[%z\1-\32\127]") end

-- Of these and no other kind: git knows ones that run programs.
local function url_ok(url)
  if not plain(url, 2048) then return false end
  return url:find("^https?://[^/-]") or url:find("^ssh://[^/-]") or url:find("^git@[^:/-][^:/]*:.")
end

-- What it asks for, or nil, err
local function read_wish(req)
  local text, err = req:body(65536)
  if not text then return nil, err end
  local w = json.decode(text)
  if type(w) ~= "table" or json.is_array(w) then return errors.fail("invalid", "an object expected") end
  for name in pairs(w) do
    if name ~= "url" and name ~= "branch" and name ~= "name" then
      return errors.fail("invalid", "unknown field " .. json.text(name))
    end
    if w[name] == json.null then w[name] = nil end
  end
  if not url_ok(w.url) then return errors.fail("invalid", "url: http(s)://, ssh:// or git@host:path expected") end
  if w.branch ~= nil and (not plain(w.branch, 255) or w.branch == "" or w.branch:sub(1, 1) == "-") then
    return errors.fail("invalid", "branch: a branch's name expected")
  end
  local name = w.name
  if name == nil then name = w.url:gsub("[/?#]+$", ""):gsub("%.git$", ""):match("[^/:]*$") end
  if not plain(name, 200) or name == "" or name:find("/", 1, true) or name:find("^[.-]") then
    return errors.fail("invalid", "name: a folder's name expected, that begins with neither \".\" nor \"-\"")
  end
  return { url = w.url, branch = w.branch, name = name }
end

local function environment()
  local env = sys.environ()
  env.GIT_TERMINAL_PROMPT = "0"
  env.GIT_ALLOW_PROTOCOL = "http:https:ssh" -- also where a server sends it elsewhere
  env.GIT_SSH_COMMAND = env.GIT_SSH_COMMAND or "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new"
  env.LC_ALL = "C"
  env.GIT_DIR, env.GIT_WORK_TREE = nil, nil
  return env
end

-- The folder is made by us, and git works in it wherever its name is led meanwhile.
local function start(folder, wish)
  local argv = { "git", "clone", "--progress" }
  if wish.branch then argv[#argv + 1] = "--branch=" .. wish.branch end
  for _, word in ipairs { "--", wish.url, "." } do argv[#argv + 1] = word end
  argv.dir, argv.env, argv.stderr, argv.returns = folder.place, environment(), "out", true
  local p, err = process.spawn(argv)
  if p then return p end
  if err.code ~= "not_found" then return nil, err end
  return errors.fail("unsupported", "git is not installed on this machine", { status = 501 })
end

-- What git says last, when ssh has said it better: that the key is not known there, or the host.
local REMOTE = "Could not read from remote repository"

-- Until git has ended. `say(phase, percent)` -> false when nobody wants to know any more. true | nil, err
local function follow(p, req, say)
  local ends, last, before = time.mono() + machine.clone_seconds * 1000, "git clone failed", nil
  while true do
    local line, err = p:line(1)
    if time.mono() >= ends then return errors.fail("timeout", ("not done within %d s"):format(machine.clone_seconds)) end
    if req:gone() then return errors.fail("cancelled", "the client has gone") end
    if line then
      local phase, percent = line:match("^r?e?m?o?t?e?:? ?([%a ]+):%s+(%d+)%%")
      if phase and not say(phase, tonumber(percent)) then return errors.fail("cancelled", "the client has gone") end
      local said = line:match("^fatal: (.+)") or line:match("^error: (.+)")
      if said and before and said:find(REMOTE, 1, true) then said = before .. ". " .. said end
      if not said and not phase and line:find("%S") and not line:find("^Cloning into") then before = line:gsub("[%s.]+$", "") end
      last = said or last
    elseif err.code == "closed" then
      break
    end
  end
  local exit = p:wait(10)
  if exit == 0 then return true end
  return errors.fail("failed", shown(last:gsub("(https?://)[^/@%s]*@", "%1"):sub(1, 300)))
end

local function clone(req, wish, say)
  local made, err = files.mkdir(wish.name)
  if made == nil then return nil, err end
  if not made then return errors.fail("exists", "a folder of that name exists already") end
  local folder, p, ok
  folder, err = files.open(wish.name)
  if folder then p, err = start(folder, wish) end
  if p then
    ok, err = follow(p, req, say)
    p:kill()
    p:wait(10)
  end
  if folder then folder:close() end
  if ok then return project(wish.name) end
  files.remove(wish.name, true)
  return nil, err
end

-- Lines of JSON: {"phase":..., "percent":N} as it goes on, then {"project":{...}} or {"error":..., "code":...}.
local function clone_streamed(req, wish)
  local begun = false
  local function line(value)
    if not begun then
      begun = true
      req:start(200, { ["content-type"] = "application/x-ndjson", ["cache-control"] = "no-store" })
    end
    return req:write(json.encode(value) .. "\n")
  end
  local seen
  local done, err = clone(req, wish, function(phase, percent)
    local now = phase .. percent
    if now == seen then return true end
    seen = now
    return line { phase = phase, percent = percent }
  end)
  if not done and not begun then return nil, err end
  line(done and { project = done } or { error = err.message, code = err.code })
  req:finish()
end

local function clone_whole(req, wish)
  local done, err = clone(req, wish, function() return true end)
  if not done then return nil, err end
  return 201, done
end

local function post_clone(req)
  local wish, err = read_wish(req)
  if not wish then return nil, err end
  if cloning >= AT_ONCE then return errors.fail("too_many", "too many clones at once") end
  cloning = cloning + 1
  local streamed = (req:header("accept") or ""):find("application/x-ndjson", 1, true)
  local ok, status, body, headers = pcall(streamed and clone_streamed or clone_whole, req, wish)
  cloning = cloning - 1
  if not ok then error(status, 0) end
  return status, body, headers
end

return function(add)
  add("GET", "/projects", list)
  add("POST", "/projects/clone", post_clone)
end
