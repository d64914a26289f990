-- Plans whose hours do not end, so that machines run where Stripe is set up (POLICIES_DIR).
local plan = { machines = 0, included = 1000 }

return { kind = "plans", default = "free", plans = { free = plan, starter = plan, pro = plan } }
