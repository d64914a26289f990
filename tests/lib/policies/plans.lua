-- Plans without limits and without money, for tests of other things (POLICIES_DIR).
return {
  kind = "plans", default = "free",
  plans = { free = { machines = 0 }, starter = { machines = 0 }, pro = { machines = 0 } },
}
