-- A file of the policies as an admin reads and changes it over HTTP: saved into POLICIES_DIR by the checks that an edit there
-- passes, so that the folder stays what is in force.
--
--   editing.file(name) -> {name, version, generation, source = in force, saved = in the folder or null, diff} | nil, err
--   editing.save(name, source, version, author, note) -> set | nil, err [, faults]     [yields] version: of what was read; when
--       something of it changed since, or another save is under way, that is "conflict"
--   editing.known(name) -> whether it is a file of the policies: one of a kind, or lib_NAME.lua; not those beneath tests/

local crypto = require "crypto"
local diff = require "policy.diff"
local errors = require "errors"
local folder = require "policy.folder"
local generation = require "policy.generation"
local history = require "policy.history"
local json = require "json"
local kinds = require "policy.kinds"
local policy = require "policy"
local samples = require "policy.samples"

local M = {}

function M.known(name)
  return kinds.of_file(name) ~= nil or name:match("^lib_[%w_]+%.lua$") ~= nil and policy.live().sources[name] ~= nil
end

-- What one who edits it has seen: the set in force, and the file as it lies there.
local function version_of(live, saved)
  return ("%d-%s"):format(live.number, saved and crypto.hex(crypto.sha256(saved)):sub(1, 16) or "none")
end

-- The files of the folder; none when it is not there, and never was. -> sources | nil, err
local function own()
  if not policy.folder then return errors.fail("state", "no POLICIES_DIR is set: policies are those that the binary carries") end
  local out, err = policy.read_own(policy.folder)
  if out or err.code ~= "not_found" then return out, err end
  local set = history.live()
  if not set or set.shipped then return {} end
  return errors.fail("state", "POLICIES_DIR is not there, and what is in force was in it: put the folder back first")
end

function M.file(name)
  local files, err = own()
  if not files then return nil, err end
  local live = policy.live()
  local source, saved = live.sources[name] or "", files[name]
  return {
    name = name, version = version_of(live, saved), generation = live.number, source = source, saved = saved or json.null,
    diff = saved and diff.unified(name, source, saved) or "",
  }
end

-- The whole set with this file in it. -> sources | nil, err
local function with(name, source, version)
  local files, err = own()
  if not files then return nil, err end
  if version_of(policy.live(), files[name]) ~= version then
    return errors.fail("conflict", "the policies, or this file, changed meanwhile: load it again and look at the difference")
  end
  for file, text in pairs(policy.shipped()) do files[file] = files[file] or text end
  files[name] = source
  return files
end

local function install(name, source, kept)
  local ok, err = folder.prepare(policy.folder, name, source)
  if ok then kept, err = folder.keep(policy.folder, name) end
  if kept == nil then return nil, err end
  return folder.place(policy.folder, name)
end

local function save(name, source, version, author, note)
  local sources, err = with(name, source, version)
  if not sources then return nil, err end
  local gen, faults = generation.build(sources, samples.all())
  if not gen then return nil, errors.new("invalid", "the policies would be refused: " .. generation.text(faults[1])), faults end
  local hash = gen.hash
  gen:close()
  sources, err = with(name, source, version) -- the checks took a while
  if not sources then return nil, err end
  if generation.hash(sources) ~= hash then
    return errors.fail("conflict", "another file of the policies changed meanwhile: try again")
  end
  local ok
  ok, err = history.propose(hash, author, note) -- whoever sees the file first puts it in force, and says who it was
  if ok then ok, err = install(name, source) end
  if not ok then return nil, err end
  local set
  set, faults = policy.try(sources, author, note)
  if not set then return nil, errors.new("invalid", "the policies are refused: " .. generation.text(faults[1])), faults end
  return set
end

-- From the last look at the version to the set in force much is waited for: two at once would both find it unchanged.
local saving = false

function M.save(...)
  if saving then return errors.fail("conflict", "another edit is being saved: load it again and look at the difference") end
  saving = true
  local ran, set, err, faults = pcall(save, ...)
  saving = false
  if not ran then error(set, 0) end
  return set, err, faults
end

return M
