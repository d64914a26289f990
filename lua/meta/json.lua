---@meta json
-- luacheck: ignore 212 241
-- What `require "json"` gives (host/script/bind_json.c; docs/scripts.md). [yields] marks what waits.

---@class json
---@field null userdata         what null becomes, and is written as null
local json = {}

---@param text string
---@return any value, cchost.error|nil err
function json.decode(text) end
---Raises on what JSON cannot say.
---@param value any
---@return string
function json.encode(value) end
---The same as valid UTF-8: what is not is U+FFFD.
---@param bytes string
---@return string
function json.text(bytes) end
---Marks it as a list, also when it is empty.
---@generic T: table
---@param t T
---@return T
function json.array(t) end
---@param t any
---@return boolean
function json.is_array(t) end

return json
