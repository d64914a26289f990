-- Files of POLICIES_DIR take their places whole: what is read there is never half of an edit.
--
--   folder.prepare(dir, name, text) -> true | nil, err     writes it beside its place, synced; name: "idle.lua", "tests/idle.lua"
--   folder.keep(dir, name) -> its new path or false | nil, err     what lies there and was never in force is in no
--       generation, and somebody's work: it is kept under another name
--   folder.place(dir, name) -> true | nil, err      what was prepared is there from now on

local crypto = require "crypto"
local fs = require "fs"
local store = require "store"
local time = require "time"

local M = {}

local MAX = 1048576

-- No policy is called so.
local function beside(dir, name) return dir .. "/" .. name:gsub("[^/]+$", ".%0.next") end

function M.prepare(dir, name, text)
  local ok, err = fs.mkdir(dir)
  if ok and name:match("^tests/") then ok, err = fs.mkdir(dir .. "/tests") end
  if not ok then return nil, err end
  return fs.write(beside(dir, name), text, { mode = tonumber("644", 8) })
end

function M.keep(dir, name)
  local path = dir .. "/" .. name
  local text = fs.read(path, MAX)
  if not text or store.get("policy_source", crypto.hex(crypto.sha256(text))) then return false end
  local to = path .. ".replaced-" .. os.date("!%Y%m%dT%H%M%SZ", math.floor(time.now() / 1000))
  local ok, err = fs.rename(path, to)
  if not ok then return nil, err end
  return to
end

function M.place(dir, name) return fs.rename(beside(dir, name), dir .. "/" .. name) end

return M
