-- The dashboard: files that the binary carries (made of web/ by web/build.mjs), answered from memory.
--
-- Files of /assets have their content's hash in their names, so they may be kept for good; the page, which names them, may
-- not. Where a compressed one is carried, and the client takes it, it is sent. The page loads nothing from elsewhere and
-- runs nothing that is written in it: its policy allows what comes from this server, as files.
--
--   web.page(http, status) -> status, body, headers    the page, whose script looks at the path
--   web.asset(http, name) -> status, body, headers | nil, err
--   web.wants_page(http) -> whether somebody at a browser asks

local crypto = require "crypto"
local errors = require "errors"
local sys = require "sys"

local M = {}

local types = {
  css = "text/css; charset=utf-8", html = "text/html; charset=utf-8", js = "text/javascript; charset=utf-8",
  svg = "image/svg+xml",
}

local policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
  .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

-- By name: {type, tag, br, gz, plain}; as many as there are files, as others are not kept.
local files = {}

local function file(name)
  if files[name] then return files[name] end
  local plain = sys.carried("web:" .. name)
  local content_type = types[name:match("%.(%a+)$")]
  if not plain or not content_type then return nil end
  files[name] = {
    type = content_type, tag = '"' .. crypto.hex(crypto.sha256(plain)):sub(1, 16) .. '"', plain = plain,
    br = sys.carried("web:" .. name .. ".br"), gzip = sys.carried("web:" .. name .. ".gz"),
  }
  return files[name]
end

-- Does the client take this encoding? ("br;q=0" says that it does not.)
local function takes(http, encoding)
  for part in (http:header("accept-encoding") or ""):lower():gmatch("[^,]+") do
    local name, rest = part:match("^%s*([%w*-]+)%s*(.-)%s*$")
    if name == encoding then return not rest:match("^;%s*q=0%.?0*$") end
  end
  return false
end

local function answer(http, f, status, headers)
  headers["Content-Type"], headers.Vary = f.type, "Accept-Encoding"
  local body, tag = f.plain, f.tag
  for _, encoding in ipairs { "br", "gzip" } do
    if f[encoding] and takes(http, encoding) then
      body, headers["Content-Encoding"] = f[encoding], encoding
      tag = f.tag:sub(1, -2) .. "-" .. encoding .. '"'
      break
    end
  end
  headers.ETag = tag
  local have = http:header("if-none-match")
  if status == 200 and have and (have == "*" or have:find(tag, 1, true)) then
    headers["Content-Type"], headers["Content-Encoding"] = nil, nil
    return 304, "", headers
  end
  return status, body, headers
end

function M.page(http, status)
  return answer(http, assert(file("index.html"), "this build carries no dashboard"), status or 200, {
    ["Cache-Control"] = "no-cache", ["Content-Security-Policy"] = policy, ["Referrer-Policy"] = "same-origin",
    ["Cross-Origin-Opener-Policy"] = "same-origin",
  })
end

function M.asset(http, name)
  local f = #name <= 128 and file("assets/" .. name)
  if not f then return errors.fail("not_found", "no such file; the page may be of an older version: load it again") end
  return answer(http, f, 200, { ["Cache-Control"] = "public, max-age=31536000, immutable" })
end

function M.wants_page(http)
  local method = http:method()
  return (method == "GET" or method == "HEAD") and (http:header("accept") or ""):lower():find("text/html", 1, true) ~= nil
end

return M
