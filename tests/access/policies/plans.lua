-- Plans that owe for what they use and are refused nothing, so that machines run where Stripe is set up (POLICIES_DIR).
return {
  kind = "plans", default = "free",
  plans = { free = { machines = 0, overage = true }, starter = { machines = 0, overage = true }, pro = { machines = 0, overage = true } },
}
