-- NixOS as an image: what it is made of, and which of what there is may go.
--
--   nixos.hash(flake) -> 40 hex digits | nil, err   [yields] of "DIR#NAME": every file beneath DIR, and NAME; of a flake that is
--       fetched: its address, so pin it there (github:us/machines/REVISION#NAME). What was linked by a build is not looked at.
--   nixos.superfluous(images, hash, keep) -> list   those to delete: of each architecture all but the `keep` newest that are
--       available and the one of `hash`; and what was begun for another hash. A pure function.

local crypto = require "crypto"
local errors = require "errors"
local fs = require "fs"

local M = {}

local FILE_MAX, FILES_MAX = 4 * 1024 * 1024, 2000

local function left_out(name, info) return name == ".git" or info.type == "link" end

-- Adds "path NUL size NUL content" of every file beneath `dir`, in the order of their names.
local function read(dir, below, parts)
  local names, err = fs.list(dir .. below)
  if not names then return nil, err end
  for _, name in ipairs(names) do
    local path = below .. "/" .. name
    local info, text
    info, err = fs.stat(dir .. path)
    if not info then return nil, err end
    if info.type == "directory" and not left_out(name, info) then
      local ok
      ok, err = read(dir, path, parts)
      if not ok then return nil, err end
    elseif not left_out(name, info) then
      text, err = fs.read(dir .. path, FILE_MAX)
      if not text then return nil, err end
      parts[#parts + 1] = table.concat({ path, #text, text }, "\0")
      if #parts > FILES_MAX then return nil, errors.new("limit", dir .. " has more files than a flake should") end
    end
  end
  return true
end

function M.hash(flake)
  local dir, name = tostring(flake):match("^([^#]+)#(.+)$")
  if not dir then return nil, errors.new("invalid", "a flake and the name of a system in it, DIR#NAME, expected") end
  local parts = { name }
  if dir:match("^[./]") then
    local ok, err = read(dir, "", parts)
    if not ok then return nil, err end
    if #parts == 1 then return nil, errors.new("not_found", "there is nothing in " .. dir) end
  else
    parts[2] = dir
  end
  return crypto.hex(crypto.sha256(table.concat(parts, "\0\0"))):sub(1, 40)
end

function M.superfluous(images, hash, keep)
  local sorted, seen, out = {}, {}, {}
  for i, image in ipairs(images) do sorted[i] = image end
  table.sort(sorted, function(a, b) return (a.created or "") .. a.id > (b.created or "") .. b.id end)
  for _, image in ipairs(sorted) do
    local kept = image.hash == hash
    if image.state == "available" then
      local arch = image.arch or ""
      seen[arch] = (seen[arch] or 0) + 1
      kept = kept or seen[arch] <= keep
    end
    if not kept then out[#out + 1] = image end
  end
  return out
end

return M
