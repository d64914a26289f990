-- What plans there are. An account's plan says how many machines it may have and how long they may stand unused.
--
-- plans[name] = {
--   machines   how many the account may have; 0: any number (and no more than the setting QUOTA_INSTANCES)
--   idle       seconds unused after which a machine is stopped; absent: the setting IDLE_THRESHOLD
--   warn_mail  whether a warning before a stop is mailed, too
-- }
-- price: what an hour of a machine that runs costs, by its type, in micro-units (1000000 is one), each from a day (UTC) on;
--   oldest first. A type that is not there costs nothing. `cchost whatif` tells with it what other policies would have cost.

local HOUR = 3600

return {
  kind = "plans", name = "default", version = 1,
  default = "free", -- of a new account
  plans = {
    free = { machines = 0, idle = 2 * HOUR },
    starter = { machines = 0, idle = 2 * HOUR },
    pro = { machines = 0, warn_mail = true },
  },
  price = {
    { from = "2026-01-01", hour = { tiny = 10000, small = 20000, medium = 40000, large = 80000,
      cpx11 = 7000, cpx21 = 10000, cpx31 = 19000 } },
  },
}
