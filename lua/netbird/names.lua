-- What our things are called at Netbird: by these names they are found again, and told from everybody else's.
--
--   names.of(prefix, rec) -> all names that have to do with a machine (or, with {owner =} alone, with an account):
--       group          of the owner's machines and devices         control_group  of this host
--       policy         within the owner's group                    control_policy from this host to it
--       key, peer, route    of the machine                         device_key     of the owner's next device
--   names.parse(prefix, kind, name) -> {short =} | {owner =} | nil    whose it is; kind: group, policy, key, route
--   names.peer(name) -> short | nil

local ids = require "ids"

local M = {}

function M.of(prefix, rec)
  local out = {
    group = prefix .. "-user-" .. rec.owner, control_group = prefix .. "-control",
    policy = prefix .. "-user-" .. rec.owner, control_policy = prefix .. "-control-" .. rec.owner,
    device_key = prefix .. "-device-" .. rec.owner, host_key = prefix .. "-host",
  }
  if not rec.short then return out end
  out.key, out.route, out.peer = prefix .. "-machine-" .. rec.short, prefix .. "-" .. rec.short, "cc-" .. rec.short
  return out
end

local function owner(text) return (text == "operator" or ids.is_uuid(text)) and { owner = text } or nil end
local function short(text) return ids.is_short(text) and { short = text } or nil end

local forms = {
  group = { { "user", owner } },
  policy = { { "user", owner }, { "control", owner } },
  key = { { "machine", short }, { "device", owner } },
  route = { { nil, short } },
}

function M.parse(prefix, kind, name)
  for _, form in ipairs(forms[kind]) do
    local begin = prefix .. "-" .. (form[1] and form[1] .. "-" or "")
    if name:sub(1, #begin) == begin then
      local whose = form[2](name:sub(#begin + 1))
      if whose then return whose end
    end
  end
end

function M.peer(name)
  local text = name:match("^cc%-(%x+)$")
  return text and ids.is_short(text) and text or nil
end

return M
