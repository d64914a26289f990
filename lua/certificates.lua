-- The certificates of a server: which files, and when they have changed.
--
-- certificates.list(settings) -> {{cert = path, key = path}, ...} | nil: no TLS
-- certificates.check(settings) -> {doubt, ...} | nil, err: what a server would say to them   [yields]
-- certificates.state(list) -> what the files are now, to be asked before a server is made with them   [yields]
-- certificates.keep(server, list, state)   looks every few seconds and on SIGHUP, and loads what has changed.
--
-- A renewed certificate comes as two files that change one after the other, so one look may find a pair that does not
-- fit: that is said once, the old pair stays, and the next change is another try.

local fs = require "fs"
local hangup = require "hangup"
local http = require "http"
local log = require "log"
local task = require "task"

local LOOK_SECONDS = 3

local M = {}

-- The files are named in pairs; that there are as many keys as certificates is a rule of the settings (config/rules.lua).
function M.list(settings)
  local out = {}
  for i, cert in ipairs(settings.TLS_CERT or {}) do out[i] = { cert = cert, key = settings.TLS_KEY[i] } end
  return #out > 0 and out or nil
end

-- Names alone are compared: an address as BASE_URL's host is not.
function M.check(settings)
  local list = M.list(settings)
  if not list then return {} end
  local host = settings.BASE_URL and settings.BASE_URL:match("^https://([^:/%[]+)")
  return http.tls_check(list, host and not host:match("^[%d.]+$") and host or nil)
end

-- What tells one state of the files from another; a file that is not there is a state too.
function M.state(list)
  local out = {}
  for _, pair in ipairs(list) do
    for _, path in ipairs { pair.cert, pair.key } do
      local st, err = fs.stat(path, true)
      out[#out + 1] = st and ("%d %d %d %d"):format(st.inode, st.size, st.mtime, st.ctime) or err.code
    end
  end
  return table.concat(out, ",")
end

local function reload(server, list)
  local ok, err = server:tls_reload(list)
  if ok then
    log.info("tls", "certificates loaded anew", { first = list[1].cert })
  else
    log.warn("tls", "the new certificates are not used, the old ones stay", { error = tostring(err) })
  end
end

-- SIGHUP loads them whatever their state.
function M.keep(server, list, seen)
  local told, asked = task.signal(), false
  hangup.on(function()
    asked = true
    told:fire()
  end)
  task.spawn(function()
    while true do
      local state = M.state(list)
      if asked or state ~= seen then
        asked, seen = false, state
        reload(server, list)
      end
      local _, err = told:wait(asked and 0 or LOOK_SECONDS)
      if err and err.code ~= "timeout" then return end
    end
  end)
end

return M
