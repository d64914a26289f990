-- Who may ask how often.
--
-- limit(r) -> requests a minute, burst (default: the same), reason
--   r.class   "auth" (signing in) or "api" (everything else)
--   r.base    what the settings RATE_LIMIT_AUTH and RATE_LIMIT_API say
--   r.who     "user" (counted by account), "operator" (his key) or "nobody" (both by client address, each on his own)
--   r.plan    the user's plan
-- mails(r) -> links to sign in that one address is sent in an hour (0: no limit), reason
--   Nobody is locked out by others asking in his name: each link that they make him get is good, and is his.
-- Pure: plain data in, plain data out.

local P = { kind = "access", name = "default", version = 1 }

function P.limit(r)
  return r.base, r.base, "the setting"
end

function P.mails()
  return 20, "more is no person who waits for his mail"
end

function P.selftest(is)
  is(P.mails {}, 20)
  is(P.limit { class = "api", base = 60, who = "user", plan = "free" }, 60)
end

return P
