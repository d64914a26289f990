-- What becomes of a machine at a provider that carries our label and that no record knows.
--
-- decide(o, now) -> "report" | "delete", reason

local P = { kind = "orphans", name = "default", version = 1 }

function P.decide(o, now)
  if o.setting == "report" then return "report", "the setting ORPHANS says so" end
  if now - o.since >= o.grace then return "delete", "seen for " .. duration(now - o.since) end
  return "report", "seen for " .. duration(now - o.since) .. " only"
end

function P.selftest(is)
  local o = { provider = "mock", short = "0123456789ab", since = 0, setting = "delete", grace = 3600 }
  is(P.decide(o, 3599), "report")
  is(P.decide(o, 3600), "delete")
end

return P
