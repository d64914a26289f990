-- /policies: which are in force, and which are tried beside them (the operator's own view).

local app = require "app"
local canary = require "policy.canary"
local errors = require "errors"
local policy = require "policy"
local staging = require "policy.staging"
local told = require "policy.told"

app.get("/policies", { scope = "operator", admin = true }, function()
  local is = policy.status()
  return 200, told.status(policy.folder, function() return is.faults end, function() return is.warnings end)
end)

app.get("/policies/staged", { scope = "operator", admin = true }, function()
  local rec, found = canary.told()
  if not rec then return errors.fail("not_found", "nothing is staged") end
  return 200, staging.told(rec, found)
end)
