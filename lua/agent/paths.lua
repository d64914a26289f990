-- A path as a request says it: absolute beneath the machine's root, or relative to it.
--
-- paths.inside(text) -> path for the module "files", "" for the root | nil, err "invalid path"
-- paths.full(path) -> as it is told: beneath the root, UTF-8

local errors = require "errors"
local json = require "json"
local machine = require "machine"

local M = {}

local root = machine.root:gsub("(.)/+$", "%1")

-- The kernel decides what is beneath; here only what is written: another folder that begins with the same letters is none.
function M.inside(text)
  if type(text) ~= "string" then return errors.fail("invalid", "path must be given") end
  if text:sub(1, 1) ~= "/" then return text end
  if text == root then return "" end
  local with = root == "/" and root or root .. "/"
  if text:sub(1, #with) ~= with then return errors.fail("invalid", "invalid path") end
  return (text:sub(#with + 1):gsub("^/+", ""))
end

function M.full(path)
  if path == "" then return root end
  return json.text((root == "/" and "" or root) .. "/" .. path)
end

return M
