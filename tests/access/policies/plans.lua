-- Plans that owe for what they use and are refused nothing, so that machines run where Stripe is set up (POLICIES_DIR).
local plan = { machines = 0, overage = true }

return { kind = "plans", default = "free", plans = { free = plan, starter = plan, pro = plan } }
