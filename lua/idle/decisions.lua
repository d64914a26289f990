-- What was decided about a machine, and each decision taken again from what is kept: for GET /instances/{id}/decisions and
-- `cchost explain`.
--
-- Decisions about idleness are kept in the machine's days (idle/chunk.lua), also those that are not written yet where the
-- machine is tracked; others (placement, expiry, ...) are in entries of its log (policy/kept.lua). An old decision is taken
-- again by the generation that took it, from the day's signals (idle/timeline.lua), the record as it was then
-- (history.lua) and the account's plan of that time: what comes out must be what is kept, and it is said when it is not.
--
--   decisions.list(id, {since =, until_ms =, after = cursor, kind =, limit =}) -> rows, after = cursor or nil, keys | nil, err
--       [yields] newest first; keys: the cursor behind each; times: unix ms. row: {kind =, from =, to =, count =, verdict =,
--       reason =, generation =, name = "idle.decide": the function, event = type of the log's entry}
--   decisions.at(id, ms [, kind [, actor]]) -> the last one that is not after ms, explained | nil, err    [yields]
--   decisions.stopped_at(id) -> when the machine was stopped by a policy, and not started since (ms) | nil
--   decisions.stopped_by(id [, actor]) -> the decision that stopped it, explained | nil, err    [yields]
--   decisions.threshold      the setting IDLE_THRESHOLD
--   decisions.kinds          all of them      decisions.kind_fault(kind) -> why there are no decisions of that kind, or nil
--   decisions.name_of(kind) -> "idle.decide": the function that decides it

local book = require "billing.book"
local chunk = require "idle.chunk"
local errors = require "errors"
local explain = require "policy.explain"
local history = require "history"
local json = require "json"
local kept = require "policy.kept"
local plain = require "plain"
local policy = require "policy"
local prepaid = require "billing.prepaid"
local store = require "store"
local task = require "task"
local time = require "time"
local timeline = require "idle.timeline"
local tracker = require "idle.tracker"

local M = { threshold = 7200 }

M.kinds = { "idle", "expiry", "placement", "access", "lease", "billing", "health" }

-- The function of a decision that does not name it; which one of a kind with several each says by itself.
local name_of = { idle = "idle.decide", expiry = "expiry.decide", placement = "placement.place", billing = "billing.decide",
  access = "access.wake", lease = "idle.lease", health = "health.decide" }

function M.name_of(kind) return name_of[kind] end

function M.kind_fault(kind)
  return not name_of[kind] and "one of " .. table.concat(M.kinds, ", ") .. " expected" or nil
end

local DAYS = 4        -- read at once
local PLAN_LOOK = 512 -- entries of an account's log that are looked through for its plan
local LAST, LAST_DAY = 253402300799000, 99998
local LAG_MS = 15000  -- a record's change is known to who decides so much later, at most

-- ---- days, newest first

-- Days of a machine from `last` back. -> iterator of chunks
local function each_day(id, last)
  local fresh, list = tracker.days(id), {}
  for day in pairs(fresh) do
    if day <= last then list[#list + 1] = day end
  end
  table.sort(list)
  local after, rows, at = chunk.key(id, last + 1), {}, 1
  local function stored()
    if at > #rows and after then
      if #rows > 0 then task.sleep(0) end
      rows, at = store.list("activity", { prefix = id .. "/", after = after, reverse = true, limit = DAYS }), 1
      after = #rows == DAYS and rows[#rows].id or nil
    end
    return rows[at]
  end
  return function()
    local row = stored()
    local day = row and tonumber(row.id:match("(%d+)$"))
    local newest = list[#list]
    if newest and (not day or newest >= day) then
      list[#list] = nil
      if newest == day then at = at + 1 end
      return fresh[newest]
    end
    if not row then return nil end
    at = at + 1
    return json.decode(row.json)
  end
end

local function row_of(run)
  return { kind = "idle", name = name_of.idle, from = run[1], to = run[1] + run[2] * (run[3] - 1), count = run[3],
    step = run[2], generation = run[4], verdict = run[5], reason = run[6] }
end

-- Runs of decisions about idleness that begin at `ms` or before, newest first. -> iterator of row, its chunk
local function each_run(id, ms)
  local day, i = nil, 0
  local days = each_day(id, math.min(chunk.day(ms), LAST_DAY))
  return function()
    while true do
      while i == 0 do
        day = days()
        if not day then return nil end
        i = #day.d
      end
      local run = day.d[i]
      i = i - 1
      if run[1] <= ms then return row_of(run), day end
    end
  end
end

-- ---- the log

-- A place as a text, like any other verdict.
local function as_text(verdict)
  return type(verdict) == "table" and table.concat({ verdict.provider, verdict.type }, " ") or verdict
end

local function entry_row(e, data, d)
  local verdict = d.verdict or data.verb or d.kind == "placement" and as_text(data.changes or {}) or "answered"
  return { kind = d.kind, name = d.name or name_of[d.kind], from = e.at, to = e.at, count = 1, verdict = verdict,
    reason = d.reason or data.reason, generation = d.generation, event = e.type, seq = e.seq, input = d.input, at = d.at }
end

-- Those of an entry, the newest first.
local function entry_rows(e)
  if e.trimmed or not e.data:find('"decision', 1, true) then return {} end
  local data, out = json.decode(e.data), {}
  for _, d in ipairs(kept.of(data)) do
    if d.kind ~= "idle" then out[#out + 1] = entry_row(e, data, d) end -- idle: it stands in the day
  end
  return out
end

-- Decisions in a machine's log at `ms` or before, newest first: an iterator fn(floor) that looks no further back than
-- `floor` (ms) and may be asked again. [yields]
local function each_entry(id, ms)
  local next_entry = history.backwards("instance", id)
  local e, n, rows, at = next_entry(), 0, {}, 0
  return function(floor)
    while true do
      at = at + 1
      if rows[at] then return rows[at] end
      if not e or e.at < floor then return nil end
      rows, at = e.at <= ms and entry_rows(e) or {}, 0
      e, n = next_entry(), n + 1
      if n % 64 == 0 then task.sleep(0) end
    end
  end
end

-- ---- the list

-- Rows of both, newest first, between two times. -> iterator
local function merged(id, options)
  local upto, since = options.until_ms or LAST, options.since or 0
  local runs, entries = each_run(id, upto), each_entry(id, upto)
  local wants_idle, wants_others = not options.kind or options.kind == "idle", options.kind ~= "idle"
  local run, entry = wants_idle and runs() or nil, nil
  return function()
    while true do
      if wants_others and not entry then entry = entries(math.max(since, run and run.from or 0)) end
      local row
      if entry and (not run or entry.from >= run.from) then
        row, entry = entry, nil
      elseif run then
        row, run = run, runs()
        if row.to < since then run, row = nil, nil end
      else
        return nil
      end
      if row and (not options.kind or row.kind == options.kind) then return row end
    end
  end
end

function M.list(id, options)
  local rows, keys, before, skip = {}, {}, nil, 0
  if options.after then
    local ms, k = options.after:match("^(%d+)%.(%d+)$")
    if not ms then return errors.fail("invalid", "after: a cursor from a Link expected", { field = "after" }) end
    before, skip = tonumber(ms), tonumber(k)
    options.until_ms = math.min(options.until_ms or before, before)
  end
  local at, same_ms = before, skip -- how many of this millisecond were told
  for row in merged(id, options) do
    if row.from == before and skip > 0 then
      skip = skip - 1
    elseif #rows == options.limit then
      return rows, keys[#rows], keys
    else
      if row.from == at then same_ms = same_ms + 1 else at, same_ms = row.from, 1 end
      rows[#rows + 1], keys[#keys + 1] = row, ("%d.%d"):format(at, same_ms)
    end
  end
  return rows, nil, keys
end

-- ---- one decision about idleness, taken again

-- The signals as a decision at `ms` knew them.
local function state_at(day, ms)
  local s = plain.copy(day.s or timeline.new())
  s.leases = s.leases or {}
  local events = {}
  local function add(at, e, order)
    if at <= ms then events[#events + 1] = { at = at, order = order, e = e } end
  end
  for i = 1, #day.i, 2 do
    local first, last = day.i[i], math.min(day.i[i + 1], ms) -- within a run the last input counts as now
    add(first, { first, "i" }, 0)
    if last > first then add(last, { last, "i" }, 0) end
  end
  for i, e in ipairs(day.e) do add(e[1], e, i) end
  table.sort(events, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.order < b.order
  end)
  for _, x in ipairs(events) do timeline.apply(s, x.e) end
  return s
end

-- The plan that an account had.
local function plan_of(owner, ms, plans)
  local user = owner ~= "operator" and store.get("user", owner)
  if not user then return plans.default end
  local n = 0
  for e in history.backwards("user", owner) do
    n = n + 1
    if n > PLAN_LOOK or e.trimmed then break end
    local changes = e.at <= ms and e.data:find('"plan"', 1, true) and json.decode(e.data).changes
    if changes and changes.plan then return changes.plan end
  end
  return user.plan or plans.default
end

local function seconds(text) return math.floor(time.parse(text) / 1000) end

-- What does not depend on signals, as idle/tracker.lua has it.
local function static_of(rec, ms, gen)
  local plans = gen:data("plans")
  local plan = plan_of(rec.owner, ms, plans)
  return {
    id = rec.id, name = rec.name, owner = rec.owner, plan = plan, type = rec.type, provider = rec.provider, labels = rec.labels,
    created_at = seconds(rec.created_at), started_at = seconds(rec.status_at),
    threshold = book.plan(plans, plan).idle or M.threshold,
  }
end

local function is_as_kept(row, verdict, reason)
  return verdict == row.verdict and (reason == row.reason or row.reason == "") -- a long day has no reasons left
end

-- The input of a decision; of the records that it may have known the one with which it comes out as it did.
-- -> input, whether it does | nil, err
local function input_of(id, row, day, ms, gen)
  local s, first, why = state_at(day, ms), nil, nil
  for _, lag in ipairs { 0, -LAG_MS, 2000 } do
    local rec, err = history.instance(id, ms + lag)
    why = why or err
    if rec and rec.status_at then
      local input = timeline.facts(s, static_of(rec, ms + lag, gen), ms)
      local verdict, reason = explain.ask(gen, "idle.decide", input, math.floor(ms / 1000))
      if is_as_kept(row, verdict, reason) then return input, true end
      first = first or input
    end
  end
  if not first then return nil, why end
  return first, false
end

-- ---- telling

local function null(v) return v == nil and json.null or v end

local function told_flips(flips)
  local out = json.array {}
  for i, f in ipairs(flips) do
    out[i] = {
      field = f.field, from = null(f.from), to = null(f.to), verdict = as_text(f.verdict), reason = f.reason, text = f.text,
    }
  end
  return out
end

-- What is kept of a decision, and what taking it again has shown.
local function told(row, ms, gen, input, as_kept)
  local out = {
    kind = row.kind, name = row.name, at = time.rfc3339(ms), verdict = row.verdict, reason = row.reason,
    generation = row.generation, event = row.event,
  }
  local now = math.floor((row.at and time.parse(row.at) or ms) / 1000)
  local d = explain.decision(gen, row.name, input, now)
  out.file, out.line, out.lines, out.source = d.file, d.line, json.array(d.lines), d.source
  out.inputs, out.read, out.flips, out.text = input, d.reads and json.array(d.reads), told_flips(d.flips), d.text
  out.failed, out.partial = d.failed, d.partial
  local verdict = as_text(d.verdict)
  if as_kept == nil then as_kept = verdict == row.verdict end
  if not as_kept then
    out.again = { verdict = verdict, reason = d.reason }
    out.note = ("taken again from what is kept it is '%s': something that it was told is not known any more")
      :format(tostring(verdict))
  end
  return out
end

local function untold(row, ms, err)
  return {
    kind = row.kind, name = row.name, at = time.rfc3339(ms), verdict = row.verdict, reason = row.reason,
    generation = row.generation, event = row.event, note = "it cannot be taken again: " .. err.message,
  }
end

local function explain_run(id, row, day, ms)
  local k = row.step > 0 and math.min(math.floor((ms - row.from) / row.step), row.count - 1) or 0
  local at = row.from + k * row.step
  local gen, err = policy.of(row.generation)
  if not gen then return untold(row, at, err) end
  local input, as_kept = input_of(id, row, day, at, gen)
  if not input then return untold(row, at, as_kept) end
  return told(row, at, gen, input, as_kept)
end

-- What expiry.decide was told of the record that this entry changed.
local function expiry_input(id, row, gen)
  local next_entry = history.backwards("instance", id)
  local rec, err = history.as_of(function()
    local e = next_entry()
    while e and e.seq >= row.seq do e = next_entry() end
    return e
  end, LAST)
  if not rec then return nil, err end
  if rec.expires_at == json.null then return errors.fail("not_found", "the record of that time has no end") end
  return {
    id = rec.id, name = rec.name, type = rec.type, labels = rec.labels, owner = rec.owner, status = rec.status,
    plan = plan_of(rec.owner, row.from, gen:data("plans")), created_at = seconds(rec.created_at),
    expires_at = seconds(rec.expires_at), refunded = prepaid.refunded(rec),
  }
end

local function explain_entry(id, row, actor)
  if kept.withheld(actor, row.kind) then
    return untold(row, row.from, errors.new("denied", "what it was told is for who has the scope 'billing'"))
  end
  if row.kind ~= "expiry" and not row.input then
    return untold(row, row.from, errors.new("not_found", "what it was told is not kept"))
  end
  local gen, err = policy.of(row.generation)
  if not gen then return untold(row, row.from, err) end
  local input = row.input
  if not input then input, err = expiry_input(id, row, gen) end
  if not input then return untold(row, row.from, err) end
  return told(row, row.from, gen, input)
end

-- The newest entry that is no older than `floor`; without a kind one about an expiry, which can be explained, if there is any.
local function entry_at(id, ms, kind, floor)
  local entries, other = each_entry(id, ms), nil
  for entry in function() return entries(floor) end do
    if entry.kind == (kind or "expiry") then return entry end
    other = other or not kind and floor == 0 and entry or nil
  end
  return other
end

function M.at(id, ms, kind, actor)
  local run, day, entry
  if not kind or kind == "idle" then run, day = each_run(id, ms)() end
  if kind ~= "idle" then entry = entry_at(id, ms, kind, run and run.from or 0) end
  if entry and (not run or entry.from > math.min(run.to, ms)) then return explain_entry(id, entry, actor) end
  if run then return explain_run(id, run, day, ms) end
  return errors.fail("not_found", "nothing is kept of a decision about this machine at " .. time.rfc3339(ms) .. " or before")
end

function M.stopped_at(id)
  for e in history.backwards("instance", id) do
    if e.trimmed or e.type == "created" then return nil end
    local data = e.data:find('"verb"', 1, true) and json.decode(e.data) or {}
    if data.verb == "start" then return nil end
    if data.verb == "stop" or data.verb == "delete" then
      local d = data.decision
      if not d then return nil end
      return d.kind == "idle" and d.at and time.parse(d.at) or e.at, d.kind
    end
  end
end

function M.stopped_by(id, actor)
  local ms, kind = M.stopped_at(id)
  if not ms then return errors.fail("not_found", "no policy has stopped this machine since it was started last") end
  return M.at(id, ms, kind, actor)
end

return M
