-- Where a new machine is made.
--
-- place(r) -> {provider =, type =, location =, fallbacks = {{provider =, type =, location =}, ...}}, reason
-- What a request names is what it gets; the fallbacks are tried in order when the first place cannot do it now.

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
