-- How much of volumes an account may have: policies/access.lua decides (volume), told what its plan says.
--
--   quota.refusal(tx, owner, provider, n, gib, asked) -> why not, an error, or nil      for n more, of gib GiB together

local book = require "billing.book"
local errors = require "errors"
local kept = require "policy.kept"
local policy = require "policy"
local record = require "volumes.record"

local M = {}

-- GiB that a plan allows; 0: any number.
local function most_of(gen, plan)
  local known = book.plan(gen:data("plans"), plan)
  return known and known.volumes_gib or 0
end

policy.derived["access.volume"] = function(gen, input) return "most_gib", most_of(gen, input.plan) end

function M.refusal(tx, owner, provider, n, gib, asked)
  if owner == "operator" or n == 0 then return nil end
  local account = tx:get("user", owner)
  local plan = account and account.plan or policy.data("plans", owner).default
  local volumes, has = record.counted(tx, owner)
  local input = {
    owner = owner, plan = plan, volumes = volumes, gib = has, size_gib = gib, provider = provider,
    most_gib = most_of(policy.for_owner(owner), plan),
  }
  local gen, verdict, reason = policy.ask_for(owner, "access.volume", input)
  asked[#asked + 1] = kept.decision("access.volume", gen, input, verdict, reason)
  if verdict ~= "allow" then return errors.new("quota", reason) end
end

return M
