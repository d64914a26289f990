-- Files beneath the machine's root. Paths: agent.paths; what is opened how: host/agent/files.h.

local errors = require "errors"
local files = require "files"
local json = require "json"
local paths = require "agent.paths"
local query = require "query"

local READ_MAX = 1048576   -- bytes of content in an answer
local PIECE = 262144       -- bytes that are on their way at once
local LIST, LIST_MAX = 1000, 10000
local UPLOAD_MAX = 1e15    -- the disk is the limit

-- The path that the query names, and the whole query.
local function path_of(req, otherwise)
  local q = query.all(req:query())
  local path, err = paths.inside(q.path or otherwise)
  return path, path and q or err
end

local function join(folder, name) return folder == "" and name or folder:gsub("/+$", "") .. "/" .. name end

local function entry(folder, e)
  local path = join(folder, e.name)
  local out = { name = json.text(e.name), path = paths.full(path), type = e.type == "directory" and "directory" or "file",
    size = e.size, modified = e.modified }
  if e.link then out.link = true end
  if e.type == "other" then out.special = true end
  if out.name ~= e.name then out.encoded = query.encode(path) end -- to be asked for as it is: its bytes are no text
  return out
end

local function list(req)
  local path, q = path_of(req, "")
  if not path then return nil, q end
  local limit = tonumber(q.limit or LIST)
  if not limit or limit < 1 or limit > LIST_MAX or limit % 1 ~= 0 then
    return errors.fail("invalid", "limit: 1 to " .. LIST_MAX .. " expected")
  end
  local found, err = files.list(path, { after = q.after, limit = limit })
  if not found then return nil, err end
  local headers
  if found.more then
    local next_page = ("<?path=%s&limit=%d&after=%s>; rel=\"next\""):format(
      query.encode(path), limit, query.encode(found[#found].name))
    headers = { link = next_page }
  end
  local out = json.array()
  for i, e in ipairs(found) do out[i] = entry(path, e) end
  return 200, out, headers
end

local function not_a_file(f)
  if f.type ~= "file" then return errors.fail("invalid", f.type == "directory" and "is a directory" or "is no file") end
  return true
end

local function is_text(bytes) return json.text(bytes) == bytes and not bytes:find("\0", 1, true) end

-- As much of a text as is whole: a character that the cut went through is left out. nil: it is no text.
local function whole_text(bytes, cut)
  for n = 0, cut and 3 or 0 do
    local text = bytes:sub(1, #bytes - n)
    local tail = text:sub(-8):gsub("^[\128-\191]+", "")
    if n == 3 or not cut or is_text(tail) then return is_text(text) and text or nil end
  end
end

local function tag_of(f) return ('"%s"'):format(f.id) end

local function read(req)
  local path, err = path_of(req)
  if not path then return nil, err end
  local f, bytes, ok
  f, err = files.open(path)
  if not f then return nil, err end
  ok, err = not_a_file(f)
  if ok then bytes, err = f:read(0, READ_MAX) end
  f:close()
  if not bytes then return nil, err end
  local truncated = f.size > #bytes
  local text = whole_text(bytes, truncated)
  return 200, { path = paths.full(path), size = f.size, modified = f.modified, truncated = truncated,
    binary = text == nil, content = text or json.null }, { etag = tag_of(f) }
end

-- A name for Content-Disposition, which has only letters of ASCII; RFC 5987 for the rest.
local function attachment(name)
  local plain = name:gsub("[^%w%._ -]", "_")
  return ("attachment; filename=\"%s\"; filename*=UTF-8''%s"):format(plain, query.encode(name))
end

-- Sends what `next_piece` gives until it gives "". A reply that breaks off is cut, as its handler ends without its end.
local function send(req, next_piece)
  while true do
    local bytes, err = next_piece()
    if not bytes then return nil, err end
    if bytes == "" then return req:finish() end
    local ok
    ok, err = req:write(bytes)
    if not ok then return nil, err end
  end
end

local function send_tar(req, path, name)
  local t, err = files.tar(path)
  if not t then return nil, err end
  req:start(200, { ["content-type"] = "application/x-tar", ["content-disposition"] = attachment(name .. ".tar") })
  send(req, function() return t:read() end)
  t:close()
end

-- "bytes=A-B", "bytes=A-", "bytes=-N" -> first, last; false: cannot be had; nil: all of it
local function range_of(text, size)
  local a, b = (text or ""):match("^bytes=(%d*)%-(%d*)$")
  if not a or a == "" and b == "" then return nil end
  a, b = tonumber(a), tonumber(b)
  if not a then
    if b == 0 then return false end
    return math.max(0, size - b), size - 1
  end
  if b and b < a then return nil end
  if a >= size then return false end
  return a, math.min(b or size - 1, size - 1)
end

local function send_file(req, f, name)
  local etag = tag_of(f)
  local wanted, if_range = req:header("range", "if-range")
  local headers = { ["content-type"] = "application/octet-stream", ["content-disposition"] = attachment(name),
    ["accept-ranges"] = "bytes", etag = etag }
  if if_range and if_range ~= etag then wanted = nil end
  local first, last = range_of(wanted, f.size)
  if first == false then
    return 416, { error = "the file ends before that", code = "invalid" }, { ["content-range"] = "bytes */" .. f.size }
  end
  if first then headers["content-range"] = ("bytes %d-%d/%d"):format(first, last, f.size) end
  local at, left = first or 0, (first and last - first + 1) or f.size
  req:start(first and 206 or 200, headers, left)
  if req:method() == "HEAD" then return req:finish() end
  send(req, function()
    if left == 0 then return "" end
    local bytes, err = f:read(at, math.min(left, PIECE))
    if not bytes then return nil, err end
    at, left = at + #bytes, left - #bytes
    return bytes
  end)
end

local function download(req)
  local path, err = path_of(req)
  if not path then return nil, err end
  local name = path:match("([^/]+)/*$") or "files"
  local f
  f, err = files.open(path)
  if not f then return nil, err end
  if f.type == "directory" then
    f:close()
    return send_tar(req, path, name)
  end
  local ok
  ok, err = not_a_file(f)
  if not ok then f:close(); return nil, err end
  local status, body, headers = send_file(req, f, name)
  f:close()
  return status, body, headers
end

-- The body into a draft. true | nil, err
local function receive(req, draft)
  while true do
    local bytes, err = req:read(UPLOAD_MAX)
    if not bytes then
      if err then return nil, err end
      return true
    end
    local ok
    ok, err = draft:write(bytes)
    if not ok then return nil, err end
  end
end

-- The tag of the file that is there, or nil | false, err
local function tag_at(path)
  local f, err = files.open(path)
  if not f then
    if err.code == "not_found" then return nil end
    return false, err
  end
  local tag = tag_of(f)
  f:close()
  return tag
end

-- If-Match: the file that was read is still there; If-None-Match "*": none is. true | nil, err
local function as_expected(req, path)
  local match, none = req:header("if-match", "if-none-match")
  if not match and none ~= "*" then return true end
  local tag, err = tag_at(path)
  if tag == false then return nil, err end
  if none == "*" and tag then return errors.fail("precondition", "it is there already") end
  if match and match ~= tag and not (match == "*" and tag) then return errors.fail("precondition", "it was changed meanwhile") end
  return true
end

-- "a/" is a folder, everywhere: it is one already, whatever is done to it. true | nil, err
local function as_named(path)
  if path:sub(-1) ~= "/" then return true end
  local f, err = files.open(path)
  if not f then return nil, err end
  f:close()
  if f.type ~= "directory" then return errors.fail("invalid", "not a directory") end
  return true
end

local function put(req)
  local path, err = path_of(req)
  if not path then return nil, err end
  local draft, ok
  ok, err = as_expected(req, path)
  if not ok then return nil, err end
  draft, err = files.create(path)
  if not draft then return nil, err end
  ok, err = receive(req, draft)
  if ok then ok, err = as_expected(req, path) end
  if ok then ok, err = draft:commit() end
  if not ok then draft:drop(); return nil, err end
  return 200, { path = paths.full(path) }, { etag = tag_at(path) or nil }
end

-- The whole tar comes first, so that what breaks off has changed nothing.
local function upload(req)
  local path, err = path_of(req)
  if not path then return nil, err end
  local draft, ok, done
  draft, err = files.create(join(path, ".upload-tar"))
  if not draft then return nil, err end
  ok, err = receive(req, draft)
  if ok then done, err = files.untar(draft, path) end
  draft:drop()
  if not done then return nil, err end
  done.path = paths.full(path)
  return 200, done
end

-- {field = path, ...} of a JSON body
local function body_paths(req, ...)
  local text, err = req:body(65536)
  if not text then return nil, err end
  local body = json.decode(text)
  if type(body) ~= "table" or json.is_array(body) then return errors.fail("invalid", "an object expected") end
  local out = {}
  for _, field in ipairs { ... } do
    if type(body[field]) ~= "string" then return errors.fail("invalid", field .. ": a string expected") end
    out[field], err = paths.inside(body[field])
    if not out[field] then return nil, err end
  end
  for name in pairs(body) do
    if out[name] == nil then return errors.fail("invalid", "unknown field " .. json.text(tostring(name))) end
  end
  return out
end

local function folder(req)
  local p, err = body_paths(req, "path")
  if not p then return nil, err end
  local made
  made, err = files.mkdir(p.path)
  if made == nil then return nil, err end
  if not made then return errors.fail("exists", "it exists already") end
  return 201, { path = paths.full(p.path) }
end

local function rename(req)
  local p, err = body_paths(req, "from", "to")
  if not p then return nil, err end
  local ok
  ok, err = as_named(p.from .. (p.to:sub(-1) == "/" and "/" or ""))
  if ok then ok, err = files.rename(p.from, p.to) end
  if not ok then return nil, err end
  return 200, { path = paths.full(p.to) }
end

local function remove(req)
  local path, q = path_of(req)
  if not path then return nil, q end
  local ok, err = as_named(path)
  if ok then ok, err = files.remove(path, q.recursive == "true") end
  if not ok then return nil, err end
  return 200, { path = paths.full(path) }
end

return function(add)
  add("GET", "/files", list)
  add("GET", "/files/read", read)
  add("GET", "/files/download", download)
  add("PUT", "/files", put)
  add("POST", "/files/upload", upload)
  add("POST", "/files/folder", folder)
  add("POST", "/files/rename", rename)
  add("DELETE", "/files", remove)
end
