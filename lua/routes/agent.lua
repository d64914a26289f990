-- The program of a machine's agent, for a machine that fetches it: open to all, as it is in every copy of this program. Its
-- SHA-256 goes along; what it does with what it was told to expect is the machine's matter.

local app = require "app"
local crypto = require "crypto"
local errors = require "errors"
local update = require "machines.update"

app.get("/agent/{arch}", {
  open = true, does = "The program of a machine's agent", more = "Its SHA-256 is the `ETag`, and in `Repr-Digest`.",
  gives = { [200] = "application/octet-stream", [304] = false }, fails = { 404 },
}, function(req)
  local build = update.build()
  if req.id ~= build.arch then return errors.fail("not_found", "this server carries the agent for " .. build.arch) end
  if not build.whole then return errors.fail("corrupt", "the agent that this server carries is damaged") end
  local tag = ('"%s"'):format(build.sha256)
  local headers = {
    ["Content-Type"] = "application/octet-stream", ["Cache-Control"] = "public, max-age=3600", ETag = tag,
    ["Repr-Digest"] = ("sha-256=:%s:"):format(crypto.base64(build.digest)),
  }
  local have = req.http:header "if-none-match"
  if have and (have == "*" or have:find(tag, 1, true)) then return 304, "", headers end
  return 200, update.program(), headers
end)
