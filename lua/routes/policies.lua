-- /policies: which are in force, and which are tried beside them; a file of them, read, tried on the past, and saved. An
-- admin's.

local app = require "app"
local canary = require "policy.canary"
local child = require "whatif.child"
local editing = require "policy.editing"
local errors = require "errors"
local json = require "json"
local policy = require "policy"
local rights = require "rights"
local staging = require "policy.staging"
local time = require "time"
local told = require "policy.told"
local when = require "when"

local SOURCE_MAX, BODY_MAX = 1048576, 2 * 1048576

-- Of one file where `object` says so.
local function admins(o)
  o.scope, o.admin = "operator", true
  return o
end

app.get("/policies", admins {
  does = "The policies in force", more = "Who put them there, what in them is odd, what of `POLICIES_DIR` is refused and why.",
  gives = { [200] = "Policies" },
}, function()
  local is = policy.status()
  return 200, told.status(policy.folder, function() return is.faults end, function() return is.warnings end)
end)

app.get("/policies/staged", admins {
  does = "The set that is tried", more = '404 when nothing is staged. See "A staged set".', gives = { [200] = "Staged" },
  fails = { 404 },
}, function()
  local rec, found = canary.told()
  if not rec then return errors.fail("not_found", "nothing is staged") end
  return 200, staging.told(rec, found)
end)

-- ---- one file

function rights.find.policy(_, name)
  if editing.known(name) then return name end
  return errors.fail("not_found", "no such file of the policies")
end

-- What is wrong with the files is told with its lines.
local function refused(err, faults)
  return { error = err.message, code = err.code, faults = told.faults(faults) }
end

app.get("/policies/{id}", admins {
  object = "policy", does = "One file of them", gives = { [200] = "PolicyFile" }, fails = { 409 },
  more = [[As it is in force, as it lies in `POLICIES_DIR` (null: it does not), what of it differs, and `version`, which says what
    was seen. None of `tests/`.]],
}, function(req)
  local file, err = editing.file(req.id)
  if not file then return nil, err end
  return 200, file
end)

local source = { "string", required = true, max = SOURCE_MAX }

app.put("/policies/{id}", admins {
  object = "policy", body_max = BODY_MAX, does = "Saves one file of them", gives = { [200] = "PolicySaved" }, fails = { 409,
  413 },
  more = [[Into `POLICIES_DIR`, if the whole folder with it passes the checks that any edit there does; it is in force when the
    answer comes. What lay there and was never in force is kept as `FILE.replaced-TIME`. 400 has `faults`; 409 `conflict`: the
    file, or what is in force, is not that of `version` any more.]],
  example = { source = "return {}", version = "0", note = "a try" },
  body = { source = source, version = { "string", required = true, max = 64 }, note = { "string", max = 200 } },
}, function(req)
  local body = req.body
  local set, err, faults = editing.save(req.id, body.source, body.version, req.actor.email or "operator", body.note)
  if faults then return 400, refused(err, faults) end
  if not set then return nil, err end
  return 200, { generation = set.generation, changed = set.changed }
end)

-- Lines of JSON: {"progress": machines}, ..., then {"result": {...}}, or {"error", "code", "faults"}.
app.post("/policies/{id}/whatif", admins {
  object = "policy", body_max = BODY_MAX, does = "What `cchost whatif` tells with another text of it", fails = { 413 },
  more = [[`since`: `30d`. In a process of its own, one at a time, ended when the client leaves, or after 15 minutes. Lines of
    JSON: `{"progress": machines}`, ..., and `{"result": {...}}` or `{error, code, faults}`.]],
  gives = { [200] = "application/x-ndjson" }, example = { source = "return {}", since = "1d" },
  body = { source = source, since = { "string", max = 64 } },
}, function(req)
  local since = req.body.since or "30d"
  local ms, err = when.parse(since, time.now())
  if not ms then return errors.fail("invalid", "since: " .. err.message, { field = "since" }) end
  if ms >= time.now() then return errors.fail("invalid", "since: a time in the past expected", { field = "since" }) end
  local http, begun = req.http, false
  local function tell(line)
    if not begun then
      local ok, why = http:start(200, { ["Content-Type"] = "application/x-ndjson", ["Cache-Control"] = "no-store",
        ["X-Accel-Buffering"] = "no" })
      if not ok then return nil, why end
      begun = true
    end
    return http:write(line .. "\n")
  end
  local result, why, faults = child.run(req.id, req.body.source, time.rfc3339(ms), tell)
  if not begun then
    if faults then return 400, refused(why, faults) end
    if not result then return nil, why end
  end
  if result then
    tell('{"result":' .. result .. "}")
  else
    tell(json.encode(refused(why, faults or {})))
  end
  http:finish()
  return true
end)
