-- Claude Code on this machine: where it is, as whom it is signed in, and what is put into its settings.
--
--   claude.find() -> path | nil                    [yields]
--   claude.environment() -> {NAME = value}         [yields] what it is run with
--   claude.mode() -> its permission mode
--   claude.status() -> {status = "authenticated"|"needs_auth"|"checking", url = null, reason = sentence or null} [yields]
--   claude.begin() -> a text, or nil               [yields] before a turn: another one when the credentials are others. A secret
--   claude.told(works)                             what the turn has shown of the credentials: that they are good, or not
--   claude.settle()                                [yields] its settings, once when the agent starts
--
-- Environment (of the machine: `env` of POST /instances): CLAUDE_PERMISSION_MODE, else bypassPermissions: the machine is the
-- fence, and nobody sits at a chat who could be asked. CLAUDE_SETTINGS=leave: its settings are the user's alone.

local fs = require "fs"
local json = require "json"
local log = require "log"
local pretty = require "agent.pretty"
local sys = require "sys"
local time = require "time"

local M = {}

M.home = sys.env "HOME" or "/home/claude"

local modes = { default = true, acceptEdits = true, plan = true, bypassPermissions = true, dontAsk = true, auto = true }

local absent = "Claude Code is not on this machine. Get it with: npm install -g --prefix ~/.local @anthropic-ai/claude-code"
local not_signed_in = "Claude is not signed in: set an Anthropic API key or a Claude token in the settings of your account, "
  .. "or run `claude` in a terminal of this machine and sign in there"
M.absent, M.not_signed_in = absent, not_signed_in

function M.mode()
  local mode = sys.env "CLAUDE_PERMISSION_MODE"
  return mode and modes[mode] and mode or "bypassPermissions"
end

local function is_file(path)
  local info = fs.stat(path, true)
  return info ~= nil and info.type == "file"
end

function M.find()
  local path = (sys.env "PATH" or "") .. ":" .. M.home .. "/.local/bin:" .. M.home .. "/.claude/local:/usr/local/bin"
  for dir in path:gmatch "[^:]+" do
    if is_file(dir .. "/claude") then return dir .. "/claude" end
  end
end

-- ---- who it is signed in as

-- The object in a file, or nil.
local function read(path)
  local text = is_file(path) and fs.read(path, 4 * 1048576)
  local value = text and json.decode(text)
  return type(value) == "table" and value ~= json.null and not json.is_array(value) and value or nil
end

local function set(v) return type(v) == "string" and v ~= "" and not v:find "%z" end

-- One that runs inside another refuses to begin; ours is nobody's inner one, whatever started the agent. What the owner has
-- given to his machines (host/agent/claude.c) is looked at each time: it changes while we run.
function M.environment()
  local env = sys.environ()
  env.CLAUDECODE, env.HOME = nil, M.home
  local owners = read(M.home .. "/.config/cchost/claude.json") or {}
  if set(owners.claude_oauth_token) then
    if not set(env.CLAUDE_CODE_OAUTH_TOKEN) then env.CLAUDE_CODE_OAUTH_TOKEN = owners.claude_oauth_token end
  elseif set(owners.anthropic_api_key) and not set(env.ANTHROPIC_API_KEY) then
    env.ANTHROPIC_API_KEY = owners.anthropic_api_key
  end
  return env
end

local variables = {
  "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX",
}

local function of_variables(env)
  for _, name in ipairs(variables) do
    if set(env[name]) then return name .. "=" .. env[name] end
  end
end

local function of_settings()
  local settings = read(M.home .. "/.claude/settings.json")
  if not settings then return nil end
  if set(settings.apiKeyHelper) then return "helper:" .. settings.apiKeyHelper end
  if type(settings.env) == "table" and settings.env ~= json.null then return of_variables(settings.env) end
end

-- What signs in by /login has an end, and a second token that makes a new one.
local function of_file(now)
  local path = M.home .. "/.claude/.credentials.json"
  local file = read(path)
  local oauth = file and file.claudeAiOauth
  if type(oauth) ~= "table" or oauth == json.null or not set(oauth.accessToken) then return nil end
  if not set(oauth.refreshToken) and type(oauth.expiresAt) == "number" and oauth.expiresAt <= now then return nil end
  local info = fs.stat(path, true)
  return "file:" .. (info and info.mtime or 0)
end

local function of_console()
  local config = read(M.home .. "/.claude.json")
  return config and set(config.primaryApiKey) and "console:" .. config.primaryApiKey or nil
end

-- Something that is another text when the credentials are others; nil: there are none.
local function credentials(now)
  return of_variables(M.environment()) or of_settings() or of_file(now) or of_console()
end

local refused, tried -- what a turn has shown not to work; what the turn that goes on was begun with

function M.told(works)
  if works then refused = nil else refused = tried end
end

function M.begin()
  tried = credentials(time.now())
  return tried
end

function M.status()
  local status, reason = "authenticated", json.null
  local have = credentials(time.now())
  if not M.find() then
    status, reason = "needs_auth", absent
  elseif not have then
    status, reason = "needs_auth", not_signed_in
  elseif refused == have then
    status, reason = "needs_auth", "Claude's service does not take the credentials any more. " .. not_signed_in
  elseif refused then
    status, reason = "checking", "the credentials are others than those that were refused; the next turn tells"
  end
  return { status = status, url = json.null, reason = reason }
end

-- ---- its settings: what is there stays, what lacks is added

local COMMAND = "command -v cchost-busy >/dev/null && cchost-busy claude-hook || true"
local events = { UserPromptSubmit = false, PreToolUse = "*", PostToolUse = "*", Stop = false, SessionEnd = false }

local function object(parent, name)
  local v = parent[name]
  if v == nil or v == json.null then
    v = {}
    parent[name] = v
  end
  return type(v) == "table" and not json.is_array(v) and v or nil
end

local function has_ours(groups)
  for _, group in ipairs(groups) do
    for _, hook in ipairs(type(group) == "table" and type(group.hooks) == "table" and group.hooks or {}) do
      local command = type(hook) == "table" and hook.command
      if type(command) == "string" and command:find("cchost-busy", 1, true) then return true end
    end
  end
end

-- A turn in a terminal holds a busy lease, too. -> whether something was added
local function add_hooks(settings)
  local hooks, added = object(settings, "hooks"), false
  if not hooks then return false end
  for event, matcher in pairs(events) do
    local groups = hooks[event]
    if groups == nil or groups == json.null then groups = json.array {} end
    if type(groups) == "table" and not has_ours(groups) then
      groups[#groups + 1] = {
        matcher = matcher or nil, hooks = json.array { { type = "command", command = COMMAND, timeout = 10 } },
      }
      hooks[event], added = json.array(groups), true
    end
  end
  return added
end

-- "Approve all", where Claude Code reads it: for terminals; a chat says it in its own words.
local function add_mode(settings)
  local permissions = object(settings, "permissions")
  if not permissions or permissions.defaultMode ~= nil then return false end
  permissions.defaultMode = M.mode()
  if M.mode() == "bypassPermissions" and settings.skipDangerousModePermissionPrompt == nil then
    settings.skipDangerousModePermissionPrompt = true
  end
  return true
end

-- {} for a file that is not there; nil: leave it alone.
local function current(path)
  local info, err = fs.stat(path)
  if not info then return err.code == "not_found" and {} or nil end
  if info.type ~= "file" then return nil end -- a link: it is kept elsewhere, by somebody
  return read(path)
end

function M.settle()
  local dir = M.home .. "/.claude"
  local path = dir .. "/settings.json"
  local settings = current(path)
  if not settings then
    log.warn("claude", "the settings of Claude Code are left as they are: they are no file of JSON", { path = path })
    return
  end
  local hooks, mode = add_hooks(settings), add_mode(settings)
  if not hooks and not mode then return end
  local info = fs.stat(path)
  local ok, err = fs.mkdir(dir, 448) -- 0700
  if ok then ok, err = fs.write(path, pretty.encode(settings) .. "\n", { mode = info and info.mode or 384 }) end
  if not ok then log.warn("claude", "the settings of Claude Code cannot be written", { path = path, error = tostring(err) }) end
end

return M
