---@meta fs
-- luacheck: ignore 212 241
-- What `require "fs"` gives (host/script/bind_fs.c; docs/scripts.md). [yields] marks what waits.

---@class fs
local fs = {}

---@class fs.lock
local lock = {}
function lock:close() end

---[yields]
---@param path string
---@param max_bytes? integer    16 MiB
---@return string|nil text, cchost.error|nil err
function fs.read(path, max_bytes) end
---As many as there are of its first bytes. [yields]
---@param path string
---@param bytes integer
---@return string|nil text, cchost.error|nil err
function fs.head(path, bytes) end
---Whole or not at all. [yields]
---@param path string
---@param text string
---@param o? { mode?: integer, exclusive?: boolean }
---@return true|nil, cchost.error|nil err   exists, where it is to be a new one
function fs.write(path, text, o) end
---With its parents; one that exists is fine. [yields]
---@param path string
---@param mode? integer
---@return true|nil, cchost.error|nil err
function fs.mkdir(path, mode) end
---Sorted, without . and .. [yields]
---@param path string
---@return string[]|nil names, cchost.error|nil err
function fs.list(path) end
---@class fs.info
---@field type string
---@field size integer
---@field mtime integer         unix ms
---@field ctime integer
---@field inode integer
---@field mode integer
---@field owner string

---[yields]
---@param path string
---@param follow? boolean       what a link leads to
---@return fs.info|nil, cchost.error|nil err
function fs.stat(path, follow) end
---A file, or an empty folder. [yields]
---@param path string
---@return true|nil, cchost.error|nil err
function fs.remove(path) end
---On one file system. [yields]
---@param path string
---@param to string
---@return true|nil, cchost.error|nil err
function fs.rename(path, to) end
---What a tree takes of the disk. [yields]
---@param path string
---@return integer|nil bytes, cchost.error|nil err
function fs.usage(path) end
---Until lock:close(), or the end of the process. [yields]
---@param path string
---@return fs.lock|nil, cchost.error|nil err   exists: another holds it
function fs.lock(path) end
---Whether somebody holds it. [yields]
---@param path string
---@return boolean|nil, cchost.error|nil err
function fs.locked(path) end

return fs
