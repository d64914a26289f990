---@meta policies
-- Made by `cchost policy describe --meta` from lua/policy/kinds.lua: what policies are told and may call, for editors.

---The time of day in UTC, as in "17:42 UTC".
---@param seconds number unix time
---@return string
function clock(seconds) end

---The day in UTC, as in "2026-11-28": for a time that need not be today's.
---@param seconds number unix time
---@return string
function day(seconds) end

---A length of time in words, as in "2 h 5 min".
---@param seconds number
---@return string
function duration(seconds) end

---The table of another policy file: use "plans" is policies/plans.lua.
---@param name string
---@return table
function use(name) end

---@class policies.access.create
---@field machines integer machines that the account has
---@field most integer how many its plan allows; 0: any number
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field prepaid boolean for hours that were bought, or given by the operator: its plan does not limit it
---@field provider string where it would be made
---@field type string the machine type

---@class policies.access.limit
---@field base integer what RATE_LIMIT_AUTH and RATE_LIMIT_API say, a minute
---@field class "api"|"auth" "auth": signing in; "api": everything else
---@field plan? "free"|"starter"|"pro"|string the user's plan
---@field who "user"|"operator"|"nobody" counted by account (user), or by client address (the operator's key; nobody)

---@class policies.access.mails
---@field domain string what is behind the @ of the address

---@class policies.access.signup
---@field accounts integer accounts that there are
---@field domain string what is behind its @
---@field email string the address
---@field setting "open"|"closed" the setting SIGNUP

---@class policies.access.volume
---@field gib integer their size in all, GiB
---@field most_gib integer how many GiB its plan allows; 0: any number
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field provider string where they would be made
---@field size_gib integer of those that it would have beside them
---@field volumes integer volumes that the account has

---@class policies.access.wake
---@field machines integer machines that the account has
---@field most integer how many its plan allows; 0: any number
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field prepaid boolean for hours that were bought, or given by the operator: its plan does not limit it
---@field running integer others of the account that run or will; beside one of its plan without those of prepaid hours
---@field type string the machine type

---@class policies.billing.decide
---@field billing boolean money is asked for: Stripe is set up
---@field credit number the account's credit, in its currency
---@field grace number seconds that the plan gives after a failed payment
---@field granted boolean the operator has given the account its plan (cchost plan): it costs no fee
---@field hours_left number hours of the plan, and of the trial, that are left
---@field needs_subscription boolean the plan has a fee
---@field overage boolean the plan goes on beyond its hours, and bills them
---@field owed number what the account owes now, in its currency; while a subscription goes on, Stripe bills it
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field running integer its machines that run now, those within prepaid hours left out
---@field runs_out_at? integer when hours and credit end, if all goes on as it does
---@field subscription "inactive"|"trialing"|"active"|"past_due"|"unpaid"|"paused"|"canceled"|"incomplete"|"incomplete_expired" the subscription's status, as Stripe calls it; "inactive": there is none
---@field subscription_since? integer since when it has that status

---@class policies.expiry.decide
---@field created_at integer when it was made
---@field expires_at integer when its hours are over
---@field id string the machine's uuid
---@field labels table<string, string> its labels
---@field name string its name
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field refunded boolean they ended then because what was paid for them went back
---@field status "RUNNING"|"STOPPED"|"ERROR" its status
---@field type string its machine type

---@class policies.health.decide
---@field busy_at? integer when its agent last saw a turn of Claude, a login over ssh, or a load of 0.5 and more
---@field connections integer terminals and other streams that are open through us
---@field error string what was heard last
---@field failing_since integer when it was first found to fail
---@field failures integer how often in a row it has failed
---@field id string the machine's uuid
---@field input_at? integer the last bytes typed, or command run, by its user
---@field labels table<string, string> its labels
---@field lease_reason? string what its holder said
---@field lease_until? integer until when a busy lease is held
---@field most integer how often in an hour it may be (HEALTH_RESTARTS_PER_HOUR); the host keeps to it, too
---@field name string its name
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field provider string where it is
---@field restarts integer how often it was restarted since it fails
---@field restarts_hour integer how often within the last hour
---@field source "agent"|"provider" what fails: its agent, which does not answer; or what its provider says of it, while the agent answers
---@field started_at integer when it began to run
---@field type string its machine type
---@field widespread boolean more than two machines of its provider, and more than a quarter, fail now

---@class policies.idle.decide
---@field busy_at? integer when the agent last saw a turn of Claude, a login over ssh, or a load of 0.5 and more
---@field connections integer terminals and other streams that are open through us
---@field created_at integer when it was made
---@field disconnected_at? integer when the last of them ended
---@field foreground? string the program in the foreground of its newest terminal, when that is no shell
---@field id string the machine's uuid
---@field input_at? integer the last bytes typed, or command run, by its user; now, while those are at most a minute old
---@field labels table<string, string> its labels
---@field last_activity_at integer the latest of started_at, input_at, and the end of the last lease
---@field lease_ended_at? integer when the last busy lease that is over ended
---@field lease_reason? string what its holder said
---@field lease_until? integer until when a busy lease is held
---@field load? number processors in use, on average
---@field name string its name
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field provider string where it is
---@field report_at? integer when the machine's agent last told of itself; what follows is of then
---@field ssh_sessions? integer logins over ssh
---@field started_at integer when it began to run
---@field threshold number seconds unused: its plan's, else IDLE_THRESHOLD
---@field turn? boolean a turn of Claude is under way
---@field type string its machine type

---@class policies.idle.lease
---@field held integer seconds that the machine has had leases, one or another, with no pause of 15 minutes
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field reason string what its holder says
---@field ttl integer seconds asked for

---@class policies.orphans.decide
---@field grace number the setting ORPHAN_GRACE_SECONDS
---@field provider string where it is
---@field setting "report"|"delete" the setting ORPHANS
---@field short string its name there, without cc-
---@field since integer when a sweep first saw it

---@class policies.placement.place
---@field default string the setting PROVIDER
---@field image string the image asked for
---@field labels table<string, string> the request's labels
---@field location? string the location that the request names
---@field owner string the account that has it; "operator" for the operator's own
---@field plan "free"|"starter"|"pro"|string the account's plan
---@field provider? string the provider that the request names
---@field type string the machine type asked for, or the default

machine = {}
---[waits]
---@return any value, table|nil err
function machine.create(...) end
---[waits]
---@return any value, table|nil err
function machine.destroy(...) end
---[waits]
---@return any value, table|nil err
function machine.start(...) end
---[waits]
---@return any value, table|nil err
function machine.stop(...) end
---[waits]
---@return any value, table|nil err
function machine.make_volumes(...) end
---[waits]
---@return any value, table|nil err
function machine.exec(...) end
http = {}
---[waits]
---@return any value, table|nil err
function http.request(...) end
log = {}
---[waits]
---@return any value, table|nil err
function log.info(...) end
---[waits]
---@return any value, table|nil err
function log.warn(...) end
netbird = {}
---[waits]
---@return any value, table|nil err
function netbird.group(...) end
---[waits]
---@return any value, table|nil err
function netbird.key(...) end
---[waits]
---@return any value, table|nil err
function netbird.join(...) end
---[waits]
---@return any value, table|nil err
function netbird.policy(...) end
---[waits]
---@return any value, table|nil err
function netbird.route(...) end
---[waits]
---@return any value, table|nil err
function netbird.remove(...) end
---[waits]
---@return any value, table|nil err
function netbird.remove_last(...) end
---[waits]
---@return any value, table|nil err
function netbird.request(...) end
instances = {}
---[waits]
---@return any value, table|nil err
function instances.get(...) end
---[waits]
---@return any value, table|nil err
function instances.list(...) end
---[waits]
---@return any value, table|nil err
function instances.create(...) end
---[waits]
---@return any value, table|nil err
function instances.start(...) end
---[waits]
---@return any value, table|nil err
function instances.stop(...) end
---[waits]
---@return any value, table|nil err
function instances.delete(...) end
---[waits]
---@return any value, table|nil err
function instances.patch(...) end
---[waits]
---@return any value, table|nil err
function instances.extend(...) end
policy = {}
---[waits]
---@return any value, table|nil err
function policy.generation(...) end
time = {}
---[waits]
---@return any value, table|nil err
function time.now(...) end
housekeeping = {}
---[waits]
---@return any value, table|nil err
function housekeeping.forget(...) end
---[waits]
---@return any value, table|nil err
function housekeeping.processes(...) end
---[waits]
---@return any value, table|nil err
function housekeeping.netbird(...) end
