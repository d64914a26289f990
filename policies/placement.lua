-- Where a new machine is made.
--
-- place(r) -> {provider =, type =, location =, fallbacks = {{provider =, type =, location =}, ...}}, reason
-- What a request names is what it gets; the fallbacks are tried in order when the first place cannot do it now.

-- At Hetzner a type may be sold out where it is asked for; then the next of these is tried at once:
--
--   local place = { provider = "hetzner", type = r.type, location = r.location or "fsn1" }
--   place.fallbacks = {
--     { provider = "hetzner", type = r.type, location = "nbg1" },
--     { provider = "hetzner", type = "cpx31", location = "hel1" },
--   }
--   return place, "Falkenstein, else where it can be had"

local P = { kind = "placement", name = "default", version = 1 }

function P.place(r)
  local place = { provider = r.provider or r.default, type = r.type, location = r.location }
  return place, r.provider and "the request names it" or "the setting PROVIDER"
end

function P.selftest(is)
  is(P.place({ default = "local", type = "small", labels = {}, image = "host", owner = "u", plan = "free" }).provider, "local")
  is(P.place({ default = "local", provider = "mock", type = "small", labels = {}, image = "host", owner = "u", plan = "free" })
    .provider, "mock")
end

return P
