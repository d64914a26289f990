-- ccc's machines at a server: its API, as near.lua has it for the store.

local crypto = require "crypto"
local errors = require "errors"
local http = require "http"
local json = require "json"
local query = require "query"
local remote = require "remote"
local task = require "task"

local M = {}
M.__index = M

local TRIES, PATIENCE = 4, 60 -- for a server that is busy or not to be reached; seconds that it may ask for
local REQUEST_SECONDS = 90

function M.open(settings, options)
  local server, err = remote.server(settings, options.url)
  if not server then return nil, err end
  local headers
  headers, err = remote.credential(settings, server, options["token-file"])
  if not headers then return nil, err end
  return setmetatable({ server = server, headers = headers, ca = options.ca, emails = {} }, M)
end

-- What the server has said, as an error value.
local function refusal(self, answer)
  local body = json.decode(answer.body or "")
  local said = type(body) == "table" and body or {}
  local text = type(said.error) == "string" and said.error
    or ("%s answered with status %d"):format(self.server.name, answer.status)
  local code = type(said.code) == "string" and said.code or answer.status == 404 and "not_found" or "failed"
  return nil, errors.new(code, text, { status = answer.status })
end

-- Whether it may be asked again, and after how many seconds.
local function again(answer, n)
  if n == TRIES then return nil end
  if not answer then return n end
  local wait = tonumber(answer.headers["retry-after"] or "")
  if answer.status == 429 and wait and wait <= PATIENCE then return wait end
  if answer.status == 503 then return math.min(wait or n, PATIENCE) end
end

-- What is asked is idempotent, or carries a key that makes it so: a lost answer is asked for again.
local function ask(self, method, path, body, key)
  local headers = { Accept = "application/json", ["Idempotency-Key"] = key }
  if body then headers["Content-Type"] = "application/json" end
  for k, v in pairs(self.headers) do headers[k] = v end
  for n = 1, TRIES do
    local answer, err = http.request {
      method = method, url = self.server.base .. path, unix = self.server.unix, headers = headers, ca = self.ca,
      body = body and json.encode(body) or nil, timeout = REQUEST_SECONDS, max_body = 64 * 1024 * 1024,
    }
    local pause = again(answer, n)
    if not pause then
      if not answer then return errors.fail(err.code, ("cannot reach %s: %s"):format(self.server.name, err.message)) end
      if answer.status >= 300 then return refusal(self, answer) end
      local value, why = json.decode(answer.body)
      if value == nil then return errors.fail("failed", ("%s: %s"):format(self.server.name, why.message)) end
      return value, answer.headers
    end
    task.sleep(pause)
  end
end

local function segment(text) return (text:gsub("[^%w._-]", function(c) return ("%%%02X"):format(c:byte()) end)) end

-- All pages of a list.
local function all(self, path)
  local out, after = json.array {}, nil
  repeat
    local page, headers = ask(self, "GET", path .. "?limit=1000" .. (after and "&after=" .. query.encode(after) or ""))
    if not page then return nil, headers end
    for _, one in ipairs(page) do out[#out + 1] = one end
    local link = headers.link and headers.link:match("<[^>]*[?&]after=([^&>]+)[^>]*>; rel=\"next\"")
    after = link and query.decode(link)
  until not after
  return out
end

function M:types() return ask(self, "GET", "/types") end

function M:account(address)
  local path = "/users/" .. segment(address)
  local user, err = ask(self, "GET", path)
  if user or err.code ~= "not_found" then return user, err end
  user, err = ask(self, "POST", "/users", { email = address }, crypto.token(16))
  if user or err.code ~= "exists" then return user, err end
  return ask(self, "GET", path) -- somebody else was faster
end

-- Every account is asked for once; where they may not be read the owner stays an id.
function M:email(owner)
  if owner == "operator" or owner:find("@", 1, true) then return owner end
  if self.emails[owner] == nil then
    local user = ask(self, "GET", "/users/" .. segment(owner))
    self.emails[owner] = user and user.email or owner
  end
  return self.emails[owner]
end

function M:create(spec)
  local rec, headers = ask(self, "POST", "/instances", spec, crypto.token(16))
  if not rec then return nil, headers end
  return rec, (headers.location or ""):match("^/operations/([%w-]+)$")
end

function M:await(operation, seconds)
  local ok = operation and ask(self, "GET", ("/operations/%s?wait=%d"):format(operation, math.min(seconds, 30)))
  if not ok then task.sleep(2) end
end

function M:get(key) return ask(self, "GET", "/instances/" .. segment(key)) end

-- The accounts come along, in pages: there are fewer of them than machines.
function M:list()
  local records, err = all(self, "/instances")
  if not records then return nil, err end
  for _, user in ipairs(#records > 0 and all(self, "/users") or {}) do self.emails[user.id] = user.email end
  return records
end

function M:delete(key) return ask(self, "DELETE", "/instances/" .. segment(key), nil, crypto.token(16)) end

function M:extend(key, hours)
  return ask(self, "POST", ("/instances/%s/extend"):format(segment(key)), { hours = hours }, crypto.token(16))
end

return M
