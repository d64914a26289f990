-- What is told of the policies in force and of what lies in the folder: `cchost policy status --json` and GET /policies.
--
--   told.status(folder, judge, doubts) -> {generation, hash, at, author, note, files, folder, saved, pending, faults,
--       warnings}, why the folder cannot be read [yields]    judge(sources) -> faults of what was saved and is not in force.
--       doubts(set) -> warnings of what is. nil: nothing was in force yet

local generation = require "policy.generation"
local history = require "policy.history"
local json = require "json"
local policy = require "policy"

local M = {}

function M.faults(list)
  local out = json.array {}
  for i, f in ipairs(list) do out[i] = { file = f.file, line = f.line, text = f.text } end
  return out
end

function M.status(folder, judge, doubts)
  local set = history.live()
  if not set then return nil end
  local sources, err = policy.read(folder)
  local saved = sources and generation.hash(sources)
  local pending = saved ~= nil and saved ~= set.hash
  return {
    generation = set.generation, hash = set.hash, at = set.at, author = set.author, note = set.note, files = set.files,
    folder = folder, saved = saved, pending = pending, faults = M.faults(pending and judge(sources) or {}),
    warnings = M.faults(doubts(set)),
  }, err
end

return M
