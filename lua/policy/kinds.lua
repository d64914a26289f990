-- What policies there are: the file of each kind, its functions, what goes into them and what may come out.
--
-- Everything else reads this table: the loader (is a file whole, is a verdict one that there is?), explain and fuzz (what
-- could an input have been?), the docs, the annotations for editors.
--
-- A kind: {file =, doc =, optional = sets from before there was such a file have none,
--   host = names of the host functions that its code may call (only code that waits), functions =,
--   data = fault(table without its functions, has(field) -> whether there is a function) -> why it cannot be, or nil,
--   doubts = fn(the same table) -> {what may be, and is likely a slip}}     both begin with the field: "plans.free.types[1]: ..."
-- A function: {input = fields, now = whether its second argument is the time, verdicts = what its first result may be,
--   fault(...) -> why its results cannot be, or nil (in place of verdicts), safe(input, why) -> what is done when it fails,
--   would = {[verdict] = what would have become of it, or {[the verdict that it was] = the same}}, otherwise = of any other}
-- A field: {type, doc =, optional = may be absent, ...}; explain changes a field by the points of its grid (policy/grid.lua):
--   past, future: a time that is not after `now`, or after it    least, most: fields that it is not before, or not after
--   derived(input) -> what it must be beside those in `from`, also nil: grid.settle brings inputs into order by it
--   say: what people call it, for the sentences of explain: {moved =, given =, gone =}; unit (policy/say.lua)
--   "time"    unix seconds                               "count"  a whole number from 0 to `max`
--   "number"  from `min` to `max`, in steps of `step`    "flag"   true or false
--   "enum"    one of `of`                                "text", "map"   no grid: explain leaves them as they are
--   personal: not kept among the samples

local schema = require "schema"
local spelling = require "spelling"
local time = require "time"
local types = require "types"

local M = {}

local function text(doc, optional) return { "text", doc = doc, optional = optional } end
local function past(doc, optional, say) return { "time", doc = doc, optional = optional, past = true, say = say } end
local function count(doc, max) return { "count", max = max, doc = doc } end

-- What is known of a user, as every kind sees it.
local user = {
  owner = text "the account that has it; \"operator\" for the operator's own",
  plan = { "enum", of = { "free", "starter", "pro" }, open = true, doc = "the account's plan" },
}

local function with(fields)
  for name, field in pairs(user) do fields[name] = fields[name] or field end
  return fields
end

local function keep(_, why) return "keep", why end
local function deny(_, why) return "deny", why end

-- ---- idle

local none = { load = 0, turn = false, ssh_sessions = 0 } -- what an agent reports of a machine that does nothing

-- What is known from the agent's report alone: there when it has reported.
local function of_report(field)
  return function(m)
    if not m.report_at then return nil end
    local v = m[field]
    if v == nil then return none[field] end
    return v
  end
end

-- As timeline.lua has it: a report of work is work at its time, and no work is known of that no report told.
local function busy_at(m)
  local report = m.report_at
  if not report then return nil end
  if m.turn or (m.load or 0) >= 0.5 or (m.ssh_sessions or 0) > 0 then return report end
  return m.busy_at and math.min(m.busy_at, report)
end

local function last_activity_at(m) return math.max(m.started_at, m.input_at or 0, m.lease_ended_at or 0) end

M.idle = {
  file = "idle.lua", doc = "when a machine that runs is idle, and is warned or stopped",
  functions = {
    lease = {
      fault = function(n, reason)
        if type(n) ~= "number" or n < 0 or n > 30 * 86400 or n % 1 ~= 0 then
          return "seconds expected, whole, to 2592000 (0: refused)"
        end
        if type(reason) ~= "string" then return "a reason expected as the second result" end
      end,
      safe = function(r, why) return math.min(r.ttl, 3600), why end, otherwise = "been granted for another time",
      input = with {
        ttl = count("seconds asked for", 2592000),
        held = count("seconds that the machine has had leases, one or another, with no pause of 15 minutes", 1e9),
        reason = text "what its holder says",
      },
    },
    decide = {
      now = true, verdicts = { "keep", "warn", "stop" }, safe = keep, recorded = true,
      would = { keep = "stayed up", warn = { keep = "been warned", stop = "stayed up" }, stop = "been stopped" },
      input = with {
        id = text "the machine's uuid", name = text "its name", type = text "its machine type",
        provider = text "where it is", labels = { "map", doc = "its labels" },
        created_at = { "time", past = true, most = "started_at", doc = "when it was made" },
        started_at = { "time", past = true, least = "created_at", doc = "when it began to run", say = { moved = "its start" } },
        threshold = { "number", min = 60, max = 31536000, step = 60, unit = "s",
          doc = "seconds unused: its plan's, else IDLE_THRESHOLD", say = { moved = "a threshold" } },
        input_at = past("the last bytes typed, or command run, by its user; now, while those are at most a minute old", true,
          { moved = "input", given = "input", gone = "no input" }),
        connections = count("terminals and other streams that are open through us", 1000),
        disconnected_at = past("when the last of them ended", true),
        report_at = past("when the machine's agent last told of itself; what follows is of then", true,
          { moved = "the agent's report", given = "a report of its agent", gone = "no report of its agent" }),
        load = { "number", min = 0, max = 64, step = 0.05, optional = true, doc = "processors in use, on average",
          from = { "report_at" }, derived = of_report "load", say = { moved = "a load" } },
        foreground = { "text", optional = true, from = { "report_at" }, derived = of_report "foreground",
          doc = "the program in the foreground of its newest terminal, when that is no shell" },
        busy_at = { "time", optional = true, past = true, derived = busy_at,
          from = { "report_at", "turn", "load", "ssh_sessions" },
          doc = "when the agent last saw a turn of Claude, a login over ssh, or a load of 0.5 and more",
          say = { moved = "work", given = "work", gone = "no work" } },
        turn = { "flag", optional = true, doc = "a turn of Claude is under way",
          from = { "report_at" }, derived = of_report "turn",
          say = { given = "a turn of Claude under way", gone = "no turn of Claude under way" } },
        ssh_sessions = { "count", max = 1000, optional = true, doc = "logins over ssh", from = { "report_at" },
          derived = of_report "ssh_sessions" },
        lease_until = { "time", optional = true, future = true, doc = "until when a busy lease is held",
          say = { moved = "its busy lease ending", given = "a busy lease", gone = "no busy lease" } },
        lease_reason = { "text", optional = true, doc = "what its holder said", from = { "lease_until" },
          derived = function(m) return m.lease_until and (m.lease_reason or "work") end },
        lease_ended_at = past("when the last busy lease that is over ended", true,
          { moved = "the end of the last busy lease", given = "a busy lease that ended", gone = "no busy lease before" }),
        last_activity_at = { "time", past = true, derived = last_activity_at,
          from = { "started_at", "input_at", "lease_ended_at" },
          doc = "the latest of started_at, input_at, and the end of the last lease" },
      },
    },
  },
}

-- ---- names

-- A typing error in a name must not be a silent default.
local function unknown_field(item, names)
  for name in pairs(item) do
    if not (" " .. names .. " "):find(" " .. tostring(name) .. " ", 1, true) then
      return ("unknown field '%s'; expected: %s"):format(tostring(name), names)
    end
  end
end

-- The same where data of the operator's own may stand beside ours: only a name that is nearly one of ours is refused.
local function misspelt(item, names, at)
  local list, fault, first = {}, nil, nil
  for name in names:gmatch("%S+") do list[#list + 1] = name end
  for name in pairs(item) do
    local near = type(name) == "string" and spelling.nearest(name, list, #name > 4 and 2 or 1)
    if near and near ~= name and (not first or name < first) then
      fault, first = ("%sunknown field '%s'; did you mean '%s'?"):format(at, name, near), name
    end
  end
  return fault
end

-- ---- plans

local function positive(v) return type(v) == "number" and v > 0 and v < 1e15 end

local function is_micro(v, most) return type(v) == "number" and v >= 0 and v <= most and v % 1 == 0 end

-- A list of what is so from a day on, oldest first; each entry is looked at by fault(entry, its name).
local function dated_fault(list, name, fault)
  if list == nil then return nil end
  if type(list) ~= "table" then return name .. ": a list of {from = a day, ...} expected" end
  local n, before = 0, ""
  for _ in pairs(list) do n = n + 1 end
  if n ~= #list then return name .. ": a list of {from = a day, ...} expected" end
  for i, p in ipairs(list) do
    local at = ("%s[%d]"):format(name, i)
    local from = type(p) == "table" and p.from
    if type(from) ~= "string" or not from:match("^%d%d%d%d%-%d%d%-%d%d$") or not time.parse(from .. "T00:00:00Z") then
      return at .. ".from: a day like 2026-01-01 expected"
    end
    if from <= before then return at .. ".from: a day behind that of the one before expected" end
    before = from
    local why = fault(p, at)
    if why then return why end
  end
end

local function names_fault(list)
  if type(list) ~= "table" then return "a list of names expected" end
  for _, v in ipairs(list) do
    if type(v) ~= "string" then return "a list of names expected" end
  end
end

local function by_type_fault(map, at)
  if type(map) ~= "table" then return at .. ": {type = micro-units} expected" end
  for name, micro in pairs(map) do
    if type(name) ~= "string" or not is_micro(micro, 1e9 - 1) then
      return ("%s.%s: whole micro-units below 1000000000 expected"):format(at, tostring(name))
    end
  end
end

local function plan_fault(name, plan)
  if type(name) ~= "string" or not name:match("^[%w_-]+$") then return "plans: a name of letters, digits, _ and - expected" end
  if type(plan) ~= "table" then return ("plans.%s: a table expected"):format(name) end
  if type(plan.machines) ~= "number" or plan.machines < 0 or plan.machines % 1 ~= 0 then
    return ("plans.%s.machines: a whole number expected (0: any number)"):format(name)
  end
  local gib = plan.volumes_gib
  if gib ~= nil and (type(gib) ~= "number" or gib < 0 or gib % 1 ~= 0) then
    return ("plans.%s.volumes_gib: a whole number expected (0: any number)"):format(name)
  end
  if plan.idle ~= nil and not positive(plan.idle) then return ("plans.%s.idle: seconds expected"):format(name) end
  for _, field in ipairs { "included", "trial" } do
    local v = plan[field]
    if v ~= nil and (type(v) ~= "number" or v < 0 or v > 1e6) then return ("plans.%s.%s: hours expected"):format(name, field) end
  end
  if plan.grace ~= nil and not positive(plan.grace) then return ("plans.%s.grace: seconds expected"):format(name) end
  if plan.overage ~= nil and type(plan.overage) ~= "boolean" then
    return ("plans.%s.overage: true or false expected"):format(name)
  end
  for _, field in ipairs { "types", "providers" } do
    local why = plan[field] ~= nil and names_fault(plan[field])
    if why then return ("plans.%s.%s: %s"):format(name, field, why) end
  end
  if plan.warn_mail ~= nil and type(plan.warn_mail) ~= "boolean" then
    return ("plans.%s.warn_mail: true or false expected"):format(name)
  end
  local known = "machines volumes_gib types providers idle warn_mail fee included trial overage grace"
  local why = misspelt(plan, known, "plans." .. name .. ": ")
  if why then return why end
  return dated_fault(plan.fee, ("plans.%s.fee"):format(name), function(f, at)
    if not is_micro(f.month, 1e12) then return at .. ".month: whole micro-units expected" end
    local unknown = unknown_field(f, "from month")
    return unknown and at .. ": " .. unknown
  end)
end

local function price_fault(list)
  return dated_fault(list, "price", function(p, at)
    if p.storage ~= nil and not is_micro(p.storage, 1e6) then
      return at .. ".storage: whole micro-units, to 1000000, expected"
    end
    local unknown = unknown_field(p, "from hour storage block")
    if unknown then return at .. ": " .. unknown end
    return by_type_fault(p.hour, at .. ".hour") or p.block ~= nil and by_type_fault(p.block, at .. ".block") or nil
  end)
end

-- Pure data: M.plans = {name = {machines =, idle =, ...}}
local function plans_fault(P)
  if type(P.plans) ~= "table" or next(P.plans) == nil then return "plans: a table of plans expected" end
  local unknown = misspelt(P, "kind name version default currency plans price", "")
  if unknown then return unknown end
  local names = {}
  for name in pairs(P.plans) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    local why = plan_fault(name, P.plans[name])
    if why then return why end
  end
  if not P.plans[P.default] then return "default: the name of one of the plans expected" end
  if P.currency ~= nil and (type(P.currency) ~= "string" or not P.currency:match("^%u%u%u$")) then
    return "currency: three capital letters like USD expected"
  end
  return price_fault(P.price)
end

-- A type that there is not has no price and no machine: it may be one that comes, and is more likely a slip.
local function type_doubts(P)
  local names, out = {}, {}
  for i, known in ipairs(types.list()) do names[i] = known.name end
  local function look(at, name)
    if type(name) ~= "string" or types.get(name) then return end
    local near = spelling.nearest(name, names, math.max(2, math.ceil(#name / 2)))
    out[#out + 1] = ("%s: there is no machine type '%s'; %s"):format(at, name:sub(1, 60),
      near and ("did you mean '%s'?"):format(near) or "there are: " .. table.concat(names, ", "))
  end
  for name, plan in pairs(P.plans) do
    for i, of in ipairs(plan.types or {}) do look(("plans.%s.types[%d]"):format(name, i), of) end
  end
  for i, price in ipairs(P.price or {}) do
    for _, list in ipairs { "hour", "block" } do
      for of in pairs(price[list] or {}) do look(("price[%d].%s.%s"):format(i, list, of), of) end
    end
  end
  table.sort(out)
  return out
end

M.plans = {
  file = "plans.lua", doc = "what plans there are: how many machines, how long they may idle",
  data = plans_fault, doubts = type_doubts, functions = {},
}

-- ---- placement

local function place_fault(place, reason)
  if type(place) ~= "table" then return "a table {provider =, type =, location =} and a reason expected" end
  for _, name in ipairs { "provider", "type" } do
    if type(place[name]) ~= "string" then return name .. ": a text expected" end
  end
  if place.location ~= nil and type(place.location) ~= "string" then return "location: a text or nothing expected" end
  if place.fallbacks ~= nil and type(place.fallbacks) ~= "table" then return "fallbacks: a list of such tables expected" end
  for i, other in ipairs(place.fallbacks or {}) do
    local why = type(other) ~= "table" and "a table expected" or other.fallbacks and "no fallbacks of a fallback expected"
      or place_fault(other, "")
    if why then return ("fallbacks[%d]: %s"):format(i, why) end
  end
  if type(reason) ~= "string" then return "a reason expected behind the place" end
end

M.placement = {
  file = "placement.lua", doc = "where a new machine is made, and where else when that fails",
  functions = {
    place = {
      fault = place_fault, otherwise = "been placed otherwise",
      safe = function(r, why) return { provider = r.provider or r.default, type = r.type, location = r.location }, why end,
      input = with {
        provider = text("the provider that the request names", true), type = text "the machine type asked for, or the default",
        location = text("the location that the request names", true), default = text "the setting PROVIDER",
        labels = { "map", doc = "the request's labels" }, image = text "the image asked for",
      },
    },
  },
}

-- ---- access

local function limit_fault(rate, burst, reason)
  if type(rate) ~= "number" or rate < 0 or rate > 1e6 or rate % 1 ~= 0 then
    return "requests a minute expected, a whole number to 1000000 (0: no limit)"
  end
  if burst ~= nil and (type(burst) ~= "number" or burst < 1 or burst > 1e6 or burst % 1 ~= 0) and rate > 0 then
    return "a burst from 1 to 1000000 expected behind the rate"
  end
  if type(reason) ~= "string" then return "a reason expected as the third result" end
end

local asking = {
  machines = count("machines that the account has", 100000),
  most = count("how many its plan allows; 0: any number", 100000),
}

M.access = {
  file = "access.lua", doc = "who may sign up, make a machine or a volume, wake one; how often somebody may ask",
  functions = {
    limit = {
      fault = limit_fault, safe = function(r, why) return r.base, r.base, why end,
      input = {
        class = { "enum", of = { "api", "auth" }, doc = "\"auth\": signing in; \"api\": everything else" },
        base = count("what RATE_LIMIT_AUTH and RATE_LIMIT_API say, a minute", 1000000),
        who = { "enum", of = { "user", "operator", "nobody" },
          doc = "counted by account (user), or by client address (the operator's key; nobody)" },
        plan = { "enum", of = { "free", "starter", "pro" }, open = true, optional = true, doc = "the user's plan",
          from = { "who" }, derived = function(r) return r.who ~= "nobody" and r.plan or nil end },
      },
    },
    mails = {
      fault = function(n, reason)
        if type(n) ~= "number" or n < 0 or n > 10000 or n % 1 ~= 0 then
          return "mails an hour expected, a whole number to 10000"
        end
        if type(reason) ~= "string" then return "a reason expected as the second result" end
      end,
      safe = function(_, why) return 20, why end,
      input = { domain = text "what is behind the @ of the address" },
    },
    signup = {
      verdicts = { "allow", "deny" }, safe = deny, would = { allow = "been allowed", deny = "been refused" },
      input = {
        email = { "text", personal = true, doc = "the address" }, domain = text "what is behind its @",
        setting = { "enum", of = { "open", "closed" }, doc = "the setting SIGNUP" },
        accounts = count("accounts that there are", 1e9),
      },
    },
    create = {
      verdicts = { "allow", "deny" }, safe = deny, would = { allow = "been allowed", deny = "been refused" },
      input = with {
        machines = asking.machines, most = asking.most, type = text "the machine type", provider = text "where it would be made",
        prepaid = { "flag", doc = "for hours that were bought, or given by the operator: its plan does not limit it" },
      },
    },
    volume = {
      verdicts = { "allow", "deny" }, safe = deny, would = { allow = "been allowed", deny = "been refused" },
      input = with {
        volumes = count("volumes that the account has", 100000), gib = count("their size in all, GiB", 1e9),
        size_gib = count("of those that it would have beside them", 1e9), provider = text "where they would be made",
        most_gib = count("how many GiB its plan allows; 0: any number", 1e9),
      },
    },
    wake = {
      verdicts = { "allow", "deny" }, safe = deny, would = { allow = "been allowed", deny = "been refused" },
      input = with {
        machines = asking.machines, most = asking.most, type = text "the machine type",
        running = count("others of the account that run or will; beside one of its plan without those of prepaid hours", 100000),
        prepaid = { "flag", doc = "for hours that were bought, or given by the operator: its plan does not limit it" },
      },
    },
  },
}

-- ---- billing

local statuses = { "inactive", "trialing", "active", "past_due", "unpaid", "paused", "canceled", "incomplete",
  "incomplete_expired" }

M.billing = {
  file = "billing.lua", doc = "whether an account's machines may run, as far as money goes",
  functions = {
    decide = {
      now = true, verdicts = { "run", "warn", "stop", "hold" }, safe = function(_, why) return "hold", why end,
      would = { run = "been let run", warn = "been warned", stop = "been stopped", hold = "been left as it was" },
      input = with {
        billing = { "flag", doc = "money is asked for: Stripe is set up" },
        needs_subscription = { "flag", doc = "the plan has a fee" },
        granted = { "flag", doc = "the operator has given the account its plan (cchost plan): it costs no fee" },
        subscription = { "enum", of = statuses,
          doc = "the subscription's status, as Stripe calls it; \"inactive\": there is none" },
        subscription_since = past("since when it has that status", true),
        overage = { "flag", doc = "the plan goes on beyond its hours, and bills them" },
        grace = { "number", min = 0, max = 31536000, step = 60, unit = "s",
          doc = "seconds that the plan gives after a failed payment" },
        hours_left = { "number", min = 0, max = 1e6, step = 0.25, doc = "hours of the plan, and of the trial, that are left" },
        credit = { "number", min = 0, max = 1e9, step = 0.01, doc = "the account's credit, in its currency" },
        owed = { "number", min = 0, max = 1e9, step = 0.01, doc = "what the account owes now, in its currency; while a "
          .. "subscription goes on, Stripe bills it" },
        runs_out_at = { "time", optional = true, doc = "when hours and credit end, if all goes on as it does" },
        running = count("its machines that run now, those within prepaid hours left out", 100000),
      },
    },
  },
}

-- ---- expiry

M.expiry = {
  file = "expiry.lua", doc = "what becomes of a machine whose hours are over: warned, stopped, kept for a while, deleted",
  functions = {
    decide = {
      now = true, verdicts = { "keep", "warn", "stop", "delete" }, safe = keep, recorded = true,
      would = { keep = "been left alone", warn = "been warned", stop = "been stopped", delete = "been deleted" },
      input = with {
        id = text "the machine's uuid", name = text "its name", type = text "its machine type",
        labels = { "map", doc = "its labels" },
        status = { "enum", of = { "RUNNING", "STOPPED", "ERROR" }, doc = "its status" },
        created_at = past "when it was made",
        expires_at = { "time", doc = "when its hours are over", say = { moved = "its hours ending" } },
        refunded = { "flag", doc = "they ended then because what was paid for them went back" },
      },
    },
  },
}

-- ---- health

M.health = {
  file = "health.lua", optional = true, doc = "what is done about a machine that runs and fails: nothing, or a restart",
  functions = {
    decide = {
      now = true, verdicts = { "keep", "restart" }, safe = keep, recorded = true,
      would = { keep = "been left as it was", restart = "been restarted" },
      input = with {
        id = text "the machine's uuid", name = text "its name", type = text "its machine type", provider = text "where it is",
        labels = { "map", doc = "its labels" },
        started_at = past("when it began to run", false, { moved = "its start" }),
        failing_since = past("when it was first found to fail", false, { moved = "its first failure" }),
        failures = count("how often in a row it has failed", 1000000),
        source = { "enum", of = { "agent", "provider" },
          doc = "what fails: its agent, which does not answer; or what its provider says of it, while the agent answers" },
        error = text "what was heard last",
        restarts = count("how often it was restarted since it fails", 1000),
        restarts_hour = count("how often within the last hour", 60),
        most = count("how often in an hour it may be (HEALTH_RESTARTS_PER_HOUR); the host keeps to it, too", 60),
        connections = count("terminals and other streams that are open through us", 1000),
        input_at = past("the last bytes typed, or command run, by its user", true,
          { moved = "input", given = "input", gone = "no input" }),
        busy_at = past("when its agent last saw a turn of Claude, a login over ssh, or a load of 0.5 and more", true,
          { moved = "work", given = "work", gone = "no work" }),
        lease_until = { "time", optional = true, future = true, doc = "until when a busy lease is held",
          say = { moved = "its busy lease ending", given = "a busy lease", gone = "no busy lease" } },
        lease_reason = { "text", optional = true, doc = "what its holder said", from = { "lease_until" },
          derived = function(m) return m.lease_until and (m.lease_reason or "work") end },
        widespread = { "flag", doc = "more than two machines of its provider, and more than a quarter, fail now",
          say = { given = "many others failing", gone = "few others failing" } },
      },
    },
  },
}

-- ---- orphans

M.orphans = {
  file = "orphans.lua", doc = "what becomes of a machine at a provider that carries our label and that no record knows",
  functions = {
    decide = {
      now = true, verdicts = { "report", "delete" }, safe = function(_, why) return "report", why end, recorded = true,
      would = { report = "been reported only", delete = "been deleted" },
      input = {
        provider = text "where it is", short = text "its name there, without cc-",
        since = past("when a sweep first saw it", false, { moved = "the first sweep that saw it" }),
        setting = { "enum", of = { "report", "delete" }, doc = "the setting ORPHANS" },
        grace = { "number", min = 0, max = 2592000, step = 60, unit = "s", doc = "the setting ORPHAN_GRACE_SECONDS" },
      },
    },
  },
}

-- ---- what waits: its functions run as tasks (policy/waiting.lua), with what `host` names

local function list_fault(list, name, fault, has)
  if type(list) ~= "table" then return name .. ": a list expected" end
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  if n ~= #list then return name .. ": a list without gaps expected" end
  for i, item in ipairs(list) do
    local why = type(item) ~= "table" and "a table expected" or fault(item, ("%s.%d."):format(name, i), has)
    if why then return ("%s[%d]: %s"):format(name, i, why) end
  end
end

local function step_fault(step, at, has, fields)
  if type(step.name) ~= "string" or not step.name:match("^[%l%d_]+$") then return "name: small letters, digits and _ expected" end
  local why = unknown_field(step, fields)
  if why then return why end
  if not has(at .. "run") then return "run: a function expected" end
  if step.needs ~= nil and step.needs ~= "volumes" then return "needs: \"volumes\" or nothing expected" end
  if fields:find("undo", 1, true) and not has(at .. "undo") and type(step.no_undo) ~= "string" then
    return "undo: a function expected, or no_undo = \"why nothing is to be undone\""
  end
end

-- A list of steps whose names differ. fields: what a step may say
local function steps_fault(list, name, has, fields)
  local seen = {}
  return list_fault(list, name, function(step, at)
    local why = step_fault(step, at, has, fields)
    if not why and seen[step.name] then why = "a second step is called " .. step.name end
    if not why then seen[step.name] = true end
    return why
  end, has)
end

M.provision = {
  file = "provision.lua", doc = "how a new machine comes to be, step by step, and how each step is undone",
  host = { "machine.create", "machine.destroy", "machine.start", "machine.stop", "machine.make_volumes", "machine.exec",
    "http.request", "log.info", "log.warn" },
  data = function(P, has)
    if type(P.steps) == "table" and #P.steps == 0 then return "steps: at least one expected, which makes the machine" end
    return steps_fault(P.steps, "steps", has, "name needs run undo no_undo")
  end,
  functions = {},
}

M.netbird = {
  file = "netbird.lua", optional = true, doc = "how a machine joins its owner's network at Netbird, and leaves it",
  host = { "netbird.group", "netbird.key", "netbird.join", "netbird.policy", "netbird.route", "netbird.remove",
    "netbird.remove_last", "netbird.request", "machine.exec", "http.request", "log.info", "log.warn" },
  data = function(P, has)
    local why = names_fault(P.providers)
    if why then return "providers: " .. why end
    return steps_fault(P.prepare, "prepare", has, "name run undo no_undo")
      or steps_fault(P.finalize, "finalize", has, "name run undo no_undo")
      or steps_fault(P.teardown, "teardown", has, "name run")
  end,
  functions = {},
}

local methods = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true }

-- -> how many {values} it has | nil, why it cannot be
local function values_of(path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then return nil, "path: a path like /reports/{id} expected" end
  local values = 0
  for segment in (path == "/" and "" or path):gmatch("/([^/]*)") do
    if segment:match("^{%w+}$") then
      values = values + 1
    elseif not segment:match("^[%w_.-]+$") then
      return nil, "path: segments of letters, digits, _ . and -, or a whole {name}, expected"
    end
  end
  if values > 2 then return nil, "path: at most two {names} expected" end
  return values
end

local function route_fault(route, at, has)
  if not methods[route.method] then return "method: GET, POST, PUT, PATCH or DELETE expected" end
  local values, why = values_of(route.path)
  if not values then return why end
  why = unknown_field(route, "method path open scope admin object body handle")
  if why then return why end
  for _, name in ipairs { "open", "admin" } do
    if route[name] ~= nil and route[name] ~= true then return name .. ": true or nothing expected" end
  end
  if not route.open and type(route.scope) ~= "string" then
    return "scope: a scope expected (cchost routes lists them), or open = true"
  end
  if route.object ~= nil and route.object ~= "instance" then return "object: \"instance\" or nothing expected" end
  for _, name in ipairs { "scope", "admin", "object" } do
    if route.open and route[name] ~= nil then return name .. ": open = true says that anybody may, so there is none" end
  end
  if route.object and values == 0 then return "object: a {name} in the path expected, for it" end
  if values > 0 and not route.open and not route.object and not route.admin then
    return "object: \"instance\" expected, for {id} is one of the caller's; or admin = true, or open = true"
  end
  why = route.body ~= nil and schema.fault(route.body)
  if why then return "body: " .. why end
  if not has(at .. "handle") then return "handle: a function expected" end
end

M.routes = {
  file = "routes.lua", doc = "routes of the operator's own, under the caller's rights",
  host = { "instances.get", "instances.list", "instances.create", "instances.start", "instances.stop", "instances.delete",
    "instances.patch", "instances.extend", "policy.generation", "log.info", "log.warn", "time.now" },
  data = function(P, has) return list_fault(P.routes, "routes", route_fault, has) end,
  functions = {},
}

local function job_fault(job, at, has)
  if type(job.name) ~= "string" or not job.name:match("^[%w_.-]+$") then return "name: letters, digits, _ . and - expected" end
  if (job.every == nil) == (job.at == nil) then return "every = \"30m\" or at = \"30 3 * * mon-fri\" expected, one of them" end
  local why = unknown_field(job, "name every at zone missed deadline run")
  if why then return why end
  if not has(at .. "run") then return "run: a function expected" end
end

M.schedule = {
  file = "schedule.lua", doc = "named jobs, each at its interval or its times in a time zone, once however many hosts there are",
  host = { "housekeeping.forget", "housekeeping.processes", "housekeeping.netbird", "instances.list", "instances.get",
    "instances.start", "instances.stop", "instances.delete", "http.request", "log.info", "log.warn", "time.now" },
  data = function(P, has)
    local seen = {}
    return list_fault(P.jobs, "jobs", function(job, at)
      local why = job_fault(job, at, has)
      if not why and seen[job.name] then why = "a second job is called " .. job.name end
      seen[job.name or ""] = true
      return why
    end, has)
  end,
  functions = {},
}

-- ---- reading the table

-- In the order in which they are loaded.
M.list = { "plans", "access", "billing", "expiry", "health", "idle", "orphans", "placement", "provision", "netbird", "routes",
  "schedule" }

local by_file = {}
for _, name in ipairs(M.list) do
  M[name].name = name
  by_file[M[name].file] = M[name]
end

-- The kind of a file's name, or nil.
function M.of_file(file) return by_file[file] end

local found = {} -- [name] = {function, kind}

-- "idle.decide" -> its function, its kind
function M.find(name)
  local f = found[name]
  if not f then
    local kind, fn = name:match("^(%w+)%.(%w+)$")
    f = { M[kind] and M[kind].functions[fn], M[kind] }
    if f[1] then found[name] = f end
  end
  return f[1], f[2]
end

-- Names of all functions of decisions, sorted.
function M.functions()
  local out = {}
  for _, kind in ipairs(M.list) do
    for fn in pairs(M[kind].functions) do out[#out + 1] = kind .. "." .. fn end
  end
  table.sort(out)
  return out
end

-- Why these cannot be the results of a function, or nil.
function M.fault(spec, ...)
  if spec.fault then return spec.fault(...) end
  local verdict, reason = ...
  local known = false
  for _, v in ipairs(spec.verdicts) do known = known or v == verdict end
  if not known then
    return ("one of %s expected, not %s"):format(table.concat(spec.verdicts, ", "),
      type(verdict) == "string" and "'" .. verdict:sub(1, 40) .. "'" or type(verdict))
  end
  if type(reason) ~= "string" or reason == "" then return "a reason expected behind the verdict '" .. verdict .. "'" end
end

-- Every name that is handed over often: fields, verdicts, choices.
function M.pins()
  local out, seen = {}, {}
  local function add(s)
    if not seen[s] then
      seen[s] = true
      out[#out + 1] = s
    end
  end
  for _, name in ipairs(M.functions()) do
    local spec = M.find(name)
    for field, f in pairs(spec.input) do
      add(field)
      for _, v in ipairs(f.of or {}) do add(v) end
    end
    for _, v in ipairs(spec.verdicts or {}) do add(v) end
  end
  return out
end


return M
