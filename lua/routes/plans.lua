-- GET /plans: what there is and what it costs, open to all.

local app = require "app"
local decisions = require "idle.decisions"
local offers = require "offers"
local policy = require "policy"
local time = require "time"

app.get("/plans", {
  open = true, does = "What is offered today, by `policies/plans.lua`", gives = { [200] = "Offers" },
  more = [[The cheapest plan first. `hour_micro` while a machine runs, `block_micro` of an hour bought beforehand, `storage_micro`
    of a GiB and hour of a stopped machine's disk; micro-units of `currency`; 0 machines or GiB: any number. `checkout`: whether
    one pays here, by Stripe; `for_sale`: plans that one can subscribe to.]],
}, function()
  return 200, offers.of(policy.data("plans"), time.now(), decisions.threshold)
end)
