-- Which session of Claude Code a project's chat goes on with: ~/.cchost/chat.json, {FOLDER: {session =, at = unix ms}}.
--
--   resumes.get(cwd) -> id | nil       resumes.put(cwd, id or nil)      [yields], both

local claude = require "agent.claude"
local fs = require "fs"
local json = require "json"
local log = require "log"
local time = require "time"

local M = {}

local MOST = 500
local all

function M.valid(id) return type(id) == "string" and #id <= 64 and id:match "^%w[%w-]*$" ~= nil end

local function path() return claude.home .. "/.cchost/chat.json" end

local function load()
  if all then return end
  local text = fs.read(path(), 1048576)
  local value = text and json.decode(text)
  all = all or type(value) == "table" and value ~= json.null and not json.is_array(value) and value or {}
end

local function drop_oldest()
  local n, oldest = 0, nil
  for cwd, entry in pairs(all) do
    n = n + 1
    if not oldest or (entry.at or 0) < (all[oldest].at or 0) then oldest = cwd end
  end
  if n > MOST then all[oldest] = nil end
end

function M.get(cwd)
  load()
  local entry = all[cwd]
  return type(entry) == "table" and M.valid(entry.session) and entry.session or nil
end

function M.put(cwd, id)
  load()
  if M.get(cwd) == id then return end
  all[cwd] = id and { session = id, at = time.now() } or nil
  drop_oldest()
  local ok, err = fs.mkdir(claude.home .. "/.cchost", 448) -- 0700
  if ok then ok, err = fs.write(path(), json.encode(all)) end
  if not ok then log.warn("chat", "the session to go on with cannot be kept", { error = tostring(err) }) end
end

return M
