-- What policies have refused, kept in the log of the account that was refused (of the operator, "policy" "denied", where there
-- is none): an entry "denied" {what = what was asked for, machine =, reason =, place = file:line, decision = with its input,
-- left_out = such refusals before it that have no entry}.
--
-- Who hammers does not fill the log: of an account, a function and a reason there is one entry a minute, and of an account no
-- more than REASONS a minute with reasons of their own. What was left out is counted by the next entry; when there is no
-- next one, serve writes the last of them when the minute is over.
--
--   denials.mark(err, what, rec, asked) -> err     that it was a policy which refused: the last of the decisions in `asked`
--   denials.note(err, by)                          [yields] keeps what such an error tells; any other one is let be
--   denials.refused{owner =, what =, machine =, decision =, by =}     [yields] the same without an error
--   denials.serve()                                [serve's]
--   denials.finish()                               [yields] tells of what was left out, now

local kept = require "policy.kept"
local log = require "log"
local store = require "store"
local task = require "task"
local time = require "time"

local M = {}

local MINUTE, REASONS, MOST = 60000, 10, 1000
local EVERY = 5 -- seconds

local told, n_told = {}, 0 -- [key] = {owner =, at = of its entry (mono ms), left = refusals since, last = the newest of them}
local reasons = {}         -- [owner] = how many keys of it are told of

-- ---- entries

local function write(r, left_out)
  local data = {
    what = r.what, machine = r.machine, reason = r.decision.reason, place = kept.place(r.decision), decision = r.decision,
    left_out = left_out > 0 and left_out or nil,
  }
  local ok, err = store.update(function(tx)
    if tx:get("user", r.owner) then
      tx:log("user", r.owner, "denied", data, r.by)
    else
      local known = tx:get("policy", "denied") or { entries = 0 }
      tx:put("policy", "denied", { entries = known.entries + 1 })
      tx:log("policy", "denied", "denied", data, r.by)
    end
    return true
  end)
  if not ok then log.warn("policy", "a refusal could not be kept", { owner = r.owner, error = tostring(err) }) end
end

local function forget(key)
  local owner = told[key].owner
  told[key], n_told = nil, n_told - 1
  reasons[owner] = reasons[owner] > 1 and reasons[owner] - 1 or nil
end

-- Those that are older than `age` ms: forgotten, or told of once more. [yields]
local function look(age)
  local now, due = time.mono(), {}
  for key, known in pairs(told) do
    if now - known.at >= age then due[#due + 1] = key end
  end
  for _, key in ipairs(due) do
    local known = told[key]
    if known and known.left == 0 then
      forget(key)
    elseif known then
      local left = known.left
      known.at, known.left = now, 0
      write(known.last, left - 1)
    end
  end
end

local function key_of(r)
  local base = r.owner .. "\n" .. r.decision.name .. "\n"
  local key = base .. tostring(r.decision.reason)
  if told[key] or (reasons[r.owner] or 0) < REASONS then return key end
  return base
end

function M.refused(r)
  local key, now = key_of(r), time.mono()
  local known = told[key]
  if known and now - known.at < MINUTE then
    known.left, known.last = known.left + 1, r
    return
  end
  if not known then
    if n_told >= MOST then look(MINUTE) end
    if n_told >= MOST then return log.warn("policy", "more is refused than is kept", { owner = r.owner, what = r.what }) end
    known = { owner = r.owner, left = 0 }
    told[key], n_told, reasons[r.owner] = known, n_told + 1, (reasons[r.owner] or 0) + 1
  end
  local left = known.left
  known.at, known.left = now, 0
  write(r, left)
end

-- ---- errors

function M.mark(err, what, rec, asked)
  local decision = asked[#asked]
  if decision then
    err.refused = { owner = rec.owner, what = what, machine = what ~= "create" and rec.id or nil, decision = decision }
  end
  return err
end

function M.note(err, by)
  local r = type(err) == "table" and err.refused
  if not r then return end
  r.by = by
  M.refused(r)
end

local looking -- the task, or nil
local rests, over

function M.serve()
  over = false
  looking = task.spawn(function()
    repeat
      rests = true
      local slept = task.sleep(EVERY) -- finish ends it early; so does a start that fails
      rests = false
      if slept and not over then look(MINUTE) end
    until over or not slept
  end)
end

-- What it is writing is written: cancelled there, it would be lost, and the task go on.
function M.finish()
  over = true
  if looking then
    if rests then looking:cancel("the end") end
    looking:join()
  end
  looking = nil
  look(0)
end

return M
