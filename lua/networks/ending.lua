-- The networks of an account that ends.
--
--   ending.remove(owner) -> true: none is left, or all go by themselves | false: later, as machines still have a place there
--     | nil, err
-- [yields] May be called again.

local groups = require "networks.groups"
local json = require "json"
local subnets = require "networks.subnets"
local vpcs = require "networks.vpcs"

local M = {}

local function each(objects, actor, fn)
  local page, err = objects:list(actor, nil, 1000)
  if not page then return nil, err end
  local all = page.after == nil
  for _, text in ipairs(page.texts) do
    local ok, why = fn(json.decode(text))
    if ok == nil and why.code ~= "conflict" and why.code ~= "not_found" then return nil, why end
    all = all and (ok ~= nil or why.code == "not_found")
  end
  return all
end

-- Rules that name other groups would hold those.
local function unname(actor, group)
  for _, rule in ipairs(group.rules) do
    if rule.group_id ~= json.null then
      local ok, err = groups.remove_rule(actor, group.id, rule.id)
      if not ok and err.code ~= "not_found" then return nil, err end
    end
  end
  return true
end

function M.remove(owner)
  local actor = { user = owner, by = "system" }
  local gone = true
  for _, step in ipairs {
    function() return each(groups.objects, actor, function(group) return unname(actor, group) end) end,
    function() return each(groups.objects, actor, function(group) return groups.delete(actor, group.id) end) end,
    function() return each(subnets.objects, actor, function(subnet) return subnets.delete(actor, subnet.id) end) end,
    function() return each(vpcs.objects, actor, function(vpc) return vpcs.delete(actor, vpc.id, 0) end) end,
  } do
    local all, err = step()
    if all == nil then return nil, err end
    gone = gone and all
  end
  return gone
end

return M
