-- What plans there are, and what things cost.
--
-- plans[name] = {
--   machines   how many the account may have; 0: any number (and no more than the setting QUOTA_INSTANCES). Machines of
--              prepaid hours do not count
--   volumes_gib   how many GiB of volumes in all; absent, or 0: any number. A machine's own volume does not count
--   types      the machine types that it may have; absent: all        providers   likewise
--   idle       seconds unused after which a machine is stopped; absent: the setting IDLE_THRESHOLD
--   warn_mail  whether a warning before a stop is mailed, too
--   fee        what a month costs, each from a day (UTC) on, oldest first; who has no fee needs no subscription
--   included   hours of machines that run, in each month or period of the subscription
--   trial      hours once, for a new account
--   overage    whether hours beyond those go on and are billed; else they end with the credit, and so they do for who has no
--              subscription where Stripe is set up: nobody would bill them
--   grace      seconds that machines may go on after a payment has failed
-- }
-- price: from a day (UTC) on, oldest first, in micro-units (1000000 is one of the currency):
--   hour     of a machine that runs, by its type; a type that is not there costs nothing
--   storage  of a GiB of a machine that is stopped, an hour: of its own disk. Volumes, attached or kept, cost nothing
--   block    of an hour that is bought beforehand; absent: as `hour`
--
-- What else stands here is yours, for other policies to read; a name that is nearly one of these is refused.
--
-- A day that comes, and an edit, take effect at that moment, also for what runs: the hours before it cost what they cost.
-- A day that is past takes effect when the file is taken, and changes no bill. `cchost whatif` tells what other policies would
-- have cost.

local HOUR, DAY = 3600, 86400

return {
  kind = "plans", name = "default", version = 1,
  default = "free", -- of a new account
  currency = "USD",
  plans = {
    free = { machines = 1, volumes_gib = 50, idle = 2 * HOUR, trial = 5 },
    starter = {
      machines = 1, volumes_gib = 100, idle = 2 * HOUR, included = 20, overage = true, grace = 3 * DAY,
      fee = { { from = "2026-01-01", month = 19000000 } },
    },
    pro = {
      machines = 0, warn_mail = true, included = 60, overage = true, grace = 7 * DAY,
      fee = { { from = "2026-01-01", month = 29000000 } },
    },
  },
  price = {
    {
      from = "2026-01-01",
      hour = {
        tiny = 20000, small = 40000, medium = 80000, large = 160000,
        cpx11 = 7000, cpx21 = 10000, cpx31 = 19000,
      },
      storage = 100,
    },
  },
}
