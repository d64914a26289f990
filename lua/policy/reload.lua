-- Sees what operators save in POLICIES_DIR, and puts it in force when it is good.
--
-- Changes up to 300 ms apart are one edit: it is over when nothing has changed for so long, or 3 s after it began. Then the
-- whole folder is read, again when it changed meanwhile, and tried (policy.try). A slow look every few seconds finds what no
-- event told: a folder that is made or put in another's place later, a file system that tells nothing.
--
--   reload.follow()      [a task of serve's]

local fs = require "fs"
local generation = require "policy.generation"
local log = require "log"
local policy = require "policy"
local task = require "task"
local time = require "time"
local watch = require "watch"

local M = {}

local QUIET, LONGEST = 300, 3000 -- ms
local READS = 5                  -- of a folder that changes all the time
M.look_seconds = 5

local changed = task.signal()
local n_changes, changed_at = 0, 0
local watches = {}   -- [folder] = {inode =, w =}
local seen           -- {hash =, over = the number of what was in force then}: of what was tried last

local function on_change()
  n_changes, changed_at = n_changes + 1, time.mono()
  changed:fire()
end

-- Watches a folder as it is now; one that was replaced is watched anew.
local function keep_watch(folder)
  local info = fs.stat(folder, true)
  local known = watches[folder]
  if known and not (info and info.inode == known.inode) then
    known.w:close()
    watches[folder], known = nil, nil
  end
  if info and not known then
    local w = watch.folder(folder, on_change)
    if w then watches[folder] = { inode = info.inode, w = w } end
  end
end

-- -> true | nil, err: it was cancelled
local function settle()
  local ends = time.mono() + LONGEST
  while true do
    local left = math.min(changed_at + QUIET, ends) - time.mono()
    if left <= 0 then return true end
    local ok, err = task.sleep(left / 1000)
    if not ok then return nil, err end
  end
end

-- All files as they were at one moment: what is read while something is saved may be half of an edit.
local function read(folder)
  for _ = 1, READS do
    local before = n_changes
    local sources, err = policy.read(folder)
    local ok, why = task.sleep(0) -- word of what was saved meanwhile comes in
    if ok and n_changes == before then return sources, err end
    if ok then ok, why = settle() end
    if not ok then return nil, why end
  end
  return policy.read(folder)
end

-- Who owns the newest file of the folder: who saved it, as far as can be told.
local function author(folder)
  local newest, owner = -1, nil
  for _, dir in ipairs { folder, folder .. "/tests" } do
    for _, name in ipairs(fs.list(dir) or {}) do
      local info = name:match("%.lua$") and fs.stat(dir .. "/" .. name, true)
      if info and info.mtime > newest then newest, owner = info.mtime, info.owner end
    end
  end
  return owner and "file of " .. owner or "file"
end

-- How often it was told of a change since the program began.
function M.heard() return n_changes end

-- The folder and who saved it, read while nobody tries a set: who does has saved it there first, and what was read before that
-- is older than his. Whoever tries it does so without a pause from here.
local function read_at_rest(folder)
  while true do
    local ok, why = policy.rest()
    if not ok then return nil, why end
    local was = policy.live().number
    local sources, err = read(folder)
    local who = sources and author(folder)
    if not policy.trying() and policy.live().number == was then return sources, err, who end
  end
end

-- Reads the folder and tries what is new. -> false: it was cancelled
function M.look()
  local folder = policy.folder
  local sources, err, who = read_at_rest(folder)
  if not sources and err.code == "cancelled" then return false end
  if not sources then
    policy.refuse(err)
    seen = nil
    return
  end
  local hash = generation.hash(sources)
  if seen and hash == seen.hash and seen.over == policy.live().number then return end
  local set, faults = policy.try(sources, who)
  local unwritten = not set and faults[1].file == "store" -- then it is tried again at the next look
  seen = not unwritten and { hash = hash, over = policy.live().number } or nil
end

function M.follow()
  local folder = policy.folder
  if not folder then return end
  while true do
    local before = n_changes -- what is saved from here on is perhaps not in what is read
    local ok, why = xpcall(function()
      keep_watch(folder)
      keep_watch(folder .. "/tests")
      return M.look()
    end, debug.traceback)
    if ok and why == false then return end
    if not ok then log.error("policy", "looking for edits raised", { traceback = why }) end
    if n_changes == before then
      local told, err = changed:wait(M.look_seconds)
      if not told and err.code ~= "timeout" then return end
    end
    if n_changes ~= before and not settle() then return end
  end
end

return M
