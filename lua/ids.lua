-- The three ways to call a machine: uuid, short (12 hex) and name (unique for its owner).

local M = {}

local uuid_form = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

function M.is_uuid(text) return #text == 36 and text:match(uuid_form) ~= nil end
function M.is_short(text) return #text == 12 and text:match("^%x+$") ~= nil end

-- A uuid as it is stored, however it was written; what is none stays as it is.
function M.canonical(text) return M.is_uuid(text) and text:lower() or text end

-- The short form of a uuid: its last 12 digits, all of them random.
function M.short(uuid) return uuid:sub(-12) end

-- Why `name` cannot be a machine's name, or nil.
function M.name_fault(name)
  if #name < 1 or #name > 63 then return "1 to 63 characters expected" end
  if not name:match("^[%w][%w._-]*$") then return "letters, digits, '.', '_' and '-' expected, a letter or digit first" end
  if M.is_uuid(name) or M.is_short(name) or name:match("^%d+$") then return "looks like an id; choose another name" end
end

return M
