-- What plans there are. An account's plan says how many machines it may have and how long they may stand unused.
--
-- plans[name] = {
--   machines   how many the account may have; 0: any number (and no more than the setting QUOTA_INSTANCES)
--   idle       seconds unused after which a machine is stopped; absent: the setting IDLE_THRESHOLD
--   warn_mail  whether a warning before a stop is mailed, too
-- }

local HOUR = 3600

return {
  kind = "plans", name = "default", version = 1,
  default = "free", -- of a new account
  plans = {
    free = { machines = 0, idle = 2 * HOUR },
    starter = { machines = 0, idle = 2 * HOUR },
    pro = { machines = 0, warn_mail = true },
  },
}
